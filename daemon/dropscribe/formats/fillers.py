"""Sounds of hesitation, by language: what the setting `fillers` leaves out.

Only sounds that mean nothing else in that language: `er` is one in English and a word in German
and Dutch, `eu` a word in French, `мм` millimetres; `mhm`, `eh` and Chinese 嗯 answer somebody. In
capitals they are abbreviations (`ER`, `EM`), which `replacements` leaves. A form may be lengthened
in writing: `ummm`.
"""

from __future__ import annotations

_FORMS = {
    "en": r"u+[hm]+|e+r+m+|er|h+m+",
    "de": r"ä+h+m*|ä+h*m+|ö+h+m*|ö+h*m+|e+h+m+|h+m+|u+h+m*",
    "nl": r"e+uh+m*|u+h+m*|e+h+m+|h+m+",
    "fr": r"e+u+h+|h+e+u+|h+u+m+|h+m+",
    "it": r"e+h+m+|u+h+m+",
    "es": r"e+h+m+|e+m{2,}|u+h+m+",
    "pt": r"h+u+m{2,}|u+h+m+|a+h+n+",
    "sv": r"ö+h+m*|ä+h+m*|e+h+m+",
    "da": r"ø+h+m*|e+h+m+",
    "no": r"ø+h+m*|e+h+m+",
    "nn": r"ø+h+m*|e+h+m+",
    "fi": r"ö{2,}h*|ö+h+m*|ä+h+m*",
    "pl": r"y{2,}|e{2,}|y+m+|h+m+",
    "cs": r"e{2,}|e+h+m+|h+m+",
    "ru": r"э+м*|э+(?:-э+)+|м{3,}",
    "uk": r"е{2,}|е+(?:-е+)+|м{3,}",  # noqa: RUF001 (Cyrillic)
    "hu": r"ö{2,}m*|ö+h?m+|h+m+",
    "tr": r"e{2,}|h+m+",
    "ja": r"え[ーえ]+っ?と?ー*|えっと[ーぉ]*|あのー+|う[ーう]+ん+|んー+",
    "zh": r"呃+(?!逆)",
    "yue": r"呃+(?!逆)",
    "ko": r"음+|으+음+",
}


def list_forms(language: str | None) -> str:
    """Return what matches a sound of hesitation in this language, as a regular expression; empty where none is
    known.
    """
    return _FORMS.get(language or "", "")
