"use strict";
// A sentence that was found is heard where it stands; a second click is silence.
(() => {
const {get, say} = window.dropscribe;
const LEAD = 0.2; // seconds before the sentence
const TAIL = 0.5; // and behind it
const player = get("player");
let playing = null;
let until = 0;

function stop() {
  player.pause();
  if (playing) playing.removeAttribute("aria-pressed");
  playing = null;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.hear");
  if (!button) return;
  const again = button === playing;
  stop();
  if (again) return;
  playing = button;
  button.setAttribute("aria-pressed", "true");
  const start = Math.max(0, Number(button.dataset.start) - LEAD);
  until = Number(button.dataset.end) + TAIL;
  const address = new URL(button.dataset.sound, location.href).href;
  if (player.src !== address) player.src = address;
  player.currentTime = start;
  try {
    await player.play();
  } catch (error) {
    if (error.name === "AbortError") return;
    stop();
    say("The recording is not there any more, or the browser cannot play it.");
  }
});
player.addEventListener("timeupdate", () => { if (playing && player.currentTime >= until) stop(); });
player.addEventListener("ended", stop);
})();
