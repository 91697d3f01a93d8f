"use strict";
// Correcting on the page of a transcript. The words are changed in a field in place of their paragraph; what is saved
// goes to the daemon, which writes every file again, and the page is shown anew at the same second.
(() => {
const {ask, get, say} = window.dropscribe;
const WAIT = 250; // milliseconds between two looks whether the daemon has written it
const MOST = 60; // looks
const above = get("above");
const id = Number(above.dataset.id);
const data = JSON.parse(get("data").textContent);
const media = get("media");
const parts = [...document.querySelectorAll("#text .part")];
const KEPT = `dropscribe-correcting-${id}`;

// When each paragraph is said, in seconds.
const times = [];
let clock = 0;
for (const words of data.words) {
  let first = null;
  let last = 0;
  for (let i = 0; i < words.length; i += 4) {
    clock += words[i + 2];
    first ??= clock;
    last = Math.max(last, clock + words[i + 3]);
  }
  times.push([(first ?? clock) / 1000, last / 1000]);
}

function make(name, text = "", facts = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(facts)) made.setAttribute(key, value);
  return made;
}

// ---- A passage in a loop

let loop = null; // [start, end] in seconds
function turnLoop(button, span) {
  const same = loop && loop[0] === span[0] && loop[1] === span[1];
  for (const each of document.querySelectorAll("button.loop")) each.setAttribute("aria-pressed", "false");
  loop = same ? null : span;
  if (same) {
    media.pause();
    return;
  }
  button.setAttribute("aria-pressed", "true");
  media.currentTime = Math.max(0, span[0] - 0.15);
  media.play().catch(() => say("The recording is not there any more, or the browser cannot play it."));
}
media.addEventListener("timeupdate", () => {
  if (loop && (media.currentTime > loop[1] + 0.25 || media.currentTime < loop[0] - 1)) {
    media.currentTime = Math.max(0, loop[0] - 0.15);
  }
});

function loopButton(span) {
  const button = make("button", "Loop", {type: "button", class: "loop", "aria-pressed": "false"});
  button.addEventListener("click", () => turnLoop(button, span));
  return button;
}

// ---- Saving

// Waits until the daemon has written what was saved; false when it takes long.
async function written() {
  for (let i = 0; i < MOST; i += 1) {
    await new Promise((done) => { setTimeout(done, WAIT); });
    const answer = await fetch(`/api/version/${id}`).catch(() => null);
    const found = answer && answer.ok ? await answer.json() : {state: ""};
    if (found.state && found.state !== above.dataset.state) return found;
  }
  return null;
}

async function save(edits) {
  const answer = await ask("/api/correct", {id, version: above.dataset.version, edits});
  say(answer.text);
  return answer;
}

async function showAnew() {
  if (!await written()) {
    say("It is saved. The daemon has not written it yet: reload the page later.");
    return;
  }
  const seconds = media.currentTime || 0;
  history.replaceState(null, "", `${location.pathname}#t=${seconds.toFixed(1)}`);
  try {
    sessionStorage.setItem("dropscribe-scroll", String(scrollY));
  } catch { /* it is shown from where it plays */ }
  location.reload();
}

// ---- A paragraph

let editor = null;
const names = [...new Set(parts.map((part) => part.dataset.speaker).filter(Boolean))];

function close() {
  if (!editor) return;
  editor.line.hidden = false;
  editor.form.remove();
  editor.line.focus({preventScroll: true});
  editor = null;
  if (loop) {
    loop = null;
    media.pause();
  }
}

function chooseSpeaker(now) {
  const list = make("select", "", {"aria-label": "Who says it"});
  if (!now) list.append(make("option", "nobody named", {value: ""}));
  for (const name of names) list.append(make("option", name, {value: name}));
  list.append(make("option", "somebody else…", {value: "\n"}));
  list.value = now;
  const field = make("input", "", {type: "text", "aria-label": "Name of the speaker", maxlength: "100", hidden: ""});
  list.addEventListener("change", () => {
    field.hidden = list.value !== "\n";
    if (!field.hidden) field.focus();
  });
  return {list, field, read: () => (list.value === "\n" ? field.value.trim() || now : list.value)};
}

function edit(part) {
  if (editor && editor.part === part) return;
  close();
  const section = parts[part];
  const line = section.querySelector(".line");
  const text = line.textContent;
  const who = section.dataset.speaker || "";
  const form = make("form", "", {class: "editor", "aria-label": "Correct this passage"});
  const field = make("textarea", "", {"aria-label": "What is said", dir: "auto", spellcheck: "true"});
  field.value = text;
  if (line.lang) field.lang = line.lang;
  const speaker = chooseSpeaker(who);
  const row = make("p", "", {class: "row"});
  const done = make("button", "Save", {class: "main", title: "Ctrl+Enter"});
  const cancel = make("button", "Cancel", {type: "button", title: "Esc"});
  cancel.addEventListener("click", close);
  const repeat = loopButton(times[part]);
  repeat.title = "Hear it again and again (Ctrl+Space)";
  row.append(speaker.list, speaker.field, done, cancel, repeat);
  form.append(field, row);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const edits = [];
    if (field.value !== text) edits.push({kind: "words", paragraph: part, text: field.value});
    if (speaker.read() !== who) edits.push({kind: "turn", paragraph: part, speaker: speaker.read()});
    if (!edits.length) {
      close();
      return;
    }
    done.disabled = true;
    try {
      const answer = await save(edits);
      if (!answer.saved) {
        close();
        return;
      }
      if (answer.offers.length) await offer(answer.offers);
      line.textContent = field.value;
      close();
      await showAnew();
    } catch (error) {
      done.disabled = false;
      say(error.message);
    }
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    else if (event.key === " " && event.ctrlKey) turnLoop(repeat, times[part]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  const grow = () => {
    field.style.height = "auto";
    field.style.height = `${field.scrollHeight + 4}px`;
  };
  field.addEventListener("input", grow);
  line.hidden = true;
  line.tabIndex = -1;
  line.after(form);
  grow();
  field.focus({preventScroll: true});
  field.setSelectionRange(0, 0);
  editor = {part, form, line};
}

// ---- Always so

function offer(pairs) {
  const dialog = make("dialog", "", {class: "offer", "aria-labelledby": "offer-title"});
  const form = make("form", "", {method: "dialog"});
  form.append(make("h2", "Always write it so?", {id: "offer-title"}));
  form.append(make("p", "Other recordings of this folder would be written so, too, from now on."));
  const boxes = pairs.map(([wrong, right]) => {
    const label = make("label");
    const box = make("input", "", {type: "checkbox"});
    label.append(box, ` “${wrong}” as “${right}”`);
    form.append(label);
    return box;
  });
  const row = make("p", "", {class: "row"});
  row.append(make("button", "Always", {value: "always", class: "main"}), make("button", "Only here", {value: ""}));
  form.append(row);
  dialog.append(form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", async () => {
      const chosen = pairs.filter((_, i) => boxes[i].checked || pairs.length === 1);
      if (dialog.returnValue === "always" && chosen.length) {
        try {
          say((await ask("/api/always", {id, pairs: chosen})).text);
        } catch (error) {
          say(error.message);
        }
      }
      dialog.remove();
      done();
    });
  });
}

// ---- Doubtful passages

for (const item of document.querySelectorAll("aside li[data-passage]")) {
  const which = Number(item.dataset.passage);
  const [start, end] = data.passages[which];
  const row = make("p", "", {class: "row"});
  const right = make("button", "It is right", {type: "button"});
  right.addEventListener("click", async () => {
    right.disabled = true;
    try {
      await save([{kind: "accept", start, end}]);
    } catch (error) {
      right.disabled = false;
      say(error.message);
      return;
    }
    const next = item.nextElementSibling || item.previousElementSibling;
    for (const mark of document.querySelectorAll(`mark[data-passage="${which}"]`)) mark.classList.add("right");
    item.remove();
    if (next) next.querySelector("button").focus();
    const found = await written();
    if (found) above.dataset.state = found.state;
    showUndo();
  });
  row.append(right, loopButton([start, end]));
  item.append(row);
}

// ---- Hands

const turn = get("correct");
function correcting(on) {
  document.body.classList.toggle("correcting", on);
  turn.setAttribute("aria-pressed", String(on));
  try {
    if (on) sessionStorage.setItem(KEPT, "yes");
    else sessionStorage.removeItem(KEPT);
  } catch { /* for this view only */ }
  if (!on) close();
}
turn.addEventListener("click", () => {
  correcting(!document.body.classList.contains("correcting"));
  if (document.body.classList.contains("correcting")) say("Click a passage to correct it, or press e for the one that plays.");
});

get("text").addEventListener("click", (event) => {
  if (!document.body.classList.contains("correcting")) return;
  const line = event.target.closest(".line");
  if (!line) return;
  event.stopImmediatePropagation();
  edit(parts.indexOf(line.closest(".part")));
}, {capture: true});

addEventListener("keydown", (event) => {
  if (event.key !== "e" || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest?.("input:not([type=range]), select, textarea, dialog")) return;
  event.preventDefault();
  correcting(true);
  const top = get("bar").getBoundingClientRect().bottom;
  const now = document.querySelector("#text .part.now");
  const seen = parts.findIndex((part) => part.getBoundingClientRect().bottom > top + 8);
  edit(now ? parts.indexOf(now) : Math.max(seen, 0));
});

// The page itself changes the name where it is shown.
document.addEventListener("dropscribe:rename", async (event) => {
  event.preventDefault();
  try {
    await save([{kind: "name", old: event.detail.old, new: event.detail.new}]);
    await showAnew();
  } catch (error) {
    say(error.message);
  }
});

function showUndo() {
  get("undo").hidden = false;
}
get("undo").addEventListener("click", async () => {
  get("undo").disabled = true;
  try {
    say((await ask("/api/undo", {id})).text);
    await showAnew();
  } catch (error) {
    say(error.message);
  }
  get("undo").disabled = false;
});

try {
  if (sessionStorage.getItem(KEPT)) correcting(true);
  const at = sessionStorage.getItem("dropscribe-scroll");
  if (at !== null) scrollTo({top: Number(at), behavior: "instant"});
  sessionStorage.removeItem("dropscribe-scroll");
} catch { /* nothing was kept */ }
})();
