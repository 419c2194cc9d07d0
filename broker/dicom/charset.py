"""Character sets: reading queries, fitting answers to what a device can show.

Unicode inside, encoding at the edge. What a character set does not have is written with letters that it has; nothing
is dropped.
"""

from __future__ import annotations

import unicodedata

UTF_8, CYRILLIC = "ISO_IR 192", "ISO_IR 144"
PYTHON_CODECS = {UTF_8: "utf-8", CYRILLIC: "iso8859_5", "": "ascii"}

# Terms that devices invent (PS3.3 C.12.1.1.2 has the real ones), as they are meant.
BOGUS_TERMS = {
    "ISO IR 192": UTF_8,
    "ISO_IR_192": UTF_8,
    "ISO-IR 192": UTF_8,
    "UTF-8": UTF_8,
    "UTF8": UTF_8,
    "ISO IR 144": CYRILLIC,
    "ISO_IR_144": CYRILLIC,
    "ISO-IR 144": CYRILLIC,
    "ISO 8859-5": CYRILLIC,
    "ISO IR 100": "ISO_IR 100",
    "ISO_IR_100": "ISO_IR 100",
    "ISO_IR 6": "",
    "ISO IR 6": "",
    "ISO 2022 IR 6": "",
    "NOT SUPPLIED": "",
    "US-ASCII": "",
}
# Letters and marks that ISO_IR 144 lacks, in letters that it has.
_NEAREST = str.maketrans(
    {"«": '"', "»": '"', "“": '"', "”": '"', "„": '"', "’": "'", "‘": "'", "–": "-", "—": "-", "…": "...", "₽": "руб.",
     "Ә": "А", "ә": "а", "Ғ": "Г", "ғ": "г", "Қ": "К", "қ": "к", "Ң": "Н", "ң": "н", "Ө": "О", "ө": "о", "Ұ": "У",
     "ұ": "у", "Ү": "У", "ү": "у", "Һ": "Х", "һ": "х", "Җ": "Ж", "җ": "ж", "Ґ": "Г", "ґ": "г", "Ӯ": "У", "ӯ": "у"}
)  # fmt: skip


def meant(term: str) -> str:
    """Give the character set that a device means by a term; what is not known stays as it is."""
    return BOGUS_TERMS.get(term.strip().upper(), term.strip())


def for_answer(policy: str, asked: str) -> str:
    """Choose an answer's character set: the device's policy, else what its query was written in, else UTF-8."""
    if policy != "auto":
        return policy
    asked = meant(asked)
    return asked if asked in (UTF_8, CYRILLIC) else UTF_8


def fit(text: str, charset: str) -> str:
    """Write a text in letters that the character set has."""
    codec = PYTHON_CODECS[charset]
    text = unicodedata.normalize("NFC", text)
    try:
        text.encode(codec)
        return text
    except UnicodeEncodeError:
        return "".join(_fit_character(char, codec) for char in text)


def _fit_character(char: str, codec: str) -> str:
    if unicodedata.combining(char):  # a stress mark over a letter that stays
        return ""
    for candidate in (char, char.translate(_NEAREST), _without_marks(char)):
        try:
            candidate.encode(codec)
        except UnicodeEncodeError:
            continue
        if candidate:
            return candidate
    return "?"


def _without_marks(char: str) -> str:
    return "".join(part for part in unicodedata.normalize("NFKD", char) if not unicodedata.combining(part))
