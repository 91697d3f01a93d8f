"""Models are downloaded whole, checked and repaired, and progress is reported.

What needs the hub runs in its own process against `hub_stub`: the library reads HF_ENDPOINT once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import dropscribe
from dropscribe.models.catalogue import LAYOUTS
from dropscribe.models.progress import DownloadMeter, Progress, make_bar
from hub_stub import HubStub, Repo
from model_files import COMMIT, FILES, NEEDED, TINY, WEIGHTS, change_in_place, small_model

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT = """
import json, sys, time
import huggingface_hub.constants
from dropscribe import log_bridge
from dropscribe.errors import EnvironmentFaultError
from dropscribe.models.store import ModelStore

time.sleep = lambda seconds: None  # the library waits between its attempts
huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = 50_000  # 10 MB: the files here are smaller
model, backend, download, limit = sys.argv[1:]
if int(limit):
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
answer, progress, events = {}, [], []
log_bridge.sink = lambda level, name, facts: events.append(name)

def report(p):
    progress.append([p.model, p.repo, p.done_bytes, p.total_bytes])
    print(p.done_bytes, flush=True)

try:
    found = ModelStore().resolve_model(model, backend, download=download == "yes", progress=report)
    answer["folder"] = [found.name, str(found.path), found.revision, found.origin]
except EnvironmentFaultError as error:
    answer["code"], answer["cure"] = error.code, error.cure
answer["progress"] = progress
answer["events"] = events
answer["network"] = sorted({"huggingface_hub.file_download", "httpx2", "httpx", "requests"} & set(sys.modules))
print(json.dumps(answer))
"""


@dataclass
class Client:
    """Runs `resolve_model` in its own process, against a hub."""

    home: Path
    stub: HubStub
    library: Path | None = None
    """Where another huggingface_hub is installed, to be taken in place of this environment's."""

    def command(self, model: str, backend: str, *, download: bool = True, limit: int = 0) -> list[str]:
        return [sys.executable, "-W", "error", "-c", CLIENT, model, backend, "yes" if download else "no", str(limit)]

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        source = str(Path(dropscribe.__file__).parents[1])
        return kept | {
            "HF_ENDPOINT": self.stub.endpoint,
            "HF_HOME": str(self.home / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DOWNLOAD_TIMEOUT": "1",
            "DROPSCRIBE_MODELS": str(self.home / "own"),
            "PYTHONPATH": os.pathsep.join(
                map(str, filter(None, [self.library, source, os.environ.get("PYTHONPATH")]))
            ),
        }

    def resolve(
        self,
        model: str = "tiny.en",
        backend: str = "faster-whisper",
        *,
        download: bool = True,
        limit: int = 0,
        **env: str,
    ) -> dict[str, Any]:
        done = subprocess.run(
            self.command(model, backend, download=download, limit=limit),
            env=self.environment | env,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.stderr == ""
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer


@pytest.fixture
def hub() -> Iterator[HubStub]:
    with HubStub({TINY: Repo(dict(FILES))}) as stub:
        yield stub


@pytest.fixture
def client(tmp_path: Path, hub: HubStub) -> Client:
    return Client(tmp_path, hub)


class TestDownload:
    def test_exactly_the_needed_files_come_and_the_next_start_asks_nobody(self, client: Client, hub: HubStub) -> None:
        answer = client.resolve()
        name, path, revision, origin = answer["folder"]
        assert (name, revision, origin) == ("tiny.en", COMMIT, "download")
        assert {file.name: file.read_bytes() for file in Path(path).iterdir()} == {n: FILES[n] for n in NEEDED}
        total = sum(len(FILES[name]) for name in NEEDED)
        assert answer["progress"][-1] == ["tiny.en", TINY, total, total]
        assert answer["events"] == ["model.download_started", "model.downloaded"]

        hub.requests.clear()
        again = client.resolve()
        assert again["folder"] == ["tiny.en", path, COMMIT, "cache"]
        assert again["network"] == []
        assert hub.requests == []

    def test_a_missing_model_asks_nobody_when_it_may_not_be_downloaded(self, client: Client, hub: HubStub) -> None:
        answer = client.resolve(download=False)
        assert (answer["code"], answer["network"]) == ("model-missing", [])
        assert answer["cure"] == "Run `dropscribe models pull tiny.en`."
        assert hub.requests == []

    @pytest.mark.parametrize(
        ("mode", "code"),
        [
            ("unauthorized", "hub-refused"),
            ("forbidden", "hub-refused"),
            ("missing", "model-unknown"),
            ("broken", "hub-unreachable"),
            ("portal", "hub-unreachable"),
            ("cut", "hub-interrupted"),
            ("hang", "hub-interrupted"),
        ],
    )
    def test_every_refusal_has_its_code_and_a_cure(self, client: Client, hub: HubStub, mode: str, code: str) -> None:
        hub.mode = mode
        answer = client.resolve()
        assert answer["code"] == code
        assert ("HF_TOKEN" in answer["cure"]) == (code == "hub-refused")
        assert ("models pull" in answer["cure"]) == (code in {"hub-unreachable", "hub-interrupted"})

    def test_no_hub_at_all(self, client: Client) -> None:
        with HubStub({}) as gone:
            nobody = gone.endpoint
        assert client.resolve(HF_ENDPOINT=nobody)["code"] == "hub-unreachable"

    def test_the_offline_switch_is_obeyed_and_named(self, client: Client, hub: HubStub) -> None:
        answer = client.resolve(HF_HUB_OFFLINE="1")
        assert answer["code"] == "hub-unreachable"
        assert answer["cure"].startswith("Unset it")
        assert hub.requests == []

    def test_the_token_goes_to_the_hub(self, client: Client, hub: HubStub) -> None:
        assert "folder" in client.resolve(HF_TOKEN="hf_secret")  # noqa: S106 not a secret
        assert hub.tokens == {"Bearer hf_secret"}

    def test_corrupt_bytes_are_never_used_and_come_right_the_next_time(self, client: Client, hub: HubStub) -> None:
        hub.mode = "corrupt"
        assert client.resolve()["code"] == "model-damaged"
        assert client.resolve(download=False)["code"] == "model-missing"
        hub.mode = "ok"
        answer = client.resolve()
        assert (Path(answer["folder"][1]) / "model.bin").read_bytes() == WEIGHTS

    def test_a_damaged_cache_is_logged_and_repaired(self, client: Client) -> None:
        path = Path(client.resolve()["folder"][1])
        change_in_place(path / "model.bin", keep_time=False)
        events = client.resolve()["events"]
        assert events == ["model.damaged", "model.incomplete", "model.download_started", "model.downloaded"]
        assert (path / "model.bin").read_bytes() == WEIGHTS

    def test_a_download_killed_in_the_middle_is_noticed_and_finished(self, client: Client, hub: HubStub) -> None:
        hub.mode = "hang"
        process = subprocess.Popen(
            client.command("tiny.en", "faster-whisper"),
            env=client.environment | {"HF_HUB_DOWNLOAD_TIMEOUT": "60"},
            stdout=subprocess.DEVNULL,
        )
        assert hub.half_sent.wait(30)
        process.kill()
        process.wait()
        hub.release.set()
        hub.mode = "ok"
        assert client.resolve(download=False)["events"] == ["model.incomplete"]
        answer = client.resolve()
        assert answer["events"] == ["model.incomplete", "model.download_started", "model.downloaded"]
        assert (Path(answer["folder"][1]) / "model.bin").read_bytes() == WEIGHTS

    def test_a_full_disk_has_its_own_code(self, client: Client) -> None:
        assert client.resolve(limit=100_000)["code"] == "disk-full"
        assert "folder" in client.resolve()

    def test_a_download_that_cannot_fit_is_not_begun(self, client: Client, hub: HubStub) -> None:
        hub.repos[TINY].claimed_size = 10**18
        assert client.resolve()["code"] == "disk-full"
        assert not [request for request in hub.requests if "/cdn/" in request]

    def test_a_revision_is_pinned_by_its_commit(self, client: Client, hub: HubStub) -> None:
        answer = client.resolve(f"{TINY}@{COMMIT}")
        assert answer["folder"][2:] == [COMMIT, "download"]
        assert client.resolve(f"{TINY}@{'d' * 40}")["code"] == "model-unknown"
        assert f"GET /{TINY}/resolve/{COMMIT}/config.json" in hub.requests

    def test_a_repository_that_is_no_model_is_refused_before_anything_is_downloaded(
        self, client: Client, hub: HubStub
    ) -> None:
        hub.repos["some/thing"] = Repo({"config.json": b"{}", "pytorch_model.bin": WEIGHTS})
        for backend in LAYOUTS:
            assert client.resolve("some/thing", backend)["code"] == "model-unusable"
        assert not [request for request in hub.requests if "/resolve/" in request]

    def test_one_of_several_weights_is_enough_for_mlx(self, client: Client, hub: HubStub) -> None:
        weights = {"weights.npz": WEIGHTS, "model.safetensors": WEIGHTS[::-1], "lib/x.py": b"", "config.json": b"{}"}
        hub.repos["mlx-community/whisper-tiny.en-mlx"] = Repo(weights)
        answer = client.resolve("tiny.en", "mlx")
        assert {file.name for file in Path(answer["folder"][1]).iterdir()} == {"config.json", "weights.npz"}

    def test_a_name_without_mlx_release_is_downloaded_for_ctranslate2_and_converted(
        self, client: Client, hub: HubStub, tmp_path: Path
    ) -> None:
        small = small_model(tmp_path / "small")
        files = {file.name: file.read_bytes() for file in small.iterdir()}
        hub.repos["Systran/faster-distil-whisper-small.en"] = Repo(files)
        answer = client.resolve("distil-small.en", "mlx")
        assert answer["folder"][2:] == [COMMIT, "converted"]
        assert answer["events"] == ["model.download_started", "model.downloaded", "model.converting"]
        hub.requests.clear()
        assert client.resolve("distil-small.en", "mlx")["events"] == []
        assert hub.requests == []


TOTAL = sum(len(FILES[name]) for name in NEEDED)


def check_progress(answer: dict[str, Any]) -> list[int]:
    """Return the bytes that were reported, which only grow, from none to all of the same total."""
    assert {(model, repo, total) for model, repo, _, total in answer["progress"]} == {("tiny.en", TINY, TOTAL)}
    done = [done for _, _, done, _ in answer["progress"]]
    assert done == sorted(set(done))
    assert (done[0], done[-1]) == (0, TOTAL)
    return done


class TestProgress:
    def test_it_is_of_the_whole_download_from_the_first_report_on(self, client: Client) -> None:
        done = check_progress(client.resolve())
        small = TOTAL - len(WEIGHTS)
        assert {small, small + 50_000, small + 100_000} <= set(done)

    @pytest.mark.parametrize("library", ["this environment's", "WhisperX's"])
    def test_it_is_reported_while_a_file_is_being_fetched(
        self, client: Client, hub: HubStub, library: str, request: pytest.FixtureRequest
    ) -> None:
        if library == "WhisperX's":
            client.library = request.getfixturevalue("whisperx_hub")
        hub.mode = "hang"
        with subprocess.Popen(
            client.command("tiny.en", "faster-whisper"),
            env=client.environment | {"HF_HUB_DOWNLOAD_TIMEOUT": "60"},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                # Half of the weights are sent, and a part of them is reported, before the rest is let go.
                assert any(int(line) > TOTAL - len(WEIGHTS) for line in process.stdout)
            finally:
                hub.release.set()
            answer = json.loads(process.stdout.read().splitlines()[-1])
        check_progress(answer)
        assert (Path(answer["folder"][1]) / "model.bin").read_bytes() == WEIGHTS

    def test_files_that_are_here_already_count(self, client: Client, hub: HubStub) -> None:
        path = Path(client.resolve()["folder"][1])
        (path / "model.bin").resolve().unlink()
        (path / "model.bin").unlink()
        hub.requests.clear()
        done = check_progress(client.resolve())
        assert TOTAL - len(WEIGHTS) in done
        assert f"GET /{TINY}/resolve/main/config.json" not in hub.requests

    def test_it_goes_on_where_the_library_resumes(self, client: Client, hub: HubStub) -> None:
        hub.mode = "hang-once"
        check_progress(client.resolve())
        assert hub.ranges
        assert hub.ranges[0] != "bytes=0-"

    def test_it_is_whole_again_after_a_kill(self, client: Client, hub: HubStub) -> None:
        hub.mode = "hang"
        process = subprocess.Popen(
            client.command("tiny.en", "faster-whisper"),
            env=client.environment | {"HF_HUB_DOWNLOAD_TIMEOUT": "60"},
            stdout=subprocess.DEVNULL,
        )
        assert hub.half_sent.wait(30)
        process.kill()
        process.wait()
        hub.release.set()
        hub.mode = "ok"
        check_progress(client.resolve())

    def test_an_interrupted_download_never_reports_that_it_is_whole(self, client: Client, hub: HubStub) -> None:
        hub.mode = "cut"
        answer = client.resolve()
        assert answer["code"] == "hub-interrupted"
        assert all(done < total == TOTAL for _, _, done, total in answer["progress"])

    def test_what_is_fetched_twice_is_reported_once(self) -> None:
        """A server may start from the beginning again; hf_xet has two bars for one file."""
        reports: list[Progress] = []
        meter = DownloadMeter("tiny.en", TINY, 130, reports.append)
        with meter.follow_file(30):
            pass  # it is here already
        with meter.follow_file(100) as move:
            received, written = make_bar(move)(total=100, initial=40), make_bar(move)(total=100)
            received.update(20)
            received.update(-60)
            written.update(30)
            received.update(70)
            received.update(70)  # more than the file has
        assert [report.done_bytes for report in reports] == [0, 30, 70, 90, 100, 130]
        assert {report.total_bytes for report in reports} == {130}
