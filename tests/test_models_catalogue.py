"""What a model's name means, and where this program keeps its own models."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from dropscribe.errors import EnvironmentFaultError, UsageError
from dropscribe.models.catalogue import ALIASES, AUTO, LAYOUTS, NAMES, name_quantised
from dropscribe.models.lookup import models_dir
from dropscribe.models.store import ModelStore

pytestmark = pytest.mark.usefixtures("models_home")


class TestNames:
    def test_ctranslate2_repositories_are_those_of_faster_whisper(self) -> None:
        known = importlib.import_module("faster_whisper.utils")._MODELS
        ours = {
            line.name: line.repo for line in ModelStore(starters={}).list_models() if line.backend == "faster-whisper"
        }
        assert ours | {alias: ours[name] for alias, name in ALIASES.items()} == known

    def test_each_backend_has_its_own_repository(self) -> None:
        repos = {(line.name, line.backend): line.repo for line in ModelStore(starters={}).list_models()}
        assert repos["large-v3", "mlx"] == "mlx-community/whisper-large-v3-mlx"
        assert repos["large-v3-turbo", "mlx"] == "mlx-community/whisper-large-v3-turbo"
        assert repos["distil-large-v2", "mlx"] == repos["distil-large-v2", "faster-whisper"]
        assert set(AUTO.values()) <= set(NAMES)
        assert set(AUTO) == set(LAYOUTS)

    @pytest.mark.parametrize(
        ("wrong", "near"), [("larg-v3", "large-v3"), ("Tiny.EN", "tiny.en"), ("turbbo", "turbo")]
    )
    def test_an_unknown_name_is_refused_with_the_nearest_one(self, wrong: str, near: str) -> None:
        with pytest.raises(UsageError, match=f"Did you mean {near}\\?"):
            ModelStore().resolve_model(wrong, "faster-whisper", download=False)

    @pytest.mark.parametrize("wrong", ["a/../b", "a/b--c", "a/b@../../x", "a/b/c", "", "a b/c"])
    def test_what_could_be_no_repository_never_becomes_a_path(self, wrong: str) -> None:
        with pytest.raises(UsageError):
            ModelStore().resolve_model(wrong, "faster-whisper", download=False)

    def test_auto_is_named_in_the_error_and_its_command(self) -> None:
        with pytest.raises(EnvironmentFaultError, match="dropscribe models pull small") as caught:
            ModelStore().resolve_model("auto", "faster-whisper", download=False)
        assert caught.value.code == "model-missing"

    def test_an_unknown_backend_is_a_usage_error(self) -> None:
        with pytest.raises(UsageError, match="faster-whisper"):
            ModelStore().resolve_model("tiny", "whisper.cpp", download=False)

    @pytest.mark.parametrize(
        ("system", "environment", "expected"),
        [
            ("linux", {}, "~/.cache/dropscribe/models"),
            ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/dropscribe/models"),
            ("darwin", {"XDG_CACHE_HOME": "/x"}, "~/Library/Caches/dropscribe/models"),
            ("darwin", {"DROPSCRIBE_MODELS": "/elsewhere"}, "/elsewhere"),
        ],
    )
    def test_own_cache_is_where_the_system_keeps_caches(
        self, system: str, environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("DROPSCRIBE_MODELS", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "platform", system)
        assert models_dir() == Path(expected).expanduser()

    def test_a_quantised_model_has_the_name_with_its_bits(self) -> None:
        assert name_quantised("auto", 4) == "large-v3-turbo-4bit"
        assert name_quantised("turbo", 8) == "turbo-8bit"
        assert name_quantised("base@abc", 4) == "base-4bit@abc"
        for wrong in ("somebody/model", "/a/folder", "base-4bit"):
            with pytest.raises(UsageError, match="quantised"):
                name_quantised(wrong, 4)
        with pytest.raises(UsageError, match="no model base-5bit"):
            ModelStore().resolve_model("base-5bit", "mlx", download=False)

    def test_the_supervisor_can_check_a_name_without_any_model_library(self) -> None:
        code = (
            "import sys; from dropscribe.models.catalogue import check_name; check_name('small'); "
            "print(*{'numpy', 'huggingface_hub', 'mlx', 'ctranslate2', 'av', 'onnxruntime'} & set(sys.modules))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.split() == []
