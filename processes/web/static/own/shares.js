// The links that share a job: made, copied, listed and revoked.
const home = document.getElementById("shares");
const address = `${home.dataset.job}/shares`;
const told = document.getElementById("share-told");
const list = document.getElementById("share-list");
const link = document.getElementById("share-link");

async function ask(path, method = "GET") {
  const answer = await fetch(path, { method, headers: { Accept: "application/json" } });
  const text = await answer.text();
  const document_ = text ? JSON.parse(text) : {};
  if (!answer.ok) throw new Error(document_.detail);
  return document_;
}

function say(error) {
  told.textContent = error instanceof TypeError ? "The service does not answer." : error.message;
}

function entry({ id, created }) {
  const item = document.createElement("li");
  const time = document.createElement("time");
  time.dateTime = created;
  time.textContent = created.slice(0, 19).replace("T", " ");
  const button = document.createElement("button");
  button.type = "button";
  button.name = "revoke";
  button.className = "secondary";
  button.textContent = "Revoke";
  button.setAttribute("aria-label", `Revoke the link made ${time.textContent}`);
  button.addEventListener("click", async () => {
    try {
      await ask(`${address}/${id}`, "DELETE");
      document.getElementById("share-made").hidden = true;
      link.value = "";
      told.textContent = "The link is revoked.";
      await show();
    } catch (error) {
      say(error);
    }
  });
  item.append("Made ", time, " (UTC) ", button);
  return item;
}

async function show() {
  const { shares } = await ask(address);
  list.replaceChildren(...shares.map(entry));
}

document.querySelector("button[name=share]").addEventListener("click", async () => {
  try {
    const made = await ask(address, "POST");
    link.value = made.href;
    document.getElementById("share-made").hidden = false;
    link.focus();
    link.select();
    told.textContent = "A link is made.";
    await show();
  } catch (error) {
    say(error);
  }
});

show().catch(say);
