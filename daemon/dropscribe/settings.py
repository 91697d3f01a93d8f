"""Every setting: its name, default, meaning, and where its value came from.

Guarantees: `load` returns a checked, immutable `Settings` or raises one UsageError that names the key, where it
stands and what to write instead. A later layer wins: defaults, the TOML file, `DROPSCRIBE_…` variables, flags.
`config/default.toml` is what `default_toml()` gives.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import os
import re
import shlex
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dropscribe.backends import NAMES as BACKENDS
from dropscribe.errors import UsageError
from dropscribe.formats import RENDERERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PREFIX = "DROPSCRIBE_"
RESERVED = frozenset({"CONFIG", "MODELS", "TEST_MODELS", "TEST_WHISPERX", "CRASH"})
"""Variables with our prefix that are no settings: the settings file, folders of models, an
interpreter that the tests use, and `crash.VARIABLE`."""
FACT = "FACT_"
"""After our prefix, what a hook is told (`hooks.variables`): no setting, so that a hook may call this program."""

_CODES = (
    "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy "
    "id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru "
    "sa sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo zh yue"
)
LANGUAGES = frozenset(_CODES.split())
"""The languages of Whisper's tokenizer."""


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or Path.home())


def _state_home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_STATE_HOME") or _home(environ) / ".local/state")


def _default_state(environ: Mapping[str, str]) -> Path:
    if sys.platform == "darwin":
        return _home(environ) / "Library/Application Support/dropscribe"
    return _state_home(environ) / "dropscribe"


def _default_logs(environ: Mapping[str, str]) -> Path:
    if sys.platform == "darwin":
        return _home(environ) / "Library/Logs/dropscribe"
    return _state_home(environ) / "dropscribe/logs"


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the settings file is or would be: `DROPSCRIBE_CONFIG`, else the XDG config folder."""
    if named := environ.get(PREFIX + "CONFIG"):
        return _expanded(Path(named))
    return Path(environ.get("XDG_CONFIG_HOME") or _home(environ) / ".config") / "dropscribe/config.toml"


class Table(dict[str, str]):
    """A table of text. Nobody changes it once it is read, so it can be a default and part of frozen settings."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self.items()))


def _setting(
    default: Any,
    text: str,
    *,
    choices: tuple[str, ...] = (),
    least: float | None = None,
    most: float = math.inf,
    words: Mapping[str, float] | None = None,
    key: str = "",
    command: bool = False,
) -> Any:
    """Describe a setting; `key` is its name in the file where that is not the field's, `command` makes it one.

    `words` may be written for some numbers, also for such as are below `least`.
    """
    metadata: dict[str, Any] = {"text": text, "choices": choices, "least": least, "key": key, "command": command}
    metadata |= {"most": most, "words": words or {}}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, checked. Folders are absolute."""

    inbox: Path = _setting(Path("~/Dropscribe/Inbox"), "Recordings are dropped here.")
    outbox: Path = _setting(
        Path("~/Dropscribe/Outbox"),
        "Transcripts appear here, in the inbox's subfolders. If it lies inside the inbox it is not watched.",
    )
    recursive: bool = _setting(default=True, text="Look into subfolders of the inbox.")
    formats: tuple[str, ...] = _setting(
        ("json", "txt", "srt", "vtt"),
        "Files written for each recording. `json` holds everything and is always written.",
        choices=tuple(RENDERERS),
    )
    backend: str = _setting(
        "auto",
        "The engine. `auto`: mlx on Apple Silicon, else faster-whisper;\n"
        "if those fail, whisperx where it is installed.",
        choices=("auto", *BACKENDS),
    )
    model: str = _setting(
        "auto",
        "A Whisper model: a name (tiny, base, small, medium, large-v3, large-v3-turbo, distil-large-v3, *.en),\n"
        "a hub repository (owner/name, or owner/name@revision), or a folder. `auto`: large-v3-turbo for mlx,\n"
        "small for faster-whisper and whisperx.",
    )
    language: str = _setting("auto", "Spoken language as an ISO code (en, de, ja, …), or `auto` to detect it.")
    languages: tuple[str, ...] = _setting(
        (), 'The languages that can occur, where `language` is `auto`: ["en", "de"]. None: any.'
    )
    mixed_languages: str = _setting(
        "auto",
        "Where `language` is `auto`: `never` one language for a recording, `always` one for each stretch of speech,\n"
        "`auto` the latter where samples from all over the recording clearly disagree.",
        choices=("auto", "always", "never"),
    )
    task: str = _setting(
        "transcribe",
        "`transcribe`, or `translate` into English (not with *.en and turbo models).",
        choices=("transcribe", "translate"),
    )
    prompt: str = _setting("", "Words the model should know: names, terms, spellings. It comes before every window.")
    glossary: tuple[str, ...] = _setting(
        (),
        'Terms the model should know: ["Aalto", "Kubernetes"]. They come before the prompt; of both together\n'
        "Whisper heeds the last hundred words or so.",
    )
    replacements: Table = _setting(
        Table(),
        'Words to be written otherwise: {"drop scribe" = "Dropscribe"}. Whole words, in any case of letters; done\n'
        "in the finished transcript.",
    )
    channels: tuple[str, ...] = _setting(
        (),
        'Who speaks on which channel of a recording with one speaker a channel: ["Host", "Guest"]. Two names or\n'
        'more say that recordings are made so; "" leaves a channel without a name.',
    )
    split_channels: str = _setting(
        "auto",
        "Transcribe each channel by itself, as its own speaker: `always`, `never`, or `auto` where that is set by\n"
        "`channels` or heard from the recording.",
        choices=("auto", "always", "never"),
    )
    audio_track: int = _setting(
        0,
        "Which sound track of a film or a recording with several: 1 for the first. 0 or auto: one in the language\n"
        "that is set, no commentary, else the one that the file itself names first.",
        least=0,
        words={"auto": 0},
    )
    speech_threshold: float = _setting(
        0.5,
        "How sure the detection of speech must be, from 0.05 to 0.95: lower for whispering or speech in much\n"
        "noise, higher where noise becomes words. off: all of the recording is transcribed, for singing.",
        least=0.05,
        most=0.95,
        words={"off": 0.0},
    )
    pack: bool = _setting(
        default=True,
        text="Short recordings that wait in the queue are transcribed together, several in one window: many times\n"
        "as fast. What is written of one may, within limits, depend on its neighbours. Off: each on its own.",
    )
    settle_seconds: float = _setting(
        2.0, "A file counts as finished when its size and time have not changed for so long.", least=0
    )
    scan_seconds: float = _setting(
        60.0, "The whole inbox is looked through this often; events only make it quicker.", least=1
    )
    observer: str = _setting(
        "auto",
        "`native`: the system's file events. `polling`: a look every few seconds, for network folders, which send\n"
        "none. `auto`: polling on network file systems, else native.",
        choices=("auto", "native", "polling"),
    )
    idle_minutes: float = _setting(
        10.0,
        "After so long without work the model's process ends and gives its memory back. 0: never.",
        least=0,
    )
    stall_minutes: float = _setting(
        20.0,
        "An engine that shows no progress for so long is replaced and the recording tried again. 0: never.",
        least=0,
    )
    max_hours: float = _setting(24.0, "A longer recording is refused, not begun. 0: no limit.", least=0)
    max_gigabytes: float = _setting(50.0, "A larger file is refused, not begun. 0: no limit.", least=0)
    memory_gigabytes: float = _setting(
        16.0, "A model's process that has grown beyond this is replaced before the next recording. 0: never.", least=0
    )
    batch: int = _setting(
        0,
        "Windows of up to 30 s that are decoded at once. More are faster on a GPU and take more memory. 0: as many\n"
        "as suit the device and its memory: up to 32 on a GPU, 16 on a CPU.",
        least=0,
    )
    threads: int = _setting(
        0,
        "Processor threads for a model that runs on the CPU; mlx has no such setting. 0: faster-whisper takes one\n"
        "for each processor, up to 8, whisperx what its library takes by itself.",
        least=0,
    )
    on_done: tuple[str, ...] = _setting(
        (),
        "A command for each recording that is done, as a list: a program and its arguments. The paths of the\n"
        "recording and of every output come behind them; facts as variables DROPSCRIBE_FACT_… and as JSON on its\n"
        "standard input. No shell. A text is split as a shell would split it.",
        command=True,
    )
    on_failed: tuple[str, ...] = _setting(
        (),
        "The same for each recording that failed, with the paths of the recording and of the record of its failure.",
        command=True,
    )
    webhook: str = _setting(
        "",
        "An address (https://…) to which the same JSON is sent for each recording that is done or failed. It holds\n"
        "names and facts, not what was said. Besides fetching models, this alone opens a connection.",
    )
    hook_seconds: float = _setting(60.0, "A hook that takes longer is ended and counts as failed.", least=0.1)
    hook_tries: int = _setting(5, "How often a hook that fails is tried, with longer and longer pauses.", least=1)
    after: str = _setting(
        "keep",
        "What becomes of a recording when every output is on the disk and its hooks have run. `keep`: it stays.\n"
        "`archive`: it is moved into the folder `archive`. `trash`: into the system's trash. `delete`: it is gone\n"
        "for good. A recording that failed always stays.",
        choices=("keep", "archive", "trash", "delete"),
    )
    archive: Path = _setting(
        Path(),
        "Where `after = archive` moves recordings, in the inbox's subfolders. Default: Archive beside the inbox.",
    )
    state: Path = _setting(Path(), "Journal and work files. Default: where the system keeps application state.")
    logs: Path = _setting(Path(), "Log files. Default: where the system keeps logs.")
    log_megabytes: float = _setting(10.0, "A log file of this size is rotated.", least=0.01)
    log_files: int = _setting(5, "Rotated log files that are kept.", least=0)
    whisperx_python: str = _setting(
        "",
        "The Python interpreter of an environment that has WhisperX.\n"
        "Default: the one that `dropscribe backends install whisperx` made, where it did.",
        key="backends.whisperx.python",
    )
    whisperx_aligner: str = _setting(
        "auto",
        "What finds the times of WhisperX's words: a wav2vec2 model, as a hub repository or a folder.\n"
        "`auto`: WhisperX's own for the language where it is on this machine, else the times are estimated.",
        key="backends.whisperx.aligner",
    )
    whisperx_diarizer: str = _setting(
        "",
        "What tells speakers apart, with WhisperX: a pyannote pipeline on this machine, as a hub repository\n"
        "(pyannote/speaker-diarization-community-1) or a folder. Default: nothing.",
        key="backends.whisperx.diarizer",
    )


FIELDS = {f.name: f for f in dataclasses.fields(Settings)}
KEYS = {item.metadata["key"] or name: name for name, item in FIELDS.items()}
"""How a setting is called in the settings file, and what its field is called."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings and where each value came from (`default`, the file, a variable, a flag)."""

    settings: Settings
    origin: dict[str, str]


def load(flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] = os.environ) -> Loaded:
    """Merge all layers. `flags` holds what the command line gave, None meaning not given.

    Raises: UsageError naming the key and its place.
    """
    values: dict[str, Any] = {}
    origin = dict.fromkeys(FIELDS, "default")
    path = config_path(environ)
    for key, value in _flat(_read(path, named=PREFIX + "CONFIG" in environ)):
        if key not in KEYS:
            raise UsageError(f"{path}: there is no setting `{key}`.", nearest(key, tuple(KEYS)))
        values[KEYS[key]] = parsed(KEYS[key], value, str(path))
        origin[KEYS[key]] = str(path)
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or (key := variable.removeprefix(PREFIX)) in RESERVED:
            continue
        if key.startswith(FACT):
            continue
        values[key.lower()] = parsed(key.lower(), text, variable)
        origin[key.lower()] = variable
    for key, value in (flags or {}).items():
        if value is not None:
            values[key] = parsed(key, value, f"--{key.replace('_', '-')}")
            origin[key] = f"--{key.replace('_', '-')}"
    values.setdefault("state", _default_state(environ))
    values.setdefault("logs", _default_logs(environ))
    inbox = _absolute(values.get("inbox", FIELDS["inbox"].default), environ)
    values.setdefault("archive", inbox.parent / "Archive")
    settings = Settings(**values)
    for name in ("inbox", "outbox", "archive", "state", "logs"):
        values[name] = _absolute(getattr(settings, name), environ)
    settings = Settings(**values)
    _check_folders(settings)
    _check_webhook(settings)
    check_language(settings)
    return Loaded(settings, origin)


def _read(path: Path, *, named: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        if named:
            msg = f"The settings file {path} named by {PREFIX}CONFIG does not exist."
            raise UsageError(msg) from None
        return {}
    except (ValueError, RecursionError) as error:  # broken TOML or UTF-8, a number of a thousand digits, a pit
        cure = 'Text stands in quotes: inbox = "~/Notes".'
        raise UsageError(f"{path} is not valid TOML: {error or 'nested too deeply'}.", cure) from None
    except OSError as error:
        raise UsageError(f"The settings file {path} cannot be read: {error.strerror}.") from None


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the settings with their dotted keys, out of the tables that are no settings themselves."""
    for key, value in values.items():
        if isinstance(value, dict) and prefix + key not in KEYS:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def parsed(key: str, value: Any, place: str) -> Any:
    """Return `value` as the setting's own type. Text from variables and flags is converted.

    Raises: UsageError naming the key, `place` and what to write instead.
    """
    if key not in FIELDS:
        raise UsageError(f"{place}: there is no setting `{key}`.", nearest(key, tuple(FIELDS)))
    default, meta = FIELDS[key].default, FIELDS[key].metadata
    wrong = UsageError(f"{place}: `{key}` is {_shown(value)}.", f"Write {_expected(key)}.")
    if meta["command"]:
        value = _command(value)
        if value is None:
            raise wrong
    elif isinstance(default, bool):
        if isinstance(value, str) and value.lower() in {"true", "1", "yes", "on", "false", "0", "no", "off"}:
            value = value.lower() in {"true", "1", "yes", "on"}
        if not isinstance(value, bool):
            raise wrong
    elif isinstance(default, (int, float)):
        kind = type(default)
        spelled = meta["words"].get(value.strip().lower()) if isinstance(value, str) else None
        try:
            number, exact = kind(value if spelled is None else spelled), float(value if spelled is None else spelled)
        except (TypeError, ValueError, OverflowError):
            raise wrong from None
        inside = spelled is not None or exact in meta["words"].values() or meta["least"] <= number <= meta["most"]
        if isinstance(value, bool) or not math.isfinite(exact) or not inside or exact != number:
            raise wrong
        value = number
    elif isinstance(default, tuple):
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)) or not all(isinstance(p, str) for p in parts):
            raise wrong
        names = tuple(" ".join(p.split()) for p in parts)
        if key == "channels":  # each name has its place, and one person may have two
            while names and not names[-1]:
                names = names[:-1]
        else:
            names = tuple(dict.fromkeys(filter(None, names)))
        allowed = LANGUAGES if key == "languages" else meta["choices"]
        if allowed and any(name not in allowed for name in names):
            raise wrong
        value = tuple(dict.fromkeys((*names, "json"))) if key == "formats" else names
    elif isinstance(default, Table):
        value = _table(value)
        if value is None:
            raise wrong
    elif isinstance(default, Path):
        if not isinstance(value, (str, Path)) or not str(value).strip() or "\0" in str(value):
            raise wrong
        value = Path(value)
    else:
        if not isinstance(value, str) or (meta["choices"] and value not in meta["choices"]):
            raise wrong
        value = value.strip()
    return value


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python writes out no number of thousands of digits
        return "a very long number"
    return text if len(text) <= 200 else text[:200] + " …"


def _command(value: Any) -> tuple[str, ...] | None:
    """Return a command as a list of text, or None when it is none."""
    try:
        parts = shlex.split(value) if isinstance(value, str) else value
    except ValueError:  # a quotation mark that is not closed
        return None
    if not isinstance(parts, (list, tuple)) or not all(isinstance(p, str) and "\0" not in p for p in parts):
        return None
    return tuple(parts) if not parts or parts[0].strip() else None


def nearest(key: str, names: Sequence[str]) -> str:
    """Return what to write instead of a key that is none of `names`."""
    near = difflib.get_close_matches(key, names, n=1)
    if near:
        return f"Did you mean `{near[0]}`?"
    every = len(names) == len(FIELDS)
    return "`dropscribe config show` lists every setting." if every else f"It may be one of: {', '.join(names)}."


def _table(value: Any) -> Table | None:
    """Return a table of text without needless space, or None. The text form is `wrong=right, wrong=right`."""
    if isinstance(value, str):
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        value = {wrong: right for wrong, _, right in pairs}
    if not isinstance(value, dict) or not all(isinstance(part, str) for pair in value.items() for part in pair):
        return None
    found = Table((" ".join(key.split()), " ".join(item.split())) for key, item in value.items())
    keys = {key.casefold() for key in found}
    return found if len(keys) == len(value) and all(keys) and all(found.values()) else None


def _expected(key: str) -> str:
    default, meta = FIELDS[key].default, FIELDS[key].metadata
    if meta["command"]:
        return 'a command as a list: ["/path/of/program", "argument"]'
    if isinstance(default, bool):
        return "true or false"
    if isinstance(default, (int, float)):
        limits = (
            f"{meta['least']:g} or more" if meta["most"] == math.inf else f"{meta['least']:g} to {meta['most']:g}"
        )
        words = "".join(f', or "{word}"' for word in meta["words"])
        return f"a {'whole ' if isinstance(default, int) else ''}number, {limits}{words}"
    if isinstance(default, tuple):
        codes = "ISO codes such as en, de or ja" if key == "languages" else "text"
        return "a list of " + (", ".join(meta["choices"]) or codes)
    if isinstance(default, Table):
        return 'a table {"wrong" = "right"} of text; nothing may be empty or stand twice on the left'
    if isinstance(default, Path):
        return "the path of a folder"
    return "one of " + ", ".join(meta["choices"]) if meta["choices"] else "text"


def _absolute(path: Path, environ: Mapping[str, str]) -> Path:
    if path.parts[:1] == ("~",):
        path = _home(environ).joinpath(*path.parts[1:])
    return Path(os.path.abspath(_expanded(path)))  # noqa: PTH100 (resolve() would follow links)


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise UsageError(f"{path}: {path.parts[0]} is nobody on this machine.", "Write the whole path.") from None


def check_language(settings: Settings) -> None:
    """Refuse what Whisper would refuse an hour later, or worse, would do wrongly."""
    language, english = settings.language, settings.model.endswith(".en")
    if language != "auto" and language not in LANGUAGES:
        msg = f"Whisper knows no language `{language}`."
        raise UsageError(msg, "Write an ISO code such as en, de or ja, or auto.")
    others = language not in {"auto", "en"} or (settings.languages and "en" not in settings.languages)
    if english and (others or settings.task == "translate"):
        msg = f"The model {settings.model} knows English only."
        raise UsageError(msg, f"Take the model {settings.model.removesuffix('.en')} for other languages.")


def _check_webhook(settings: Settings) -> None:
    try:
        address = urlsplit(settings.webhook)
        fine = not settings.webhook or (
            address.scheme in {"https", "http"}
            and address.hostname
            and address.port != 0
            and address.username is None
            and re.fullmatch("[!-~]+", settings.webhook)
        )
    except ValueError:
        fine = False
    if not fine:  # it may hold a secret, which no message shows
        raise UsageError(
            "`webhook` is no address that can be used.",
            "Write https://example.org/dropscribe, without a name and password before the server's, "
            "spaces as %20, other letters percent-encoded too.",
        )


def _check_folders(settings: Settings) -> None:
    inbox, outbox, state = (Path(os.path.realpath(p)) for p in (settings.inbox, settings.outbox, settings.state))
    if inbox == outbox:
        msg = f"`inbox` and `outbox` are the same folder: {settings.inbox}."
        raise UsageError(msg, "Transcripts need a folder of their own.")
    if inbox.is_relative_to(outbox):
        msg = f"The inbox {settings.inbox} lies inside the outbox {settings.outbox}."
        raise UsageError(msg, "Put it beside the outbox, or the outbox inside the inbox.")
    if state.is_relative_to(inbox) or state.is_relative_to(outbox):
        msg = f"`state` ({settings.state}) lies inside the inbox or the outbox."
        raise UsageError(msg, "Give it a folder of its own.")
    archive = Path(os.path.realpath(settings.archive))
    if settings.after == "archive" and (archive.is_relative_to(inbox) or inbox.is_relative_to(archive)):
        msg = f"`archive` ({settings.archive}) and the inbox {settings.inbox} lie one inside the other."
        raise UsageError(msg, "Give the archive a folder of its own: what lies in the inbox is transcribed.")


def default_toml() -> str:
    """Return every setting with its meaning and default, as `config/default.toml`."""
    lines = [
        "# Every setting of Dropscribe with its default. Copy what you change to ~/.config/dropscribe/config.toml,"
    ]
    lines += [
        f"# or set {PREFIX}NAME in the environment, or give --name to a command. There `backends.whisperx.python`"
    ]
    lines += [f"# is called {PREFIX}WHISPERX_PYTHON and --whisperx-python.", ""]
    for key, name in KEYS.items():
        item = FIELDS[name]
        lines += [f"# {line}" for line in item.metadata["text"].splitlines()]
        if item.metadata["choices"]:
            some = "Any" if isinstance(item.default, tuple) else "One"
            lines.append(f"# {some} of: " + ", ".join(item.metadata["choices"]))
        unset = item.default == Path()
        lines += [f'# {key} = "…"' if unset else f"{key} = {to_toml(item.default)}", ""]
    return "\n".join(lines).rstrip() + "\n"


def to_toml(value: Any) -> str:
    """Return one setting's value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{to_toml(key)} = {to_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")  # what JSON escapes, TOML reads
