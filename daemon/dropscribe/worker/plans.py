"""The plan of the work on one recording, and taking up work that was interrupted.

Guarantees: finished windows are used only if the plan they were made by is exactly that of today:
the same cuts, model and versions. Else the parts would not fit together.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropscribe import protocol
from dropscribe.backends import Window
from dropscribe.worker.languages import SpokenLanguages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dropscribe.worker.speech import Speech


@dataclass(frozen=True, slots=True)
class WorkPlan:
    """What is transcribed of a recording, in which windows and languages, and how much of it is
    done.
    """

    speech: Speech
    basis: protocol.Plan
    """The plan without what depends on the languages: see `make_basis`."""
    spoken: SpokenLanguages
    done: int = 0
    """Windows."""

    def to_protocol(self) -> protocol.Plan:
        """Return the whole plan as it is reported."""
        return dataclasses.replace(
            self.basis,
            windows=tuple(self.speech.find_edges(window) for window in self.spoken.windows),
            voices=tuple(self.speech.find_channel(window.start) for window in self.spoken.windows),
            languages=self.spoken.languages,
        )


def make_basis(speech: Speech, windows: Sequence[Window], loaded: protocol.Loaded) -> protocol.Plan:
    """Return what the windows of a recording must have in common to be joined.

    Args:
        speech: The recording.
        windows: Its windows before the languages are decided.
        loaded: What transcribes them.
    """
    return protocol.Plan(
        samples=speech.length,
        windows=(),
        cut=tuple(speech.find_edges(window) for window in windows),
        speakers=speech.speakers,
        backend=loaded.backend,
        device=loaded.device,
        folder=loaded.folder,
        revision=loaded.revision,
        options=loaded.options,
        versions=loaded.versions,
    )


def resume_plan(resume: protocol.Resume | None, speech: Speech, basis: protocol.Plan) -> WorkPlan | None:
    """Return the plan of the interrupted work; None where there is none or it does not fit."""
    if resume is None or dataclasses.replace(resume.plan, windows=(), voices=(), languages=()) != basis:
        return None
    plan = resume.plan
    windows = tuple(
        Window.from_edges(index, [edge + channel * speech.stride for edge in edges])
        for index, (edges, channel) in enumerate(zip(plan.windows, plan.voices, strict=True))
    )
    spoken = SpokenLanguages(resume.language, resume.language_probability, windows, plan.languages, resume.runner_up)
    return WorkPlan(speech, basis, spoken, resume.done)
