// A job, live: server-sent events, or polling where they cannot be; never more than one request a second.
import { showCounts } from "./counts.js";

const home = document.getElementById("job");
const root = document.documentElement.dataset.root;
const address = `${root}/jobs/${home.dataset.job}`;
const log = document.getElementById("log");
const ENDED = ["successful", "failed", "dismissed"];
const classes = document.getElementById("classes");
const POLL_MS = 2000;
let last = { status: document.getElementById("status").textContent, message: document.getElementById("message").textContent };
let hasEnded = "ended" in home.dataset;

function note(time, text) {
  const item = document.createElement("li");
  const when = document.createElement("time");
  when.dateTime = time;
  when.textContent = time.slice(0, 19).replace("T", " ");
  item.append(when, ` ${text}`);
  log.append(item);
  log.scrollTop = log.scrollHeight;
}

function show(job) {
  const status = document.getElementById("status");
  status.textContent = job.status;
  status.className = `status ${job.status}`;
  document.getElementById("message").textContent = job.message;
  document.getElementById("progress").value = job.progress;
  if (job.message !== last.message || job.status !== last.status) note(job.updated, job.status === last.status ? job.message : `${job.status}: ${job.message}`);
  last = job;
  const wasEnded = hasEnded;
  hasEnded = ENDED.includes(job.status);
  const button = document.querySelector("button[name=dismiss]");
  button.textContent = hasEnded ? "Delete the result" : "Cancel";
  button.hidden = button.disabled || ["dismissed", "failed"].includes(job.status);
  document.getElementById("result").hidden = job.status !== "successful";
  showCounts(classes, job.summary?.classes ?? job.classes ?? []);
  if (job.exception) tell(job.exception);
  if (!wasEnded && job.status === "successful") location.assign(document.getElementById("result").href);
}

function tell(problem) {
  const box = document.createElement("div");
  box.className = "problem";
  box.setAttribute("role", "alert");
  const text = document.createElement("p");
  text.textContent = problem.detail;
  const list = document.createElement("ul");
  for (const fault of problem.errors ?? []) {
    const item = document.createElement("li");
    const pointer = document.createElement("code");
    pointer.textContent = fault.pointer;
    item.append(pointer, ` ${fault.detail}`);
    list.append(item);
  }
  box.append(text, ...(list.children.length ? [list] : []));
  document.getElementById("exception").replaceChildren(box);
}

async function poll() {
  try {
    const answer = await fetch(`${address}?f=json`);
    if (answer.ok) show(await answer.json());
    else if (answer.status === 401) location.reload(); // the session has ended: the page leads to sign-in, and back
    else if (answer.status < 500) return;
  } catch {
    // the service is away for a moment
  }
  if (!hasEnded) setTimeout(poll, POLL_MS);
}

function watch() {
  const events = new EventSource(`${address}/events`);
  events.addEventListener("status", (event) => {
    show(JSON.parse(event.data));
    if (hasEnded) events.close();
  });
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED && !hasEnded) setTimeout(poll, POLL_MS);
  });
}

document.querySelector("button[name=dismiss]").addEventListener("click", async (event) => {
  event.target.setAttribute("aria-busy", "true");
  const answer = await fetch(address, { method: "DELETE", headers: { Accept: "application/json" } });
  event.target.removeAttribute("aria-busy");
  const document_ = await answer.json();
  if (answer.ok) show(document_);
  else tell(document_);
});

showCounts(classes, JSON.parse(classes.dataset.classes));
if (!hasEnded) (window.EventSource ? watch : poll)();
