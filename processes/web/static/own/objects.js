// What the map and the grid of a result share: the filter, and an object that is looked at.
const form = document.getElementById("review-filter");
const PAUSE_MS = 250;
const MAP_MS = 3000;
const BUSY = 503;
const TRIES = 4;
export const address = document.getElementById("review").dataset.job;

// the address of something of the job, for the objects that the filter lets through
export function filtered(path, parameters = {}) {
  const query = new URLSearchParams(parameters);
  for (const [name, value] of new FormData(form)) if (value !== "") query.set(name, value);
  return `${address}/${path}${query.size ? `?${query}` : ""}`;
}

// calls a function whenever the filter has changed and nobody types
export function afterChange(act) {
  let timer = 0;
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(act, PAUSE_MS);
  });
}

// done when the map is drawn for the first time, or takes long, or there is none: what comes after it does not hold it up
export const mapDrawn = new Promise((resolve) => {
  if (!document.getElementById("map")) resolve();
  document.addEventListener("map-drawn", resolve, { once: true });
  setTimeout(resolve, MAP_MS);
});

form.addEventListener("submit", (event) => event.preventDefault());

export function element(name, text = "", attributes = {}) {
  const item = document.createElement(name);
  item.textContent = text;
  for (const [key, value] of Object.entries(attributes)) item.setAttribute(key, value);
  return item;
}

const chip = (object) => `${address}/objects/${encodeURIComponent(object.id)}/chip.png`;
export const percent = (value) => (value === null || value === undefined ? "no confidence" : `${(100 * value).toFixed(1)} %`);

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// asks for a picture; where the service is only too busy for it, again as soon as it says so, a few times
export async function fetchPatiently(url, signal) {
  for (let tries = 1; ; tries++) {
    const answer = await fetch(url, { signal });
    if (answer.status !== BUSY || tries === TRIES) return answer;
    await pause(1000 * (Number(answer.headers.get("Retry-After")) || 5));
    signal?.throwIfAborted();
  }
}

export function picture(object, size) {
  const image = element("img", "", { src: chip(object), alt: `Chip of object ${object.id}`, loading: "lazy", width: size, height: size });
  const giveUp = () => image.replaceWith(element("span", "no chip", { class: "no-chip" }));
  const showAgain = async () => {
    const answer = await fetchPatiently(image.src).catch(() => null);
    if (!answer?.ok) return giveUp();
    image.addEventListener("error", giveUp, { once: true });
    image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
    image.src = URL.createObjectURL(await answer.blob());
  };
  image.addEventListener("error", showAgain, { once: true });
  return image;
}

export function open(object) {
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
