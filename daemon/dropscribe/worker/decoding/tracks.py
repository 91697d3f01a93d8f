"""Which sound track of a file is transcribed, and how a person is told of it.

In order: the track that was asked for by its number; what can be decoded here; a track in the
language that is set; no commentary or description for the blind; what FFmpeg takes for the best
(the file's default, then the bit rate).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dropscribe.errors import RecordingFaultError
from dropscribe.transcript import Notice

if TYPE_CHECKING:
    from collections.abc import Sequence

_SECONDARY = ("comment", "visual_impaired", "descriptions", "karaoke", "clean_effects", "dependent", "lyrics")
"""FFmpeg's names for tracks that go with another one or are not what was said first."""
_SECONDARY_TITLE = re.compile(r"comment|kommentar|descri|beschreib|hörfilm|commento", re.IGNORECASE)

_ISO_639 = (
    "af afr,am amh,ar ara arb,as asm,az aze azj,ba bak,be bel,bg bul,bn ben,bo bod tib,br bre,bs bos,ca cat,"
    "cs ces cze,cy cym wel,da dan,de deu ger,el ell gre,en eng,es spa,et est ekk,eu eus baq,fa fas per pes,"
    "fi fin,fo fao,fr fra fre,gl glg,gu guj,ha hau,haw haw,he heb iw,hi hin,hr hrv scr,ht hat,hu hun,"
    "hy hye arm,id ind in,is isl ice,it ita,ja jpn,jw jav jv,ka kat geo,kk kaz,km khm,kn kan,ko kor,la lat,"
    "lb ltz,ln lin,lo lao,lt lit,lv lav lvs,mg mlg plt,mi mri mao,mk mkd mac,ml mal,mn mon khk,mr mar,"
    "ms msa may zsm,mt mlt,my mya bur,ne nep npi,nl nld dut,nn nno,no nor nb nob,oc oci,pa pan,pl pol,ps pus,"
    "pt por,ro ron rum mo mol,ru rus,sa san,sd snd,si sin,sk slk slo,sl slv,sn sna,so som,sq sqi alb,"
    "sr srp scc,su sun,sv swe,sw swa swh,ta tam,te tel,tg tgk,th tha,tk tuk,tl tgl fil,tr tur,tt tat,uk ukr,"
    "ur urd,uz uzb uzn,vi vie,yi yid ji,yo yor,zh zho chi cmn,yue yue"
)
"""Whisper's code of each language, and the codes of ISO 639 under which it is tagged: two letters,
three in both forms of 639-2, and the commonest of 639-3."""
_CODES = {tag: entry.split()[0] for entry in _ISO_639.split(",") for tag in entry.split()}


def normalise_language(tag: str | None) -> str | None:
    """Return Whisper's code of the language of a tag: `fre`, `fr`, `fr-CA`; None where there is
    none.
    """
    first = re.split(r"[-_]", (tag or "").strip().lower())[0]
    return _CODES.get(first)


def list_set_languages(language: str, languages: Sequence[str]) -> tuple[str, ...]:
    """Return Whisper's codes of what may be spoken by the settings `language` and `languages`;
    none for any.
    """
    return tuple(languages) if language == "auto" else (language,)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asked for."""

    track: int = 0
    """The number of the track, from 1; 0 to choose."""
    languages: tuple[str, ...] = ()
    """Whisper's codes of what may be spoken."""


@dataclass(frozen=True, slots=True)
class Tracks:
    """The sound tracks of a file, those that may be tried first."""

    streams: tuple[Any, ...]
    """All of them, in the order of the file."""
    order: tuple[Any, ...]
    """Those that can be decoded, the one to take first."""
    why: str
    """Why that one."""

    def number(self, stream: Any) -> int:
        """Return the number of a track, from 1."""
        return 1 + next(i for i, each in enumerate(self.streams) if each.index == stream.index)

    def notice(self, taken: Any) -> Notice | None:
        """Return what to say of the choice; None where there was none."""
        if len(self.streams) < 2:
            return None
        others = "; ".join(self.describe(each) for each in self.streams if each.index != taken.index)
        why = self.why if taken.index == self.order[0].index else "because no other one could be decoded"
        detail = (
            f"The file holds {len(self.streams)} sound tracks; {self.describe(taken)} was transcribed, {why}. "
            f"The others: {others}. Choose one with `audio_track = NUMBER` in a profile beside the recording or in "
            "the settings."
        )
        return Notice("other-audio-streams", 0.0, 0.0, detail)

    def describe(self, stream: Any) -> str:
        """Return a track's number, language and title."""
        facts = [stream.metadata.get("language"), _quoted(_title(stream))]
        if is_secondary(stream):
            facts.append("a commentary or description")
        if stream.codec_context is None:
            facts.append("in a format that cannot be read here")
        else:
            facts.append(str(stream.codec_context.name))
        return f"number {self.number(stream)} ({', '.join(fact for fact in facts if fact)})"


def choose(container: Any, wish: Wish) -> Tracks:
    """Return the sound tracks of a container, of which there is at least one that can be decoded.

    Raises: RecordingFaultError `no-such-track` for a number that is not there; `no-decoder` where
    that track, or any, cannot be decoded: its message does not name the format yet.
    """
    streams = tuple(container.streams.audio)
    decodable = [stream for stream in streams if stream.codec_context is not None]
    tracks = Tracks(streams, (), "")
    if wish.track:
        if wish.track > len(streams):
            listed = "; ".join(tracks.describe(stream) for stream in streams)
            count = "one sound track" if len(streams) == 1 else f"{len(streams)} sound tracks"
            raise RecordingFaultError(
                "no-such-track",
                f"`audio_track` is {wish.track}, but the file holds {count}: {listed}.",
                "Set `audio_track` to one of them, or to 0 to have it chosen.",
            )
        asked = streams[wish.track - 1]
        if asked.codec_context is None:
            raise RecordingFaultError("no-decoder", "")
        return Tracks(streams, (asked,), "because `audio_track` says so")
    if not decodable:
        raise RecordingFaultError("no-decoder", "")
    best = container.streams.best("audio")
    wanted = {code: len(wish.languages) - place for place, code in enumerate(wish.languages)}

    def preference(stream: Any) -> tuple[float, ...]:
        language = normalise_language(stream.metadata.get("language"))
        spoken = wanted.get(language or "", 0)
        return (
            spoken > 0,
            not is_secondary(stream),
            not wanted or language is None,  # rather one that may be in the language than one that is not
            bool(int(stream.disposition) & 1),
            spoken,
            best is not None and stream.index == best.index,
            stream.codec_context.bit_rate or 0,
            -stream.index,
        )

    order = tuple(sorted(decodable, key=preference, reverse=True))
    return Tracks(streams, order, _reason(order, streams, wanted))


def _reason(order: Sequence[Any], streams: Sequence[Any], wanted: dict[str, int]) -> str:
    first = order[0]
    if len(order) == 1 and len(streams) > 1:
        return "because no other one can be read here"
    if normalise_language(first.metadata.get("language")) in wanted:
        return "because it is in the language that is set"
    why = "because "
    if wanted:
        why += "none is tagged with the language that is set, and "
    if int(first.disposition) & 1:
        return why + "the file names it the default"
    return why + "it is the first of those that are alike"


def is_secondary(stream: Any) -> bool:
    """Whether a track is a commentary, a description for the blind, or the like."""
    names = {flag.name for flag in type(stream.disposition) if flag.value and flag in stream.disposition}
    return not names.isdisjoint(_SECONDARY) or bool(_SECONDARY_TITLE.search(_title(stream)))


def _title(stream: Any) -> str:
    title = stream.metadata.get("title") or stream.metadata.get("name") or stream.metadata.get("handler_name") or ""
    return "" if title in {"SoundHandler", "Core Media Audio", "Sound Media Handler", "\x10SoundHandler"} else title


def _quoted(title: str) -> str:
    return f"“{title[:60]}”" if title else ""
