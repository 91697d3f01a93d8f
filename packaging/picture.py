"""Make the picture of the transcript page that README.md shows: `.github/page.png`.

usage: python packaging/picture.py --model MODEL [--out FILE]

Needs the extra `test`, Chromium and its chromedriver. The recording is the sample of `dropscribe bench`, with its two
paragraphs on a channel each and white noise under the second, so that the page has two speakers and some doubtful
passages. `dropscribe transcribe` makes the page; the picture is what Chromium shows of it, in 64 colours.
"""

from __future__ import annotations

import argparse
import base64
import os
import shutil
import subprocess
import sys
import tempfile
import wave
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
NAME = "Interview 2026-08-19 14.05"
"""Of the recording; the date that the page shows comes from it."""
RATE = 16_000
NOISE_DB = 5
"""Decibels of speech over noise on the second channel: enough for the model to doubt some words."""
WIDTH, HEIGHT = 1000, 480
"""CSS pixels."""
AT_S = 6.9
"""Where the playing recording stands in the picture, in seconds."""


def main() -> None:
    """Make the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="base", help="a Whisper model (default: base)")
    parser.add_argument("--out", type=Path, default=ROOT / ".github/page.png")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recording = folder / f"{NAME}.wav"
        write_interview(recording)
        command = [sys.executable, "-m", "dropscribe", "transcribe", str(recording), "--output", str(folder)]
        command += ["--backend", "faster-whisper", "--model", given.model, "--language", "en", "--formats", "html"]
        subprocess.run([*command, "--channels", "Host,Guest"], check=True)
        shot = folder / "shot.png"
        shot.write_bytes(take_screenshot(folder / f"{NAME}.html", folder / "browser"))
        reduce_colours(shot, given.out)
    print(f"{given.out}: {given.out.stat().st_size} bytes")


def write_interview(path: Path) -> None:
    """Write the sample as a stereo file with one speaker a channel."""
    sample = read_sample()
    middle = middle_of_longest_pause(sample)
    host, guest = sample.copy(), sample.copy()
    host[middle:] = 0
    guest[:middle] = 0
    noise = np.random.default_rng(0).standard_normal(len(sample))
    guest += noise * np.sqrt(np.mean(sample**2)) * 10 ** (-NOISE_DB / 20)
    samples = np.stack([host, guest], axis=1).clip(-32768, 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())


def read_sample() -> NDArray[np.float64]:
    """Return the sample's samples in the range of 16-bit integers."""
    parts = []
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    with av.open(str(ROOT / "daemon/dropscribe/sample.ogg")) as container:
        for frame in container.decode(audio=0):
            parts += [resampled.to_ndarray()[0] for resampled in resampler.resample(frame)]
    return np.concatenate(parts).astype(np.float64)


def middle_of_longest_pause(samples: NDArray[np.float64]) -> int:
    """Return the index in the middle of the longest run of blocks of 10 ms that are nearly silent."""
    block = RATE // 100
    peaks = np.abs(samples[: len(samples) // block * block]).reshape(-1, block).max(axis=1)
    loud = np.flatnonzero(peaks > peaks.max() * 0.02)
    longest = int(np.diff(loud).argmax())
    return int(loud[longest] + loud[longest + 1]) // 2 * block


def take_screenshot(page: Path, profile: Path) -> bytes:
    """Return a PNG of the page while it plays its recording."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    flags = ("headless", "no-sandbox", "disable-gpu", "no-first-run", "mute-audio", "hide-scrollbars")
    for flag in (*flags, f"window-size={WIDTH},{HEIGHT}", f"user-data-dir={profile}"):
        options.add_argument(f"--{flag}")
    # A BLAS that is preloaded for MLX ends Chromium's renderer.
    environ = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    driver = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(shutil.which("chromedriver"), env=environ)
    )
    try:
        size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1.5, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get(page.as_uri())
        wait = WebDriverWait(driver, 30, 0.02)
        wait.until(lambda _: driver.execute_script("return document.getElementById('media').readyState >= 3"))
        driver.execute_script("document.getElementById('media').currentTime = arguments[0]", AT_S)
        wait.until(lambda _: driver.execute_script("return CSS.highlights.get('spoken')?.size > 0"))
        shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    finally:
        driver.quit()
    return base64.b64decode(shot["data"])


def reduce_colours(source: Path, target: Path) -> None:
    """Write a PNG again with a palette: a third of the bytes."""
    with av.open(str(source)) as container:
        frame = next(container.decode(video=0))
    graph = av.filter.Graph()
    first = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format.name, time_base=Fraction(1, 25)
    )
    split, last = graph.add("split"), graph.add("buffersink")
    palette = graph.add("palettegen", "max_colors=64:reserve_transparent=0")
    use = graph.add("paletteuse", "dither=none")
    first.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(palette, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(last)
    graph.configure()
    first.push(frame)
    first.push(None)
    reduced: Any = last.pull()
    with av.open(str(target), "w", format="image2", options={"update": "1"}) as output:
        stream: Any = output.add_stream("png")
        stream.width, stream.height, stream.pix_fmt = reduced.width, reduced.height, "pal8"
        stream.options = {"compression_level": "9"}
        output.mux(stream.encode(reduced) + stream.encode(None))


if __name__ == "__main__":
    main()
