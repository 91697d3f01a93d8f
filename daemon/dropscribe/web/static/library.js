"use strict";
// The library as it changes, and the recordings that are added to it.
(() => {
const {ask, get, say} = window.dropscribe;

function make(name, text = "", kind = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

// ---- What goes on

const last = (path) => path.split("/").pop();

function left(seconds) {
  if (seconds === null) return "";
  const minutes = Math.floor(seconds / 60);
  if (minutes >= 60) return `about ${Math.floor(minutes / 60)} h ${minutes % 60} min left`;
  return minutes ? `about ${minutes} min left` : `about ${seconds} s left`;
}

function showWork(work) {
  const item = make("li");
  const others = work.others > 0 ? ` and ${work.others} ${work.others === 1 ? "other" : "others"} with it` : "";
  const name = make("span", last(work.file) + others, "name");
  name.dir = "auto";
  item.append(name, make("span", [work.phase, left(work.left_s)].filter(Boolean).join(", "), "phase"));
  const bar = make("progress");
  bar.max = 100;
  if (work.percent !== null) bar.value = work.percent;
  bar.setAttribute("aria-label", `${last(work.file)}: ${work.phase}`);
  item.append(bar);
  return item;
}

let shown = null; // when a recording last changed, as the list that is shown has it
function showNews(news) {
  const daemon = get("daemon");
  const state = !news.running ? "The daemon is not running: start it with dropscribe service start"
    : news.paused ? "Paused" : "The daemon runs";
  if (daemon.textContent !== state) daemon.textContent = state;
  daemon.classList.toggle("off", !news.running);
  get("pause").dataset.ask = news.paused ? "resume" : "pause";
  get("pause").textContent = news.paused ? "Resume" : "Pause";
  get("trouble").hidden = !news.trouble;
  if (get("trouble").textContent !== news.trouble) get("trouble").textContent = news.trouble;
  get("working").replaceChildren(...news.now.map(showWork));
  const names = news.queue.slice(0, 3).map((each) => last(each.file)).join(", ");
  const more = news.queued - Math.min(3, news.queue.length);
  get("queue").textContent = names ? `Next: ${names}${more > 0 ? ` and ${more} more` : ""}` : "";
  if (shown !== null && news.changed !== shown) renew();
  shown = news.changed;
}

function listen() {
  const events = new EventSource("/events");
  events.addEventListener("message", (event) => showNews(JSON.parse(event.data)));
  events.addEventListener("error", () => {
    get("daemon").textContent = "The server does not answer. dropscribe open starts it again.";
    get("daemon").classList.add("off");
  });
}

// The list as the server shows it now, in place of the one that is shown: one code for both.
let renewing = 0;
function renew() {
  clearTimeout(renewing);
  renewing = setTimeout(() => {
    const request = new XMLHttpRequest();
    request.open("GET", location.href);
    request.responseType = "document";
    request.addEventListener("load", () => {
      const fresh = request.response && request.response.getElementById("listing");
      if (!fresh || get("listing").contains(document.activeElement) && document.activeElement.matches("input, select")) return;
      const focused = document.activeElement.id;
      const at = scrollY;
      get("listing").replaceWith(document.importNode(fresh, true));
      scrollTo({top: at, behavior: "instant"});
      if (focused && get(focused)) get(focused).focus({preventScroll: true});
    });
    request.send();
  }, 300);
}
document.addEventListener("asked", renew);

// ---- Recordings that are added

const waiting = [];
let sending = false;

function line(file) {
  const item = make("li");
  const name = make("span", file.name, "name");
  name.dir = "auto";
  const phase = make("span", "waits", "phase");
  const bar = make("progress");
  bar.max = 100;
  bar.value = 0;
  bar.setAttribute("aria-label", `${file.name}: sent`);
  item.append(name, phase, bar);
  get("uploads").append(item);
  return {
    sent(percent) { bar.value = percent; phase.textContent = percent < 100 ? `${Math.floor(percent)} %` : "is checked"; },
    end(text, good) {
      phase.textContent = text;
      item.classList.add(good ? "good" : "bad");
      bar.remove();
    },
  };
}

async function add(files) {
  const chosen = [...files];
  if (!chosen.length) return;
  const folder = get("into").value;
  const lines = chosen.map(line);
  try {
    const named = chosen.map((file) => ({name: file.name, size: file.size, folder}));
    const refused = await ask("/api/check", {files: named});
    refused.forEach((why, i) => {
      if (why) lines[i].end(why, false);
      else waiting.push({file: chosen[i], folder, line: lines[i]});
    });
    const bad = refused.filter(Boolean).length;
    if (bad) say(`${bad} of ${chosen.length} ${chosen.length === 1 ? "file is" : "files are"} not taken: the reason is with each.`);
  } catch (error) {
    for (const each of lines) each.end(error.message, false);
  }
  next();
}

function next() {
  if (sending || !waiting.length) return;
  sending = true;
  const {file, folder, line: shownLine} = waiting.shift();
  const query = new URLSearchParams({name: file.name, folder, modified: String(file.lastModified)});
  const request = new XMLHttpRequest();
  request.open("PUT", `/api/upload?${query}`);
  request.responseType = "json";
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) shownLine.sent((100 * event.loaded) / event.total);
  });
  const end = (text, good) => {
    shownLine.end(text, good);
    sending = false;
    if (!waiting.length) say(good ? "All recordings are in the inbox." : text);
    next();
  };
  request.addEventListener("load", () => {
    const found = request.response || {};
    if (request.status === 201) end(`is in the inbox${found.file.endsWith(file.name) ? "" : ` as ${found.file}`}`, true);
    else end(found.error || `The server refuses (${request.status}).`, false);
  });
  request.addEventListener("error", () => end("It was not sent: the server does not answer.", false));
  request.send(file);
}

get("files").addEventListener("change", () => {
  add(get("files").files);
  get("files").value = "";
});
addEventListener("dragover", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  document.body.classList.add("dropping");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
addEventListener("drop", (event) => {
  document.body.classList.remove("dropping");
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  add(event.dataTransfer.files);
});
addEventListener("beforeunload", (event) => {
  if (sending) event.preventDefault();
});

listen();
})();
