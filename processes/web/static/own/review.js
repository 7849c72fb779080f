// The objects of a result, the least sure ones first: chips in a grid, filters, a histogram of confidence.
import { afterChange, element, filtered, mapDrawn, open, percent, picture } from "./objects.js";

const grid = document.getElementById("review-grid");
const PAGE = 24;
let offset = 0;
let asked = 0;

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
  const now = ++asked;
  const answer = await fetch(filtered("review", { limit: PAGE, offset }));
  const found = await answer.json();
  if (now !== asked) return; // another one was asked for meanwhile
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

afterChange(() => show(false));
document.getElementById("review-more").addEventListener("click", () => show(true));
mapDrawn.then(() => show(false));
