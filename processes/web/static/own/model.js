// The chosen model: what it tells apart, and its arguments.
let shown = "";
const known = new Map();

async function described(root, model) {
  if (!known.has(model)) {
    const answer = await fetch(`${root}/processes/describe-model/execution`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ inputs: { model } }),
    });
    if (!answer.ok) return null;
    known.set(model, await answer.json());
  }
  return known.get(model);
}

function element(name, text = "", attributes = {}) {
  const item = document.createElement(name);
  item.textContent = text;
  for (const [key, value] of Object.entries(attributes)) item.setAttribute(key, value);
  return item;
}

function card(model) {
  const parts = [];
  const title = model.card?.title ?? model.card?.description;
  if (title) parts.push(element("p", title));
  const list = element("ul", "", { class: "classes" });
  for (const { Name, Color } of model.classes) {
    const item = element("li");
    if (Color) {
      const swatch = element("span", "", { class: "swatch", "aria-hidden": "true" });
      swatch.style.backgroundColor = `rgb(${Color.slice(0, 3).join(",")})`;
      item.append(swatch, " ");
    }
    item.append(Name);
    list.append(item);
  }
  parts.push(list, element("small", `Chips of ${model.chip.width} × ${model.chip.height} cells, bands ${[model.bands ?? "all"].flat().join(", ")}`));
  for (const warning of model.warnings ?? []) parts.push(element("p", warning, { class: "warning", role: "note" }));
  return parts;
}

// fields for the arguments; what is filled in stands in the control of modelArguments, which is what is sent
function argumentFields(form, model, changed) {
  const control = form.elements.namedItem("modelArguments");
  const current = () => {
    try {
      return JSON.parse(control.value || "{}");
    } catch {
      return {};
    }
  };
  const group = element("fieldset");
  group.append(element("legend", "Arguments of this model"));
  for (const argument of model.arguments) {
    const label = element("label", argument.displayName || argument.name);
    const input = element("input", "", { type: "text", placeholder: String(argument.value ?? ""), "data-argument": argument.name, title: argument.description ?? "" });
    const value = current()[argument.name];
    if (value !== undefined) input.value = typeof value === "string" ? value : JSON.stringify(value);
    input.addEventListener("input", (event) => {
      event.stopPropagation();
      const values = current();
      if (input.value.trim()) values[argument.name] = input.value.trim();
      else delete values[argument.name];
      control.value = Object.keys(values).length ? JSON.stringify(values) : "";
      changed();
    });
    label.append(input);
    group.append(label);
  }
  return group;
}

export async function showModel(form, root, changed) {
  const home = document.getElementById("model-card");
  const model = form.elements.namedItem("model")?.value ?? "";
  if (!home || model === shown) return;
  shown = model;
  const found = model ? await described(root, model) : null;
  if (shown !== model) return; // another one was chosen meanwhile
  home.replaceChildren(...(found ? card(found) : []));
  document.getElementById("model-arguments")?.replaceChildren(...(found?.arguments?.length ? [argumentFields(form, found, changed)] : []));
}
