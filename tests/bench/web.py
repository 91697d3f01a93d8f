"""The library of `dropscribe serve` with many recordings and a long one: times, memory, and whether it stays smooth.

usage: python tests/bench/web.py [RECORDINGS]     (default 5000; to make them takes some minutes)

Needs ffmpeg, and Chromium with its chromedriver for what the browser shows. Times of the server are CPU time: another
program on the machine does not count.
"""

from __future__ import annotations

import dataclasses
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dropscribe.transcript import Segment, Transcript

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "daemon")]

from dropscribe.supervisor.journal import FILE_NAME, Journal  # noqa: E402
from examples import transcript  # noqa: E402
from page_browser import CHROMIUM, DRIVER, make_segment  # noqa: E402
from web_server import Server  # noqa: E402

WORDS = ("people", "recordings", "want", "find", "again", "what", "was", "said", "years", "ago", "by", "whom", "the")
SCROLL = """
const done = arguments[0], gaps = [];
let last = performance.now();
function step(now) {
  gaps.push(now - last); last = now; scrollBy(0, 400);
  if (gaps.length < 120) requestAnimationFrame(step);
  else { gaps.sort((a, b) => a - b); done([gaps[60], gaps[113], gaps[119]]); }
}
requestAnimationFrame(step);
"""
SEEK = """
const done = arguments[0], media = document.getElementById("media"), took = [];
(async () => {
  for (const at of [9000, 100, 10700, 5000]) {
    const begun = performance.now();
    media.currentTime = at;
    await new Promise((seen) => media.addEventListener("seeked", seen, {once: true}));
    took.push(performance.now() - begun);
  }
  done(took);
})();
"""


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        long = make_library(server, count)
        server.start()
        try:
            measure_server(server, long)
            if CHROMIUM and DRIVER:
                measure_browser(server, long)
        finally:
            server.stop()
    return 0


def make_transcript(chance: random.Random, minutes: float) -> Transcript:
    segments: list[Segment] = []
    clock = 0.0
    while clock < minutes * 60:
        spoken = []
        for _ in range(chance.randint(6, 18)):
            lasts = chance.uniform(0.15, 0.45)
            spoken.append(
                (chance.choice(WORDS), round(clock, 2), round(clock + lasts, 2), chance.choice((0.99, 0.4)))
            )
            clock += lasts
        segments.append(make_segment(spoken, len(segments), chance.choice(("Anna", "Ben"))))
        clock += chance.uniform(0.2, 1.5)
    return dataclasses.replace(transcript(segments, duration=clock), warnings=())


def make_library(server: Server, count: int) -> int:
    """Fill the library; return the number of a recording of three hours."""
    chance, begun = random.Random(1), time.time() - count * 3600
    kinds = [make_transcript(chance, 2) for _ in range(12)]
    sound = server.folder / "long.opus"
    noise = ["-f", "lavfi", "-i", "anoisesrc=r=16000:a=0.05", "-t", "10800", "-c:a", "libopus", "-b:a", "24k"]
    subprocess.run(["ffmpeg", "-v", "error", *noise, str(sound)], check=True)
    with Journal(server.state / FILE_NAME) as journal:
        for i in range(count):
            name = f"show {i % 40:02}/episode {i:04}.wav"
            server.add(name, kinds[i % 12], now=begun + i * 3600, journal=journal)
        return server.add("three hours.opus", make_transcript(chance, 180), sound=sound, journal=journal)


def measure_server(server: Server, long: int) -> None:
    assert server.process is not None
    stat, statm = Path(f"/proc/{server.process.pid}/stat"), Path(f"/proc/{server.process.pid}/statm")

    def read_cpu() -> float:
        return sum(map(int, stat.read_text().rpartition(")")[2].split()[11:13])) / 100

    def read_memory() -> float:
        return int(statm.read_text().split()[1]) * 4096 / 1e6

    begun, before = time.monotonic(), -1.0
    while read_cpu() - before > 0.05:  # it indexes what is new
        before = read_cpu()
        time.sleep(3)
    print(f"indexed: {before:.1f} s of CPU in {time.monotonic() - begun:.0f} s; {read_memory():.0f} MB")
    for path in ("/", "/?page=20", "/?speaker=Anna", "/search?q=recordings+years", f"/r/{long}"):
        taken = []
        for _ in range(9):
            before = read_cpu()
            assert server.ask(path).status == 200
            taken.append(read_cpu() - before)
        print(f"{path:30} {statistics.mean(taken) * 1000:5.0f} ms of CPU; {read_memory():.0f} MB")


def measure_browser(server: Server, long: int) -> None:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in ("headless", "no-sandbox", "mute-audio", "window-size=1280,900"):
        options.add_argument(f"--{flag}")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.get(f"{server.url}/?token={server.token}")
    for path in ("/", f"/r/{long}"):
        driver.get(server.url + path)
        time.sleep(1)
        gaps = [round(gap) for gap in driver.execute_async_script(SCROLL)]
        print(
            f"{path:30} between two frames while it scrolls: half {gaps[0]}, 95 % {gaps[1]}, all {gaps[2]} ms or less"
        )
    print("seeks in three hours:", [round(each) for each in driver.execute_async_script(SEEK)], "ms")
    driver.quit()


if __name__ == "__main__":
    sys.exit(main())
