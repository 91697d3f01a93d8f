"""Which backend is taken, and why: a table, with nothing installed and nothing patched."""

from __future__ import annotations

import pytest

from dropscribe import backends
from dropscribe.backends import choose

BOTH, FASTER, MLX, NONE = ({"mlx", "faster-whisper"}, {"faster-whisper"}, {"mlx"}, set[str]())
MAC, INTEL_MAC, LINUX = ("Darwin", "arm64"), ("Darwin", "x86_64"), ("Linux", "x86_64")


@pytest.mark.parametrize(
    ("setting", "machine", "present", "names"),
    [
        ("auto", MAC, BOTH, ["mlx", "faster-whisper"]),
        ("auto", MAC, FASTER, ["faster-whisper"]),
        ("auto", MAC, MLX, ["mlx"]),
        ("auto", MAC, NONE, []),
        ("auto", INTEL_MAC, BOTH, ["faster-whisper"]),
        ("auto", LINUX, BOTH, ["faster-whisper"]),
        ("auto", LINUX, MLX, []),
        ("mlx", LINUX, BOTH, ["mlx"]),
        ("mlx", MAC, FASTER, []),
        ("faster-whisper", MAC, BOTH, ["faster-whisper"]),
        ("faster-whisper", LINUX, MLX, []),
    ],
)
def test_the_choice(setting: str, machine: tuple[str, str], present: set[str], names: list[str]) -> None:
    line = choose(setting, *machine, frozenset(present))
    assert [choice.name for choice in line] == names
    assert all(choice.reason for choice in line)


def test_the_reason_says_what_is_missing() -> None:
    (only,) = choose("auto", *MAC, frozenset(FASTER))
    assert "mlx-whisper is not installed" in only.reason


def test_what_is_installed_here_is_found() -> None:
    assert "faster-whisper" in backends.installed()
    assert backends.choose_here("auto")[0].name in backends.NAMES


def test_only_names_make_a_backend() -> None:
    with pytest.raises(ValueError, match="torch"):
        backends.create("torch")
