// Where the files of an input come from: sent to the service, or picked from the folders that it allows.
const MIB = 2 ** 20;

const encoded = (name) => encodeURIComponent(name).replace(/['()*!]/g, (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`);

function add(form, name, href, changed) {
  const control = form.elements.namedItem(name);
  const isMany = control.closest(".field").dataset.many !== undefined;
  control.value = isMany && control.value.trim() ? `${control.value.trim()}\n${href}` : href;
  changed();
}

// fetch cannot tell how much has been sent
function upload(root, file, box) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const bar = document.createElement("progress");
    const label = document.createElement("small");
    const stop = document.createElement("button");
    bar.max = file.size || 1;
    bar.value = 0;
    bar.setAttribute("aria-label", `Upload of ${file.name}`);
    label.textContent = `Sending ${file.name} …`;
    stop.type = "button";
    stop.className = "secondary outline";
    stop.textContent = "Stop";
    stop.addEventListener("click", () => request.abort());
    box.replaceChildren(label, bar, stop);
    request.upload.addEventListener("progress", (event) => (bar.value = event.loaded));
    request.addEventListener("load", () => {
      let answer = {};
      try {
        answer = JSON.parse(request.responseText);
      } catch {
        // what is between here and the service answers in another form
      }
      if (request.status === 201) resolve(answer);
      else reject(new Error(answer.detail ?? `The service answers ${request.status}.`));
    });
    request.addEventListener("error", () => reject(new Error("The connection broke off, or the service does not take this file.")));
    request.addEventListener("abort", () => reject(new Error(`${file.name} was not sent.`)));
    request.open("POST", `${root}/uploads`);
    request.responseType = "text";
    request.setRequestHeader("Content-Type", file.type || "application/octet-stream");
    request.setRequestHeader("Content-Disposition", `attachment; filename*=UTF-8''${encoded(file.name)}`);
    request.send(file);
  });
}

async function sendFiles(form, root, input, changed) {
  const name = input.dataset.upload;
  const box = document.getElementById(`upload-${name}`);
  const maxMb = Number(form.dataset.maxUploadMb);
  const told = [];
  for (const file of input.files) {
    try {
      if (file.size > maxMb * MIB) throw new Error(`${file.name} has more than ${maxMb} MiB, which is the limit.`);
      const kept = await upload(root, file, box);
      add(form, name, kept.href, changed);
      told.push([`${kept.name}: ${kept.size.toLocaleString("en")} bytes, SHA-256 ${kept.sha256.slice(0, 12)}…`, ""]);
    } catch (error) {
      told.push([error.message, "fault"]);
    }
  }
  const lines = told.map(([text, kind]) => {
    const line = document.createElement("small");
    line.textContent = text;
    line.className = kind;
    return line;
  });
  box.replaceChildren(...lines);
  input.value = "";
}

async function list(form, root, box, name, folder, changed) {
  const query = folder ? `?folder=${encodeURIComponent(folder)}` : "";
  const answer = await fetch(`${root}/imagery${query}`);
  const found = await answer.json();
  const title = document.createElement("p");
  title.textContent = answer.ok ? (folder ?? "Folders that the service may read") : found.detail;
  const items = document.createElement("ul");
  const entry = (text, act) => {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "secondary outline";
    button.textContent = text;
    button.addEventListener("click", act);
    item.append(button);
    items.append(item);
  };
  const isMany = form.elements.namedItem(name).closest(".field").dataset.many !== undefined;
  if (folder) entry("↑ All folders", () => list(form, root, box, name, null, changed));
  if (folder && isMany && found.files?.length) entry("All images of this folder", () => add(form, name, folder, changed));
  for (const item of found.folders ?? []) entry(`${item.name}/`, () => list(form, root, box, name, item.href, changed));
  for (const item of found.files ?? []) entry(item.name, () => add(form, name, item.href, changed));
  box.replaceChildren(title, items);
}

export function connectSources(form, root, changed) {
  for (const input of form.querySelectorAll("[data-upload]")) {
    input.addEventListener("change", (event) => {
      event.stopPropagation();
      sendFiles(form, root, input, changed);
    });
    input.addEventListener("input", (event) => event.stopPropagation());
  }
  for (const button of form.querySelectorAll("[data-pick]")) {
    const box = document.getElementById(`pick-${button.dataset.pick}`);
    button.addEventListener("click", () => {
      box.hidden = !box.hidden;
      button.setAttribute("aria-expanded", String(!box.hidden));
      if (!box.hidden) list(form, root, box, button.dataset.pick, null, changed);
    });
  }
}
