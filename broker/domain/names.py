"""Person names: how they are written in DICOM, folded for comparison, and shortened for a device.

Folding is done here because UPPER, LIKE and NOCASE of SQLite know ASCII only. Folded names are for comparison; stored
names are not folded.
"""

from __future__ import annotations

import re
import unicodedata

from broker.domain.people import PersonName

_BLANKS = re.compile(r"\s+")
_WORD = re.compile(r"[^\W\d_]+")
_CYRILLIC, _LATIN = re.compile(r"[\u0400-\u052f]"), re.compile(r"[a-z]")
NAME_LENGTH = 64  # characters in one component group, PS3.5 6.2 (PN)

# Latin letters that look like Cyrillic ones, after folding: typed with the wrong keyboard layout, or written by a
# program that "repaired" a name (pydicom's chrRuss.dcm spells "Люкceмбypг" with four of them).
HOMOGLYPHS = str.maketrans("abcehikmoptxyë", "авсенікмортхуё")


def fold(text: str) -> str:
    """Return a text in the form in which names are compared.

    NFC, case folded, ё as е, single blanks, Latin look-alikes in Cyrillic words as Cyrillic letters.
    """
    return in_one_alphabet(text).replace("ё", "е")


def in_one_alphabet(text: str) -> str:
    """Return a text folded as by `fold`, but with ё, which has its own transliteration."""
    folded = unicodedata.normalize("NFC", text).casefold()
    if not folded.isascii() and _LATIN.search(folded):
        folded = _WORD.sub(_one_alphabet, folded)
    return _BLANKS.sub(" ", folded).strip()


def is_cyrillic(text: str) -> bool:
    """Return True if a text has a Cyrillic letter."""
    return bool(_CYRILLIC.search(text))


def _one_alphabet(word: re.Match[str]) -> str:
    return word[0].translate(HOMOGLYPHS) if _CYRILLIC.search(word[0]) else word[0]


def to_dicom(name: PersonName) -> str:
    """Return family^given^middle without trailing carets (PS3.5 6.2.1)."""
    parts = (_component(part) for part in (name.family, name.given, name.middle))
    return "^".join(parts).rstrip("^")


def from_dicom(value: str) -> PersonName:
    """Parse family^given^middle; only the first component group is used, and split at blanks if it has no carets."""
    group = value.split("=")[0]
    if "^" in group:
        parts = [part.strip() for part in group.split("^")] + ["", "", ""]
        return PersonName(parts[0], parts[1], parts[2])
    return split(group)


def split(typed: str) -> PersonName:
    """Split «Фамилия Имя Отчество» as typed; what follows the second blank belongs to the отчество (оглы, кызы)."""
    parts = [*_BLANKS.sub(" ", typed).strip().split(" ", 2), "", "", ""]
    return PersonName(parts[0], parts[1], parts[2])


def short(name: PersonName) -> str:
    """Return «Фамилия И. О.»."""
    initials = " ".join(f"{part[:1]}." for part in (name.given, name.middle) if part)
    return f"{name.family} {initials}".strip()


def fit(name: PersonName, longest: int) -> PersonName:
    """Shorten a name to what a device can show, in characters of its DICOM form.

    First отчество and имя become initials, then they are dropped; the фамилия is truncated only if it is too long by
    itself.
    """
    family, given, middle = name.family, name.given, name.middle
    for shorter in (
        name,
        PersonName(family, given, middle[:1]),
        PersonName(family, given[:1], middle[:1]),
        PersonName(family, given[:1]),
        PersonName(family),
    ):
        if len(to_dicom(shorter)) <= longest:
            return shorter
    return PersonName(family[:longest].rstrip())


def cut(text: str, longest: int) -> str:
    """Shorten a text to `longest` characters, at the end of a word if more than half remains."""
    if len(text) <= longest:
        return text
    end = text.rfind(" ", 0, longest + 1)
    return text[: end if end > longest // 2 else longest].rstrip()


def tidy(text: str) -> str:
    """Normalise what was typed: NFC, no control characters, single blanks; upper and lower case stay."""
    printable = unicodedata.normalize("NFC", text)
    if not printable.isprintable():  # a printable text has no such characters, and no blank but the space
        printable = "".join(
            " " if char.isspace() else char
            for char in printable
            if char.isspace() or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn"}
        )
    return _BLANKS.sub(" ", printable).strip()


def _component(part: str) -> str:
    # PS3.5 6.2: backslash, caret and equals are delimiters of PN and may not stand inside a component.
    return tidy(part.replace("\\", " ").replace("^", " ").replace("=", " "))
