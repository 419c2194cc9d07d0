"""Person names: how they are written in DICOM and how they are folded for comparison.

Folding happens here because SQLite's own UPPER, LIKE and NOCASE know ASCII only.
"""

from __future__ import annotations

import re
import unicodedata

from broker.domain.model import PersonName

_BLANKS = re.compile(r"\s+")
NAME_LENGTH = 64  # characters in one component group, PS3.5 6.2 (PN)


def fold(text: str) -> str:
    """Give the form under which names are compared: NFC, case folded, ё as е, blanks squeezed."""
    folded = unicodedata.normalize("NFC", text).casefold().replace("ё", "е")
    return _BLANKS.sub(" ", folded).strip()


def to_dicom(name: PersonName) -> str:
    """Write family^given^middle without trailing carets (PS3.5 6.2.1)."""
    parts = (_component(part) for part in (name.family, name.given, name.middle))
    return "^".join(parts).rstrip("^")


def from_dicom(value: str) -> PersonName:
    """Read family^given^middle; only the first component group counts, one without carets is split at blanks."""
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
    """Write «Фамилия И. О.»."""
    initials = " ".join(f"{part[:1]}." for part in (name.given, name.middle) if part)
    return f"{name.family} {initials}".strip()


def tidy(text: str) -> str:
    """Normalise what was typed: NFC, no control characters, single blanks; letters' case is left alone."""
    printable = "".join(
        " " if char.isspace() else char
        for char in unicodedata.normalize("NFC", text)
        if char.isspace() or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn"}
    )
    return _BLANKS.sub(" ", printable).strip()


def _component(part: str) -> str:
    # PS3.5 6.2: backslash, caret and equals are delimiters of PN and may not stand inside a component.
    return tidy(part.replace("\\", " ").replace("^", " ").replace("=", " "))
