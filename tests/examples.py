"""Transcripts for the tests: one by hand, and any that Hypothesis can think of."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from dropscribe.transcript import Engine, Notice, Segment, Source, Timing, Transcript, Word

# The first draw of a text builds tables for seconds, and CI machines are noisy: time says nothing here.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("here")

SOURCE = Source("talk.m4a", "a/talk.m4a", "ab" * 32, 1234, "2026-08-19T10:00:00+02:00", 2)
ENGINE = Engine("mlx", "gpu float16", "base", None, {"mlx": "0.32.4"}, {"model": "base", "language": "auto"})
TIMING = Timing(10.0, 0.1, 0.4, 20.0)


def transcript(segments: list[Segment], *, duration: float = 10.0) -> Transcript:
    return Transcript(
        text=" ".join(s.text for s in segments),
        language="en",
        language_probability=0.98,
        duration=duration,
        segments=tuple(segments),
        source=SOURCE,
        engine=ENGINE,
        timing=TIMING,
        warnings=(Notice("damaged", 1.0, 2.0, "Packets could not be read."),),
    )


TWO = transcript(
    [
        Segment(
            0,
            0.5,
            1.25,
            "Hello, you.",
            (Word(" Hello,", 0.5, 0.9, 0.99), Word(" you.", 0.95, 1.25, 0.5, "Host")),
            -0.2,
            1.1,
            0.01,
            0.0,
        ),
        Segment(
            1, 4.0, 6.5, "This is the second one, and it is long enough to need two lines.", (), -0.3, 1.2, 0.02, 0.4
        ),
    ]
)

times = st.floats(min_value=0, max_value=350_000, allow_nan=False, width=32)
words = st.text(st.characters(codec="utf-8"), max_size=30)


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    start, end = sorted((draw(times), draw(times)))
    spoken = tuple(
        Word(draw(words), start, end, draw(st.none() | st.floats(0, 1)), draw(st.none() | words))
        for _ in range(draw(st.integers(0, 3)))
    )
    return Segment(0, start, end, " ".join(draw(st.text(max_size=200)).split()), spoken)


transcripts = st.lists(segments(), max_size=6).map(
    lambda found: transcript(sorted(found, key=lambda s: s.start), duration=350_000)
)
