"""Every setting: its name, its default and what it means."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

from dropscribe.settings.paths import DEFAULT_INBOX

BACKENDS = ("mlx", "faster-whisper", "whisperx")
"""Every engine, in the order in which `auto` falls back. `backends.choice` chooses among those
installed."""

FORMATS = (
    "txt",
    "times.txt",
    "lines.txt",
    "md",
    "html",
    "srt",
    "vtt",
    "ass",
    "lrc",
    "csv",
    "tsv",
    "whisperx.json",
    "cpp.json",
    "podcast.json",
    "TextGrid",
    "eaf",
    "rttm",
    "docx",
    "json",
)
"""The names of the formats, which `formats.render` writes: a test holds the two together.

They are here because the settings are below the formats, which need more than the standard
library.
"""

_CODES = (
    "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy "
    "id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru "
    "sa sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo zh yue"
)
LANGUAGES = frozenset(_CODES.split())
"""The languages of Whisper's tokenizer."""


class Table(dict[str, str]):
    """A table of text. It is not changed once it is read, so it can be a default and part of
    frozen settings.
    """

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self.items()))


def _describe_setting(
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
    """Describe a setting.

    Args:
        default: Its default, which also gives its type.
        text: What it means, for people.
        choices: The values that are allowed; none: any.
        least: The smallest number that is allowed.
        most: The largest number that is allowed.
        words: What may be written for some numbers, also for such as are out of bounds.
        key: Its name in the settings file, where that is not the field's.
        command: Whether it is a program with arguments.
    """
    metadata: dict[str, Any] = {"text": text, "choices": choices, "least": least, "key": key, "command": command}
    metadata |= {"most": most, "words": words or {}}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, checked. Folders are absolute."""

    inbox: Path = _describe_setting(
        DEFAULT_INBOX,
        "Recordings are dropped here. The default is made where it is missing; one that is set is waited for: its\n"
        "volume may not be mounted.",
    )
    outbox: Path = _describe_setting(
        Path("~/Dropscribe/Outbox"),
        "Transcripts appear here, in the inbox's subfolders. If it is inside the inbox it is not watched.",
    )
    permissions: str = _describe_setting(
        "folder",
        "Who may read the outputs. `folder`: whoever may read the folder they are in, and change them who may\n"
        "write there; `private`: you alone. An outbox that is made for you is yours alone at first.",
        choices=("folder", "private"),
    )
    names: str = _describe_setting(
        "{stem}",
        "How outputs are called, before the suffix: {stem} is the recording's name without its suffix, {name} the\n"
        'whole name, {language} the code of the language. Media servers read "{stem}.{language}".',
    )
    recursive: bool = _describe_setting(default=True, text="Look into subfolders of the inbox.")
    formats: tuple[str, ...] = _describe_setting(
        ("json", "txt", "srt", "vtt"),
        "Files written for each recording. `json` holds everything and is always written.",
        choices=FORMATS,
    )
    backend: str = _describe_setting(
        "auto",
        "The engine. `auto`: mlx on Apple Silicon, else faster-whisper;\n"
        "if those fail, whisperx where it is installed.",
        choices=("auto", *BACKENDS),
    )
    model: str = _describe_setting(
        "auto",
        "A Whisper model: a name (tiny, base, small, medium, large-v3, large-v3-turbo, distil-large-v3, *.en),\n"
        "a hub repository (owner/name, or owner/name@revision), or a folder. `auto`: large-v3-turbo for mlx,\n"
        "small for faster-whisper and whisperx.",
    )
    language: str = _describe_setting(
        "auto", "Spoken language as an ISO code (en, de, ja, …), or `auto` to detect it."
    )
    languages: tuple[str, ...] = _describe_setting(
        (), 'The languages that can occur, where `language` is `auto`: ["en", "de"]. None: any.'
    )
    mixed_languages: str = _describe_setting(
        "auto",
        "Where `language` is `auto`: `never` one language for a recording, `always` one for each stretch of speech,\n"
        "`auto` the latter where samples from all over the recording clearly disagree.",
        choices=("auto", "always", "never"),
    )
    task: str = _describe_setting(
        "transcribe",
        "`transcribe`, or `translate` into English (not with *.en and turbo models).",
        choices=("transcribe", "translate"),
    )
    prompt: str = _describe_setting(
        "", "Words the model should know: names, terms, spellings. It comes before every window."
    )
    glossary: tuple[str, ...] = _describe_setting(
        (),
        'Terms the model should know: ["Aalto", "Kubernetes"]. They come before the prompt; of both together\n'
        "Whisper heeds the last hundred words or so.",
    )
    replacements: Table = _describe_setting(
        Table(),
        'Words to be written otherwise: {"drop scribe" = "Dropscribe"}. Whole words, in any case of letters; done\n'
        'in the finished transcript. "" deletes; "\\n" and "\\n\\n" begin a line and a paragraph.',
    )
    fillers: str = _describe_setting(
        "keep",
        "Sounds of hesitation in the language that is spoken, such as um and uh: `keep`, or `drop` them with their\n"
        "commas. Whisper writes few of them by itself.",
        choices=("keep", "drop"),
    )
    subtitle_columns: int = _describe_setting(
        0,
        "Columns of a line of subtitles: a letter is one, a full-width sign two. auto: 42, fewer in some languages.",
        least=8,
        most=120,
        words={"auto": 0},
    )
    subtitle_lines: int = _describe_setting(
        0, "Lines of a subtitle at most. auto: 2.", least=1, most=4, words={"auto": 0}
    )
    subtitle_seconds: float = _describe_setting(
        0.0, "How long a subtitle is shown at most. auto: 7.", least=1.5, most=20, words={"auto": 0}
    )
    subtitle_words: int = _describe_setting(
        0,
        "Words of a subtitle at most, for short ones on vertical video. auto: as many as fit.",
        least=1,
        most=50,
        words={"auto": 0},
    )
    numbers: str = _describe_setting(
        "as said",
        "How numbers are written in the finished transcript: `as said`, as the model wrote them, or `digits`: in\n"
        "figures, where that is known (en, fr, es, pt, de, nl, da, it).",
        choices=("as said", "digits"),
    )
    channels: tuple[str, ...] = _describe_setting(
        (),
        'Who speaks on which channel of a recording with one speaker a channel: ["Host", "Guest"]. Two names or\n'
        'more say that recordings are made so; "" leaves a channel without a name.',
    )
    split_channels: str = _describe_setting(
        "auto",
        "Transcribe each channel by itself, as its own speaker: `always`, `never`, or `auto` where that is set by\n"
        "`channels` or detected in the recording.",
        choices=("auto", "always", "never"),
    )
    speakers: tuple[str, ...] = _describe_setting(
        (),
        'Who speaks, told by the voice: "off", "auto" for however many there are, a number, or names in the order\n'
        'in which they first speak: ["Anna", "Ben"]. One voice alone gets no name. The networks for it are fetched\n'
        "once with `dropscribe models pull speakers`.",
    )
    together: bool = _describe_setting(
        default=False,
        text="The recordings of a folder are one conversation with a file for each speaker, all begun at the same\n"
        "moment, as Craig, Zoom and Zencastr write them: one transcript, speakers called by the files. Meant for\n"
        "profiles of folders.",
    )
    srt_speakers: bool = _describe_setting(
        default=True,
        text="Begin the words of another speaker with the name in .srt: `Anna: `. Off: names are in other formats.",
    )
    audio_track: int = _describe_setting(
        0,
        "Which sound track of a film or a recording with several: 1 for the first. 0 or auto: one in the language\n"
        "that is set, no commentary, else the one that the file itself names first.",
        least=0,
        words={"auto": 0},
    )
    speech_threshold: float = _describe_setting(
        0.5,
        "How sure the detection of speech must be, from 0.05 to 0.95: lower for whispering or speech in much\n"
        "noise, higher where noise becomes words. off: all of the recording is transcribed, for singing.",
        least=0.05,
        most=0.95,
        words={"off": 0.0},
    )
    pack: bool = _describe_setting(
        default=True,
        text="Short recordings that wait in the queue are transcribed together, several in one window: many times\n"
        "as fast. What is written of one may, within limits, depend on its neighbours. Off: each on its own.",
    )
    suffixes: tuple[str, ...] = _describe_setting(
        (),
        'More suffixes of recordings, and known ones that are to be passed over: ["+.dat", "-.mp4"].\n'
        "What has no suffix is taken when its first bytes are those of a recording.",
    )
    priority: int = _describe_setting(
        0,
        "The turn in the queue: a recording of a higher number is taken first, those of the same number in the\n"
        "order in which they came. Also `low` (-10), `normal` (0), `high` (10). Meant for profiles.",
        least=-1000,
        most=1000,
        words={"low": -10, "normal": 0, "high": 10},
    )
    settle_seconds: float = _describe_setting(
        2.0, "A file counts as finished when its size and time have not changed for so long.", least=0
    )
    incomplete_minutes: float = _describe_setting(
        1.5,
        "A file that is shorter than its own header says is waited for so long after its last change, then taken as\n"
        "it is. 0: not at all.",
        least=0,
    )
    scan_seconds: float = _describe_setting(
        60.0, "The whole inbox is looked through this often; events only make it quicker.", least=1
    )
    observer: str = _describe_setting(
        "auto",
        "`native`: the system's file events. `polling`: a look every five seconds, less often where it costs more,\n"
        "but every `scan_seconds`; for network folders, which send none. `auto`: polling on network\n"
        "file systems, else native.",
        choices=("auto", "native", "polling"),
    )
    idle_minutes: float = _describe_setting(
        10.0,
        "After so long without work the model's process ends and gives its memory back. 0: never.",
        least=0,
    )
    stall_minutes: float = _describe_setting(
        20.0,
        "An engine that shows no progress for so long is replaced and the recording tried again. 0: never.",
        least=0,
    )
    max_hours: float = _describe_setting(24.0, "A longer recording is refused, not begun. 0: no limit.", least=0)
    max_gigabytes: float = _describe_setting(50.0, "A larger file is refused, not begun. 0: no limit.", least=0)
    memory_gigabytes: float = _describe_setting(
        16.0, "A model's process that has grown beyond this is replaced before the next recording. 0: never.", least=0
    )
    batch: int = _describe_setting(
        0,
        "Windows of up to 30 s that are decoded at once. More are faster on a GPU and take more memory. 0: as many\n"
        "as suit the device and its memory: up to 32 on a GPU, 16 on a CPU.",
        least=0,
    )
    threads: int = _describe_setting(
        0,
        "Processor threads for a model that runs on the CPU; mlx has no such setting. 0: faster-whisper takes one\n"
        "for each processor, up to 8, whisperx what its library takes by itself.",
        least=0,
    )
    on_done: tuple[str, ...] = _describe_setting(
        (),
        "A command for each recording that is done, as a list: a program and its arguments. The paths of the\n"
        "recording and of every output come behind them; facts as variables DROPSCRIBE_FACT_… and as JSON on its\n"
        "standard input. No shell. A text is split as a shell would split it.",
        command=True,
    )
    on_failed: tuple[str, ...] = _describe_setting(
        (),
        "The same for each recording that failed, with the paths of the recording and of the record of its failure.",
        command=True,
    )
    webhook: str = _describe_setting(
        "",
        "An address (https://…) to which the same JSON is sent for each recording that is done or failed. It holds\n"
        "names and facts, not what was said. Besides fetching models, this alone opens a connection.",
    )
    hook_seconds: float = _describe_setting(
        60.0, "A hook that takes longer is ended and counts as failed.", least=0.1
    )
    hook_tries: int = _describe_setting(
        5, "How often a hook that fails is tried, with longer and longer pauses.", least=1
    )
    notify: str = _describe_setting(
        "none",
        "Notifications on the desktop, by name and never with what was said: `failed` for recordings that failed,\n"
        "`all` also for those that are done, several at once where many end together; `none`.",
        choices=("none", "failed", "all"),
    )
    after: str = _describe_setting(
        "keep",
        "What becomes of a recording when every output is on the disk and its hooks have run. `keep`: it stays.\n"
        "`archive`: it is moved into the folder `archive`. `trash`: into the system's trash. `delete`: it is gone\n"
        "for good. A recording that failed always stays.",
        choices=("keep", "archive", "trash", "delete"),
    )
    after_minutes: float = _describe_setting(
        1.5, "No recording leaves the inbox before so long after its last change, or while it is open.", least=0
    )
    archive: Path = _describe_setting(
        Path(),
        "Where `after = archive` moves recordings, in the inbox's subfolders. Default: Archive next to the inbox.",
    )
    state: Path = _describe_setting(
        Path(), "Journal and work files. Default: where the system keeps application state."
    )
    logs: Path = _describe_setting(Path(), "Log files. Default: where the system keeps logs.")
    log_megabytes: float = _describe_setting(10.0, "A log file of this size is rotated.", least=0.01)
    log_files: int = _describe_setting(5, "Rotated log files that are kept.", least=0)
    whisperx_python: str = _describe_setting(
        "",
        "The Python interpreter of an environment that has WhisperX.\n"
        "Default: the one that `dropscribe backends install whisperx` made, where it did.",
        key="backends.whisperx.python",
    )
    whisperx_aligner: str = _describe_setting(
        "auto",
        "What finds the times of WhisperX's words: a wav2vec2 model, as a hub repository or a folder.\n"
        "`auto`: WhisperX's own for the language where it is on this machine, else the times are estimated.",
        key="backends.whisperx.aligner",
    )
    whisperx_diarizer: str = _describe_setting(
        "",
        "What tells speakers apart, with WhisperX: a pyannote pipeline on this machine, as a hub repository\n"
        "(pyannote/speaker-diarization-community-1) or a folder. Default: nothing.",
        key="backends.whisperx.diarizer",
    )


FIELDS = {f.name: f for f in dataclasses.fields(Settings)}
KEYS = {item.metadata["key"] or name: name for name, item in FIELDS.items()}
"""The name of each setting in the settings file, and that of its field."""
