"""Which backend is taken, and why: a table, with nothing installed and nothing patched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dropscribe import settings
from dropscribe.backends import choice, environments, listing
from dropscribe.backends.choice import choose_backends
from dropscribe.backends.factory import create_backend
from dropscribe.models import catalogue

if TYPE_CHECKING:
    from pathlib import Path

ALL, BOTH, FASTER, MLX, X, NONE = (
    {"mlx", "faster-whisper", "whisperx"},
    {"mlx", "faster-whisper"},
    {"faster-whisper"},
    {"mlx"},
    {"whisperx"},
    set[str](),
)
MAC, INTEL_MAC, LINUX, PI = ("Darwin", "arm64"), ("Darwin", "x86_64"), ("Linux", "x86_64"), ("Linux", "aarch64")

APPLE = "Apple Silicon, and mlx-whisper is installed"
NO_MLX = "Apple Silicon, but mlx-whisper is not installed"
AFTER_MLX = "the fall-back when mlx fails"
AFTER_FASTER = "the fall-back when faster-whisper fails"
AFTER_BOTH = "the fall-back when mlx and faster-whisper fail"
ALONE = "no other backend for this machine is installed"
SET = "set by the setting `backend`"


def elsewhere(machine: tuple[str, str]) -> str:
    return f"{machine[0]} on {machine[1]}: MLX is for Apple Silicon"


@pytest.mark.parametrize(
    ("setting", "machine", "present", "line"),
    [
        ("auto", MAC, ALL, [("mlx", APPLE), ("faster-whisper", AFTER_MLX), ("whisperx", AFTER_BOTH)]),
        ("auto", MAC, BOTH, [("mlx", APPLE), ("faster-whisper", AFTER_MLX)]),
        ("auto", MAC, MLX, [("mlx", APPLE)]),
        ("auto", MAC, MLX | X, [("mlx", APPLE), ("whisperx", AFTER_MLX)]),
        ("auto", MAC, FASTER, [("faster-whisper", NO_MLX)]),
        ("auto", MAC, FASTER | X, [("faster-whisper", NO_MLX), ("whisperx", AFTER_FASTER)]),
        ("auto", MAC, X, [("whisperx", ALONE)]),
        ("auto", MAC, NONE, []),
        ("auto", INTEL_MAC, ALL, [("faster-whisper", elsewhere(INTEL_MAC)), ("whisperx", AFTER_FASTER)]),
        ("auto", LINUX, ALL, [("faster-whisper", elsewhere(LINUX)), ("whisperx", AFTER_FASTER)]),
        ("auto", LINUX, BOTH, [("faster-whisper", elsewhere(LINUX))]),
        ("auto", PI, FASTER, [("faster-whisper", elsewhere(PI))]),
        ("auto", LINUX, MLX | X, [("whisperx", ALONE)]),
        ("auto", LINUX, MLX, []),
        ("auto", LINUX, NONE, []),
        ("mlx", LINUX, ALL, [("mlx", SET)]),
        ("mlx", MAC, FASTER | X, []),
        ("faster-whisper", MAC, ALL, [("faster-whisper", SET)]),
        ("faster-whisper", LINUX, MLX | X, []),
        ("whisperx", MAC, ALL, [("whisperx", SET)]),
        ("whisperx", LINUX, X, [("whisperx", SET)]),
        ("whisperx", LINUX, BOTH, []),
    ],
)
def test_the_choice(setting: str, machine: tuple[str, str], present: set[str], line: list[tuple[str, str]]) -> None:
    made = choose_backends(setting, *machine, frozenset(present))
    assert [(each.name, each.reason) for each in made] == line


def test_what_is_installed_here_is_found(tmp_path: Path) -> None:
    chosen = settings.load({"state": tmp_path}, {"HOME": str(tmp_path)}).settings
    assert "faster-whisper" in choice.find_installed(chosen)
    assert "whisperx" not in choice.find_installed(chosen)
    assert choice.choose_for_this_machine(chosen)[0].name in settings.BACKENDS


def test_only_names_make_a_backend() -> None:
    with pytest.raises(ValueError, match="torch"):
        create_backend("torch")


def test_every_table_of_backends_names_every_one() -> None:
    names = set(settings.BACKENDS)
    assert {*choice.BUNDLED, environments.NAME} == names
    assert set(listing._DISTRIBUTIONS) == names
    assert {*catalogue.LAYOUTS, *catalogue.READS_MODELS_OF} == names
    assert set(catalogue.AUTO) == set(catalogue.LAYOUTS)
