// What was found of each class: a bar in its colour, as long as its share.
const DRAWING = "http://www.w3.org/2000/svg";
const MOST_SHOWN = 100;

function bar(color, share) {
  const drawing = document.createElementNS(DRAWING, "svg");
  const part = document.createElementNS(DRAWING, "rect");
  for (const [name, value] of Object.entries({ class: "bar", viewBox: "0 0 100 1", preserveAspectRatio: "none", "aria-hidden": "true" })) drawing.setAttribute(name, value);
  for (const [name, value] of Object.entries({ width: 100 * share, height: 1, fill: color })) part.setAttribute(name, value);
  drawing.append(part);
  return drawing;
}

function row({ name, color, count }, total) {
  const line = document.createElement("tr");
  const heading = document.createElement("th");
  heading.scope = "row";
  heading.textContent = name;
  const drawn = document.createElement("td");
  drawn.append(bar(color, total ? count / total : 0));
  const number = document.createElement("td");
  number.textContent = count.toLocaleString("en");
  line.append(heading, number, drawn);
  return line;
}

export function showCounts(home, classes) {
  if (!classes.length) return home.replaceChildren();
  const total = classes.reduce((sum, { count }) => sum + count, 0);
  const title = document.createElement("h2");
  title.textContent = "Counts";
  const head = document.createElement("thead");
  const columns = document.createElement("tr");
  for (const text of ["Class", "Objects", "Share"]) {
    const column = document.createElement("th");
    column.scope = "col";
    column.textContent = text;
    columns.append(column);
  }
  head.append(columns);
  const body = document.createElement("tbody");
  body.append(...classes.slice(0, MOST_SHOWN).map((item) => row(item, total)));
  const table = document.createElement("table");
  table.append(head, body);
  home.replaceChildren(title, table);
}
