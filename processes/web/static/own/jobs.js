// The list of jobs, read anew while one of them goes on and the page is looked at.
const PAUSE_MS = 4000;
const ACTIVE = '[data-status="accepted"], [data-status="running"]';

async function refresh() {
  const list = document.getElementById("jobs");
  if (!list || !list.querySelector(ACTIVE)) return;
  if (!document.hidden && !list.contains(document.activeElement)) {
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.status === 401) location.reload(); // the session has ended: the page leads to sign-in, and back
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("jobs");
      if (answer.ok && fresh) list.replaceChildren(...fresh.childNodes);
    } catch {
      // the service is away for a moment
    }
  }
  setTimeout(refresh, PAUSE_MS);
}

setTimeout(refresh, PAUSE_MS);
