// The form of a process: what is filled in becomes an execute request, which is shown, checked and sent.
import { asCommand, asCurl, asPython } from "./programs.js";
import { showModel } from "./model.js";
import { connectSources } from "./sources.js";

const form = document.getElementById("form");
const root = document.documentElement.dataset.root;
const address = `${root}/processes/${encodeURIComponent(form.dataset.process)}`;
const answerBox = document.getElementById("answer");
const problemBox = document.getElementById("problem");
const fields = [...form.querySelectorAll(".field[data-input]")];

const control = (name) => form.elements.namedItem(name);

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

// what a control says, as a value of the request; undefined = nothing
function valueOf(field) {
  const text = control(field.dataset.input).value.trim();
  if (text === "" || text === control(field.dataset.input).dataset.default) return undefined;
  const lines = text.split("\n").map((line) => line.trim()).filter(Boolean);
  const link = (line) => (/^[[{]/.test(line) ? parsed(line) : { href: line });
  switch (field.dataset.kind) {
    case "link":
      if (/^[[{]/.test(text)) return parsed(text);
      return "many" in field.dataset && lines.length > 1 ? lines.map(link) : link(text);
    case "lines":
      return lines.length > 1 ? lines : lines[0];
    case "number":
      return Number.isNaN(Number(text)) ? text : Number(text);
    case "box": {
      if (text.startsWith("{")) return parsed(text);
      const words = text.split(/[\s,;]+/).filter(Boolean);
      const numbers = words.filter((word) => !Number.isNaN(Number(word))).map(Number);
      const names = words.filter((word) => Number.isNaN(Number(word)));
      return { bbox: numbers, ...(names.length ? { crs: names.join(" ") } : {}) };
    }
    case "json":
      return parsed(text);
    default:
      return text;
  }
}

function request() {
  const inputs = {};
  for (const field of fields) {
    const value = valueOf(field);
    if (value !== undefined) inputs[field.dataset.input] = value;
  }
  const outputs = {};
  for (const select of form.querySelectorAll("[data-output]")) {
    if (select.value) outputs[select.dataset.output] = { format: { mediaType: select.value } };
  }
  return Object.keys(outputs).length ? { inputs, outputs } : { inputs };
}

function fill(inputs) {
  for (const field of fields) {
    const value = inputs[field.dataset.input];
    if (value === undefined) continue;
    const items = Array.isArray(value) && "many" in field.dataset ? value : [value];
    const text = (item) => (typeof item === "string" ? item : item?.href && !item.value ? item.href : JSON.stringify(item));
    control(field.dataset.input).value = items.map(text).join("\n");
  }
  changed();
}

function clearFaults() {
  problemBox.hidden = true;
  problemBox.replaceChildren();
  answerBox.replaceChildren();
  for (const field of fields) {
    const item = control(field.dataset.input);
    item.removeAttribute("aria-invalid");
    item.setAttribute("aria-describedby", item.dataset.help);
    const fault = document.getElementById(`fault-${field.dataset.input}`);
    fault.hidden = true;
    fault.textContent = "";
  }
}

// what is wrong: at its field, where the pointer names one, else above the buttons
function showProblem(problem) {
  const others = [];
  let first = null;
  for (const { pointer, detail } of problem.errors ?? []) {
    const parts = pointer.split("/").map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
    const item = parts[1] === "inputs" && parts[2] ? control(parts[2]) : null;
    if (!item) {
      others.push(detail);
      continue;
    }
    const fault = document.getElementById(`fault-${parts[2]}`);
    fault.textContent = [fault.textContent, detail].filter(Boolean).join(" · ");
    fault.hidden = false;
    item.setAttribute("aria-invalid", "true");
    item.setAttribute("aria-describedby", `${fault.id} ${item.dataset.help}`);
    item.closest("details")?.setAttribute("open", "");
    first ??= item;
  }
  if (!problem.errors?.length) others.push(problem.detail);
  for (const detail of others) {
    const line = document.createElement("p");
    line.textContent = detail;
    problemBox.append(line);
  }
  problemBox.hidden = others.length === 0;
  first?.focus();
}

async function send(path, button, headers = {}) {
  clearFaults();
  button.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(`${address}/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers },
      body: JSON.stringify(request()),
    });
    if (answer.ok) return answer;
    showProblem(await answer.json());
  } catch {
    showProblem({ detail: "The service does not answer." });
  } finally {
    button.removeAttribute("aria-busy");
  }
  return null;
}

function say(text) {
  const line = document.createElement("p");
  line.textContent = text;
  answerBox.replaceChildren(line);
  answerBox.scrollIntoView({ block: "nearest" });
}

function seconds(value) {
  if (value < 1) return "less than a second";
  return value < 120 ? `about ${Math.round(value)} seconds` : `about ${Math.round(value / 60)} minutes`;
}

form.elements.namedItem("validate")?.addEventListener("click", async (event) => {
  const answer = await send("validate", event.target);
  if (!answer) return;
  const found = await answer.json();
  const fieldNames = found.fields.map((field) => field.name).join(", ");
  const count = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
  say(`This can run: ${count(found.images, "image")}, ${count(found.objects, "object")}, ${count(found.sections, "section")}, ${seconds(found.estimatedSeconds)}. Fields: ${fieldNames}.`);
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.elements.namedItem("run");
  if (!button) return; // who may not run it has none
  const answer = await send("execution", button, "async" in form.dataset ? { Prefer: "respond-async" } : {});
  if (!answer) return;
  const text = await answer.text();
  if (answer.status === 201) {
    location.assign(`${root}/jobs/${JSON.parse(text).jobID}?f=html`);
    return;
  }
  const shown = document.createElement("pre");
  shown.tabIndex = 0;
  const value = parsed(text);
  shown.textContent = typeof value === "string" ? text : JSON.stringify(value, null, 2);
  answerBox.replaceChildren(shown);
});

function changed() {
  const url = `${location.origin}${address}/execution`;
  const body = request();
  const isAsync = "async" in form.dataset;
  document.getElementById("curl").textContent = asCurl(url, body, isAsync);
  document.getElementById("python").textContent = asPython(url, body, isAsync);
  const command = document.getElementById("cli");
  if (command) command.textContent = asCommand(body);
  showModel(form, root, changed);
}

form.addEventListener("input", changed);
form.elements.namedItem("example")?.addEventListener("click", () => fill(JSON.parse(form.dataset.example).inputs));
connectSources(form, root, changed);
const wanted = new URLSearchParams(location.search);
fill(Object.fromEntries(fields.map((field) => [field.dataset.input, wanted.get(field.dataset.input) ?? undefined])));
