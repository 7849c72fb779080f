// The objects of a result, the least sure ones first: chips in a grid, filters, a histogram of confidence.
const home = document.getElementById("review");
const form = document.getElementById("review-filter");
const grid = document.getElementById("review-grid");
const address = home.dataset.job;
const PAGE = 24;
let offset = 0;

function element(name, text = "", attributes = {}) {
  const item = document.createElement(name);
  item.textContent = text;
  for (const [key, value] of Object.entries(attributes)) item.setAttribute(key, value);
  return item;
}

const chip = (object) => `${address}/objects/${encodeURIComponent(object.id)}/chip.png`;
const percent = (value) => (value === null || value === undefined ? "no confidence" : `${(100 * value).toFixed(1)} %`);

function picture(object, size) {
  const image = element("img", "", { src: chip(object), alt: `Chip of object ${object.id}`, loading: "lazy", width: size, height: size });
  image.addEventListener("error", () => image.replaceWith(element("span", "no chip", { class: "no-chip" })), { once: true });
  return image;
}

function open(object) {
  const dialog = document.getElementById("review-object");
  const rows = Object.entries(object.properties).map(([name, value]) => {
    const row = element("tr");
    row.append(element("th", name, { scope: "row" }), element("td", value === null ? "" : String(typeof value === "object" ? JSON.stringify(value) : value)));
    return row;
  });
  const table = element("table");
  const body = element("tbody");
  body.append(...rows);
  table.append(body);
  const close = element("button", "Close", { type: "button" });
  close.addEventListener("click", () => dialog.close());
  const article = element("article");
  article.append(element("h2", `Object ${object.id}`), picture(object, 256), table, close);
  dialog.replaceChildren(article);
  dialog.showModal();
}

function card(object) {
  const button = element("button", "", { type: "button", class: "outline secondary object" });
  button.append(picture(object, 96), element("strong", object.label ?? object.status), element("small", percent(object.confidence)));
  button.addEventListener("click", () => open(object));
  return button;
}

function histogram(counts) {
  const most = Math.max(1, ...counts);
  const bars = counts.map((count, index) => {
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const height = (40 * count) / most;
    for (const [name, value] of Object.entries({ x: index * 10 + 1, y: 40 - height, width: 8, height })) bar.setAttribute(name, value);
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    title.textContent = `${index * 5} to ${index * 5 + 5} %: ${count}`;
    bar.append(title);
    return bar;
  });
  const drawing = document.getElementById("review-histogram");
  drawing.replaceChildren(...bars);
  drawing.setAttribute("aria-label", `Histogram of confidence: ${counts.map((count, index) => `${index * 5} to ${index * 5 + 5} percent ${count}`).filter((_, index) => counts[index]).join(", ") || "nothing"}`);
}

async function show(more) {
  offset = more ? offset + PAGE : 0;
  const query = new URLSearchParams({ limit: PAGE, offset });
  for (const [name, value] of new FormData(form)) if (value !== "") query.set(name, value);
  const answer = await fetch(`${address}/review?${query}`);
  const found = await answer.json();
  const told = document.getElementById("review-told");
  if (!answer.ok) {
    told.textContent = found.errors?.map((fault) => fault.detail).join(" ") ?? found.detail;
    return;
  }
  histogram(found.histogram);
  const cards = found.objects.map(card);
  if (more) grid.append(...cards);
  else grid.replaceChildren(...cards);
  told.textContent = `${grid.children.length.toLocaleString("en")} of ${found.matched.toLocaleString("en")} objects, the least sure ones first`;
  document.getElementById("review-more").hidden = grid.children.length >= found.matched;
}

form.addEventListener("input", () => show(false));
form.addEventListener("submit", (event) => event.preventDefault());
document.getElementById("review-more").addEventListener("click", () => show(true));
show(false);
