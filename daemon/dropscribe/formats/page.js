
"use strict";
// The words are plain text in the page: their times lie in #data, and what is lit is painted over the text by the
// browser (CSS highlights). So three hours are some thousand paragraphs, not thirty thousand elements.
(() => {
const STEP = 5; // seconds of the arrow keys
const LEAD = 0.4; // seconds heard before a doubtful passage
const HOLD = 0.2; // seconds a word stays lit into the pause after it
const MOST = 2000; // matches that are painted at once; all are counted

const get = (id) => document.getElementById(id);
const data = JSON.parse(get("data").textContent);
const media = get("media");
const parts = [...document.querySelectorAll("#text .part")];
const lines = parts.map((part) => part.querySelector(".line"));
const number = new Map(lines.map((line, i) => [line, i]));

// Words: four numbers each, as the data has them a paragraph: characters to skip and to take, milliseconds since the
// start of the word before and until the end.
const total = data.words.reduce((sum, words) => sum + words.length / 4, 0);
const first = new Int32Array(parts.length + 1); // the first word of each paragraph
const home = new Int32Array(total); // the paragraph of each word
const from = new Int32Array(total); // its first character there
const to = new Int32Array(total); // after its last
const start = new Float64Array(total); // seconds
const end = new Float64Array(total);
let count = 0;
let clock = 0;
data.words.forEach((words, part) => {
  let at = 0;
  for (let i = 0; i < words.length; i += 4) {
    from[count] = at + words[i];
    to[count] = at = from[count] + words[i + 1];
    clock += words[i + 2];
    start[count] = clock / 1000;
    end[count] = (clock + words[i + 3]) / 1000;
    home[count] = part;
    count += 1;
  }
  first[part + 1] = count;
});
const order = Int32Array.from({length: total}, (_, i) => i); // by time; nearly always as they stand
order.sort((a, b) => start[a] - start[b] || a - b);
const rank = new Int32Array(total);
order.forEach((word, i) => { rank[word] = i; });

let ready = false; // whether there is something to play
let position = 0; // seconds, while there is nothing to play
let tried = 0; // places where the recording was looked for
let chosen = null; // address of a file that a person chose
let lit = -1; // the word that is lit
let litPart = -1;
let passage = -1;
let following = true;
let quiet = 0; // until when the page's own scrolling goes on

const now = () => (ready ? media.currentTime : position);
const length = () => (ready && Number.isFinite(media.duration) ? media.duration : data.duration);

// ---- Words and places in the page

const pieces = []; // by paragraph: its text nodes, each with the characters before it
function nodes(part) {
  if (!pieces[part]) {
    const walker = document.createTreeWalker(lines[part], NodeFilter.SHOW_TEXT);
    pieces[part] = [];
    for (let node = walker.nextNode(), at = 0; node; node = walker.nextNode()) {
      pieces[part].push([node, at]);
      at += node.length;
    }
  }
  return pieces[part];
}

function range(part, begin, stop) {
  const found = nodes(part);
  let low = 0;
  while (low + 1 < found.length && found[low + 1][1] <= begin) low += 1;
  let high = low;
  while (high + 1 < found.length && found[high + 1][1] < stop) high += 1;
  const made = document.createRange();
  made.setStart(found[low][0], begin - found[low][1]);
  made.setEnd(found[high][0], stop - found[high][1]);
  return made;
}

const rangeOf = (word) => range(home[word], from[word], to[word]);

function caret(x, y) {
  if (document.caretPositionFromPoint) {
    const place = document.caretPositionFromPoint(x, y);
    return place && [place.offsetNode, place.offset];
  }
  const place = document.caretRangeFromPoint && document.caretRangeFromPoint(x, y);
  return place && [place.startContainer, place.startOffset];
}

function wordAt(x, y) {
  const place = caret(x, y);
  const line = place && place[0].nodeType === Node.TEXT_NODE && place[0].parentElement.closest(".line");
  if (!line) return -1;
  const part = number.get(line);
  const at = nodes(part).find(([node]) => node === place[0])[1] + place[1];
  for (let word = first[part]; word < first[part + 1] && from[word] <= at + 1; word += 1) {
    if (to[word] < at - 1) continue;
    for (const box of rangeOf(word).getClientRects()) {
      if (x >= box.left - 2 && x <= box.right + 2 && y >= box.top - 4 && y <= box.bottom + 4) return word;
    }
  }
  return -1;
}

function wordAtTime(seconds) {
  let low = 0;
  let high = total;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (start[order[middle]] <= seconds) low = middle + 1;
    else high = middle;
  }
  return low - 1; // in `order`; -1 before the first
}

// ---- What is lit

const lights = {};
if (typeof Highlight === "function" && CSS.highlights) {
  ["pointed", "found", "chosen", "spoken"].forEach((name, i) => {
    lights[name] = new Highlight();
    lights[name].priority = i;
    CSS.highlights.set(name, lights[name]);
  });
} else {
  document.documentElement.classList.add("plain"); // the paragraph is lit instead of the word
}

function light(name, ...ranges) {
  if (!lights[name]) return;
  lights[name].clear();
  for (const each of ranges) lights[name].add(each);
}

function time(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value) => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours || length() >= 3600 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

function paint() {
  const seconds = now() + 0.01; // a player may stand a little before where it was sent
  const shown = `${time(seconds)} / ${time(length())}`;
  if (get("clock").textContent !== shown) {
    get("clock").textContent = shown;
    get("seek").setAttribute("aria-valuetext", shown);
  }
  get("seek").value = seconds;
  const at = wordAtTime(seconds);
  let word = at < 0 ? -1 : order[at];
  if (word >= 0 && seconds >= end[word] + HOLD && seconds > start[word] + HOLD) word = -1;
  if (word !== lit) {
    lit = word;
    const box = word < 0 ? null : rangeOf(word);
    if (box) light("spoken", box);
    else light("spoken");
    const part = word < 0 ? litPart : home[word];
    if (part !== litPart) {
      if (litPart >= 0) parts[litPart].classList.remove("now");
      parts[part].classList.add("now");
      litPart = part;
    }
    if (box && following && !media.paused && !parts[litPart].hidden) keep(box);
  }
  const inside = data.passages.findIndex(([begin, stop]) => seconds >= begin - LEAD - 0.02 && seconds < stop + HOLD);
  if (inside !== passage) {
    mark(passage, false);
    mark(inside, true);
    passage = inside;
  }
}

function mark(which, here) {
  if (which < 0) return;
  for (const each of document.querySelectorAll(`mark[data-passage="${which}"]`)) each.classList.toggle("here", here);
  const item = document.querySelector(`li[data-passage="${which}"]`);
  if (!item) return;
  if (here) item.setAttribute("aria-current", "true");
  else item.removeAttribute("aria-current");
  const list = item.closest("aside");
  if (here && list.scrollHeight > list.clientHeight) {
    const box = item.getBoundingClientRect();
    const frame = list.getBoundingClientRect();
    if (box.top < frame.top || box.bottom > frame.bottom) list.scrollTop += box.top - frame.top - 40;
  }
}

function frame() {
  paint();
  if (!media.paused && !media.ended) requestAnimationFrame(frame);
}

// ---- Scrolling

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const ceiling = () => get("bar").getBoundingClientRect().bottom;

function keep(box) { // while it plays: scroll when the word comes near an edge
  const place = box.getBoundingClientRect();
  const stamp = performance.now();
  if (stamp < quiet || (place.top > ceiling() + 8 && place.bottom < innerHeight * 0.75)) return;
  quiet = stamp + 500;
  const by = place.top - ceiling() - innerHeight * 0.12;
  if (calm.matches || Math.abs(by) > 2 * innerHeight) scrollBy({top: by, behavior: "instant"});
  else glide(by);
}

// Frame by frame, as the browser's own smooth scrolling swallows a turn of the wheel meanwhile.
function glide(by) {
  const began = performance.now();
  let done = 0;
  const move = (stamp) => {
    if (!following) return;
    const part = Math.min(1, Math.max(0, (stamp - began) / 300));
    const wanted = Math.round(by * part * part * (3 - 2 * part));
    scrollBy({top: wanted - done, behavior: "instant"});
    done = wanted;
    if (part < 1) requestAnimationFrame(move);
  };
  requestAnimationFrame(move);
}

function reveal(part, begin, stop, again = 3) { // at once; paragraphs get their real height only when they come near
  if (part < 0 || parts[part].hidden) return;
  const box = range(part, begin, stop).getBoundingClientRect();
  const top = ceiling();
  if (box.top < top + 8 || box.bottom > innerHeight - 40) {
    scrollBy({top: box.top - top - (innerHeight - top) * 0.3, behavior: "instant"});
    if (again) requestAnimationFrame(() => reveal(part, begin, stop, again - 1));
  }
}

function follow(yes) {
  following = yes;
  get("follow").hidden = yes || media.paused;
}

// ---- Playing

let fading = 0;
function say(text) {
  get("status").textContent = text;
  clearTimeout(fading);
  fading = setTimeout(() => { get("status").textContent = ""; }, 4000);
}

function go(seconds, show = true) {
  const wanted = Math.min(Math.max(seconds, 0), length());
  if (ready) media.currentTime = wanted;
  else position = wanted;
  follow(true);
  paint();
  if (!show || !total) return;
  const word = order[Math.max(0, Math.min(total - 1, wordAtTime(wanted + LEAD + 0.01)))];
  reveal(home[word], from[word], to[word]);
}

function play() {
  if (!ready) {
    say("There is no recording to play yet: choose it.");
    return;
  }
  media.play().catch((error) => { if (error.name !== "AbortError") say("The browser does not play it."); });
}

const toggle = () => (media.paused ? play() : media.pause());

function hear(word) {
  go(start[word], false);
  if (ready) play();
}

function step(by) { // to the next word, or the one before
  if (!total) return;
  const at = wordAtTime(now() + 0.01);
  go(start[order[Math.max(0, Math.min(total - 1, at + by))]]);
}

const inTime = data.passages.map((_, i) => i).sort((a, b) => data.passages[a][0] - data.passages[b][0]);
const opening = (i) => Math.max(0, data.passages[i][0] - LEAD);

function nextPassage(back) {
  if (!inTime.length) {
    say("No passage is doubtful.");
    return;
  }
  const seconds = now();
  const found = back
    ? inTime.filter((i) => opening(i) < seconds - 0.75).pop()
    : inTime.find((i) => opening(i) > seconds + 0.05);
  if (found === undefined) say(back ? "This is the first doubtful passage." : "This was the last doubtful passage.");
  else toPassage(found);
}

function toPassage(i) {
  go(opening(i));
  say(`Doubtful passage ${inTime.indexOf(i) + 1} of ${inTime.length}`);
  const shown = document.querySelector(`mark[data-passage="${i}"]`);
  if (shown) {
    const part = number.get(shown.closest(".line"));
    if (parts[part].hidden) showSpeakers([]);
    const at = nodes(part).find(([node]) => node === shown.firstChild)[1];
    reveal(part, at, at + 1);
  }
}

function speed(by) {
  const list = get("speed");
  const wanted = Math.min(Math.max(list.selectedIndex + by, 0), list.options.length - 1);
  list.selectedIndex = wanted;
  media.playbackRate = media.defaultPlaybackRate = Number(list.value);
  if (by) say(`Speed ${list.options[wanted].textContent}`);
}

// ---- The recording

function lack(text) {
  get("missing-text").textContent = text;
  get("missing").hidden = !text;
}

function look() { // in one place after the other
  while (tried < data.places.length) {
    const place = data.places[tried];
    tried += 1;
    if (place.startsWith("file:") && location.protocol !== "file:") continue;
    media.src = place;
    return;
  }
  lack(`${data.name} does not lie beside this page. Choose it, or drop it here.`);
}

function open(file) {
  if (!ready && !chosen) position = now();
  else position = media.currentTime || position;
  ready = false;
  media.pause();
  if (chosen) URL.revokeObjectURL(chosen);
  chosen = URL.createObjectURL(file);
  lack(file.size === data.bytes ? "" : `${file.name} is not the file that was transcribed: the times may not fit.`);
  media.src = chosen;
}

media.addEventListener("loadedmetadata", () => {
  ready = true;
  get("play").disabled = false;
  media.hidden = !media.videoWidth;
  get("seek").max = length();
  ticks();
  if (position) media.currentTime = position;
  speed(0);
  const odd = Number.isFinite(media.duration) && Math.abs(media.duration - data.duration) > 1 + data.duration / 100;
  if (!chosen) lack(odd ? `${data.name} beside this page has another length than what was transcribed.` : "");
  else if (odd) lack(`The chosen file lasts ${time(media.duration)}, the transcribed one ${time(data.duration)}.`);
  paint();
});
media.addEventListener("error", () => {
  ready = false;
  get("play").disabled = true;
  if (chosen) lack("The browser cannot play this file. Choose another form of the recording.");
  else look();
});
for (const name of ["timeupdate", "seeked", "durationchange"]) media.addEventListener(name, paint);
media.addEventListener("play", () => {
  get("play").classList.add("playing");
  get("play").setAttribute("aria-label", "Pause");
  requestAnimationFrame(frame);
});
media.addEventListener("pause", () => {
  get("play").classList.remove("playing");
  get("play").setAttribute("aria-label", "Play");
  get("follow").hidden = true;
});

get("file").addEventListener("change", () => {
  if (get("file").files.length) open(get("file").files[0]);
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
  open(event.dataTransfer.files[0]);
});

// ---- Search

const folded = new Map(); // each UTF-16 unit without accents and case, when that leaves one unit: places stay
function fold(text) {
  let made = "";
  for (let i = 0; i < text.length; i += 1) {
    const unit = text[i];
    let plain = folded.get(unit);
    if (plain === undefined) {
      plain = /\s/.test(unit) ? " " : unit.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
      if (plain.length !== 1) plain = unit.toLowerCase().length === 1 ? unit.toLowerCase() : unit;
      folded.set(unit, plain);
    }
    made += plain;
  }
  return made;
}

let haystack = null;
let hits = []; // [paragraph, first character, after the last]
let hit = -1;

function find(text) {
  const wanted = fold(text.normalize("NFC").replace(/\s+/g, " ").trim());
  haystack ??= lines.map((line) => fold(line.textContent));
  hits = [];
  hit = -1;
  if (wanted) {
    haystack.forEach((hay, part) => {
      if (parts[part].hidden) return;
      for (let at = hay.indexOf(wanted); at >= 0; at = hay.indexOf(wanted, at + wanted.length)) {
        hits.push([part, at, at + wanted.length]);
      }
    });
  }
  if (hits.length) { // begin where the reader is
    const part = Math.max(litPart, 0);
    hit = Math.max(hits.findIndex((each) => each[0] >= part), 0);
  }
  showHits(wanted);
}

function showHits(wanted) {
  const begin = Math.max(0, Math.min(hit - MOST / 2, hits.length - MOST));
  light("found", ...hits.slice(begin, begin + MOST).map((each) => range(...each)));
  get("previous-hit").disabled = get("next-hit").disabled = !hits.length;
  get("count").textContent = !wanted ? "" : hits.length ? `${hit + 1} / ${hits.length}` : "none";
  if (hit < 0) {
    light("chosen");
    return;
  }
  light("chosen", range(...hits[hit]));
  follow(false);
  reveal(...hits[hit]);
}

function turn(by) {
  clearTimeout(typing);
  if (stale) {
    stale = false;
    find(get("query").value);
    return;
  }
  if (!hits.length) return;
  hit = (hit + by + hits.length) % hits.length;
  showHits(true);
}

let typing = 0;
let stale = false;
get("query").addEventListener("input", () => {
  clearTimeout(typing);
  stale = true;
  typing = setTimeout(() => {
    stale = false;
    find(get("query").value);
  }, 120);
});
get("search").addEventListener("submit", (event) => {
  event.preventDefault();
  turn(1);
});
get("previous-hit").addEventListener("click", () => turn(-1));
get("query").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.shiftKey) {
    event.preventDefault();
    turn(-1);
  } else if (event.key === "Escape") {
    clearTimeout(typing);
    stale = false;
    get("query").value = "";
    find("");
    get("query").blur();
  }
});

// ---- Speakers

const people = [...document.querySelectorAll("#speakers > div")];
const called = new Map(people.map((item) => [item.dataset.speaker, item.dataset.speaker])); // by the name in the files
let alone = new Set(); // whose words alone are shown; nobody's: everybody's

function showSpeakers(names) {
  alone = new Set(names);
  for (const item of people) {
    item.firstElementChild.setAttribute("aria-pressed", String(alone.has(item.dataset.speaker)));
  }
  for (const part of parts) part.hidden = alone.size > 0 && !alone.has(part.dataset.speaker);
  if (get("query").value) find(get("query").value);
  const shown = people.map((item) => item.dataset.speaker).filter((name) => alone.has(name));
  say(shown.length ? `Only ${shown.map((name) => called.get(name)).join(" and ")}` : "Everybody");
}

function turnSpeaker(name) {
  const wanted = new Set(alone);
  if (!wanted.delete(name)) wanted.add(name);
  showSpeakers(wanted.size < people.length ? wanted : []);
}

// A name changes in the page alone. Who shows the page can take the change: a listener of the event on the document
// gets the old name and the new one, and prevents the default, so that no command is shown.
let renamed = "";
function rename(name, wanted) {
  if (!wanted || wanted === called.get(name)) return true;
  if ([...called].some(([other, shown]) => other !== name && shown === wanted)) {
    say("Somebody else has this name.");
    return false;
  }
  const before = called.get(name);
  called.set(name, wanted);
  for (const item of people.filter((each) => each.dataset.speaker === name)) {
    item.querySelector(".name").textContent = wanted;
    item.querySelector(".rename").setAttribute("aria-label", `Rename ${wanted}`);
  }
  for (const part of parts.filter((each) => each.dataset.speaker === name)) {
    const label = part.querySelector(".speaker");
    if (label) label.textContent = wanted;
  }
  const change = new CustomEvent("dropscribe:rename", {cancelable: true, detail: {old: before, new: wanted}});
  if (!document.dispatchEvent(change)) return true;
  const changes = [...called].filter(([old, shown]) => old !== shown);
  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const pairs = changes.map(([old, shown]) => quote(`${old}=${shown}`)).join(" ");
  get("command").textContent = `dropscribe speakers ${quote(data.file)} ${pairs}`;
  get("keep").hidden = !data.file || !changes.length;
  return get("keep").hidden;
}

if (people.length) get("speakers").hidden = false;
for (const item of people) {
  item.querySelector(".who").addEventListener("click", () => turnSpeaker(item.dataset.speaker));
  item.querySelector(".rename").addEventListener("click", () => {
    renamed = item.dataset.speaker;
    get("new-name").value = called.get(renamed);
    get("keep").hidden = true;
    get("naming").showModal();
    get("new-name").select();
  });
}
get("naming-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (rename(renamed, get("new-name").value.replace(/[\s=]+/g, " ").trim())) get("naming").close();
});
get("copy-command").addEventListener("click", () => {
  if (copyNow(get("command").textContent)) say("Copied.");
  else say("The browser does not let this page copy.");
});

// ---- Copy with times

function copied() {
  const selection = getSelection();
  const picked = selection.rangeCount && !selection.isCollapsed ? selection.getRangeAt(0) : null;
  const within = picked && lines.some((line) => picked.intersectsNode(line)) ? picked : null;
  const found = [];
  lines.forEach((line, part) => {
    if (parts[part].hidden || first[part] === first[part + 1] || (within && !within.intersectsNode(line))) return;
    const piece = document.createRange();
    piece.selectNodeContents(line);
    let skipped = 0;
    if (within && within.compareBoundaryPoints(Range.START_TO_START, piece) > 0) {
      const before = piece.cloneRange();
      before.setEnd(within.startContainer, within.startOffset);
      skipped = before.toString().length;
      piece.setStart(within.startContainer, within.startOffset);
    }
    if (within && within.compareBoundaryPoints(Range.END_TO_END, piece) < 0) {
      piece.setEnd(within.endContainer, within.endOffset);
    }
    const text = piece.toString().trim();
    if (!text) return;
    let word = first[part];
    while (word + 1 < first[part + 1] && to[word] <= skipped) word += 1;
    const speaker = called.get(parts[part].dataset.speaker);
    found.push(`[${time(start[word])}] ${speaker ? `${speaker}: ` : ""}${text}`);
  });
  return `${found.join("\n")}\n`;
}

function copyNow(text) {
  const put = (event) => {
    event.preventDefault();
    event.clipboardData.setData("text/plain", text);
  };
  document.addEventListener("copy", put, {once: true});
  const done = document.execCommand("copy"); // no permission to ask for, and it works from file:
  document.removeEventListener("copy", put);
  return done;
}

function copy() {
  const text = copied();
  const lines = text.split("\n").length - 1;
  const done = `Copied ${lines} ${lines === 1 ? "paragraph" : "paragraphs"} with times.`;
  if (copyNow(text)) say(done);
  else if (navigator.clipboard) navigator.clipboard.writeText(text).then(() => say(done), () => say("Not copied."));
  else say("The browser does not let this page copy.");
}

// ---- Colours

const dim = matchMedia("(prefers-color-scheme: dark)");
const dark = () => (document.documentElement.dataset.theme || (dim.matches ? "dark" : "light")) === "dark";

function showTheme() {
  get("theme").setAttribute("aria-pressed", String(dark()));
}

function turnTheme() {
  const wanted = dark() ? "light" : "dark";
  document.documentElement.dataset.theme = wanted;
  try {
    localStorage.setItem("dropscribe-theme", wanted);
  } catch { /* kept for this visit only */ }
  showTheme();
}

try {
  const kept = localStorage.getItem("dropscribe-theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
} catch { /* the system's choice */ }
dim.addEventListener("change", showTheme);
showTheme();

// ---- Hands

get("text").addEventListener("click", (event) => {
  const at = event.target.closest(".at");
  if (at) {
    const part = number.get(at.closest(".part").querySelector(".line"));
    if (first[part] < first[part + 1]) hear(first[part]);
    return;
  }
  if (!getSelection().isCollapsed) return; // somebody marks text to copy it
  const word = wordAt(event.clientX, event.clientY);
  if (word >= 0) hear(word);
});

let pointed = 0;
get("text").addEventListener("pointermove", (event) => {
  if (event.pointerType !== "mouse") return;
  cancelAnimationFrame(pointed);
  pointed = requestAnimationFrame(() => {
    const word = event.buttons ? -1 : wordAt(event.clientX, event.clientY);
    if (word >= 0) light("pointed", rangeOf(word));
    else light("pointed");
  });
});
get("text").addEventListener("pointerleave", () => {
  cancelAnimationFrame(pointed);
  light("pointed");
});

for (const item of document.querySelectorAll("li[data-passage]")) {
  item.firstElementChild.addEventListener("click", () => {
    toPassage(Number(item.dataset.passage));
    if (ready) play();
  });
}
get("play").addEventListener("click", toggle);
get("back").addEventListener("click", () => go(now() - STEP));
get("forward").addEventListener("click", () => go(now() + STEP));
get("seek").addEventListener("input", () => go(Number(get("seek").value)));
get("speed").addEventListener("change", () => speed(0));
get("copy").addEventListener("pointerdown", (event) => event.preventDefault()); // keeps the selection
get("copy").addEventListener("click", copy);
get("theme").addEventListener("click", turnTheme);
get("ask").addEventListener("click", () => get("help").showModal());
get("follow").addEventListener("click", () => {
  follow(true);
  if (lit >= 0) reveal(home[lit], from[lit], to[lit]);
});
for (const name of ["wheel", "touchmove"]) {
  addEventListener(name, (event) => {
    if (!event.target.closest?.("aside")) follow(false);
  }, {passive: true});
}

const keys = {
  " ": toggle,
  ArrowLeft: (event) => (event.shiftKey ? step(-1) : go(now() - STEP)),
  ArrowRight: (event) => (event.shiftKey ? step(1) : go(now() + STEP)),
  n: () => nextPassage(false),
  p: () => nextPassage(true),
  "/": () => { get("query").focus(); get("query").select(); },
  "[": () => speed(-1),
  "]": () => speed(1),
  c: copy,
  d: turnTheme,
  "?": () => get("help").showModal(),
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || get("help").open || get("naming").open) return;
  if (event.target.closest?.("input:not([type=range], [type=file]), select, textarea")) return;
  if (event.target.closest?.("[type=range]") && event.key.startsWith("Arrow")) return;
  if (event.key === " " && event.target.closest?.("button, summary, [type=file]")) return;
  if (["PageUp", "PageDown", "Home", "End", "ArrowUp", "ArrowDown"].includes(event.key)) follow(false);
  if (!Object.hasOwn(keys, event.key)) return;
  event.preventDefault();
  keys[event.key](event);
});

// ---- Begin

function ticks() {
  const place = get("ticks");
  place.replaceChildren();
  for (const [begin] of data.passages) {
    const tick = document.createElement("i");
    tick.style.left = `${Math.min(100, (100 * begin) / (length() || 1))}%`;
    place.append(tick);
  }
}

get("bar").hidden = false;
get("play").disabled = true;
get("seek").max = data.duration;
const list = document.querySelector("aside details");
if (list && matchMedia("(max-width: 60rem)").matches) list.open = false;
ticks();
look();
paint();
const wanted = /^#t=(\d+(\.\d+)?)$/.exec(location.hash); // from who leads here
if (wanted) go(Number(wanted[1]));
})();
