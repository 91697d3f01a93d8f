"use strict";
// On every page: the requests that buttons make, what is said of them, and the colours.
(() => {
const get = (id) => document.getElementById(id);

let fading = 0;
function say(text) {
  get("status").textContent = text;
  clearTimeout(fading);
  fading = setTimeout(() => { get("status").textContent = ""; }, 6000);
}

// Asks the server for something that changes something; the answer is JSON, an error is thrown as its text.
async function ask(address, body) {
  let answer;
  try {
    answer = await fetch(address, {
      method: "POST",
      headers: {"Content-Type": "application/json"},
      body: JSON.stringify(body),
    });
  } catch {
    throw new Error("The server does not answer. `dropscribe open` starts it again.");
  }
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(found.error || `The server refuses (${answer.status}).`);
  return found;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-ask]");
  if (!button || button.disabled) return;
  button.disabled = true;
  const wanted = {what: button.dataset.ask};
  if (button.dataset.id) wanted.id = Number(button.dataset.id);
  try {
    say((await ask("/api/ask", wanted)).text);
    document.dispatchEvent(new Event("asked"));
  } catch (error) {
    say(error.message);
  }
  button.disabled = false;
});

// page.js does this on the page of a transcript.
if (document.body.classList.contains("app")) {
  try {
    const kept = localStorage.getItem("dropscribe-theme");
    if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
  } catch { /* the system's choice */ }
}

window.dropscribe = {ask, get, say};
})();
