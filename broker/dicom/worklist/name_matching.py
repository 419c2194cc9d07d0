"""Matching of person names: PS3.4 C.2.2.2 for PN, as Russian clinics need it.

Pure. What does not count between two spellings of a name (`domain.patients.names.fold`) does not count here; names
match by component; a Latin query finds a Cyrillic name by the usual ways of transliteration.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest

from broker.dicom.codec import transliteration
from broker.domain.patients import names

_UNIVERSAL = "^*= "  # characters of a universal name key


def is_universal(key: str) -> bool:
    """Return True if a name key is universal: empty, stars and delimiters only, or `?*`, any name that is not empty."""
    letters = key.strip(_UNIVERSAL)
    return not letters or (letters == "?" and "*" in key)


def is_undecodable(key: str) -> bool:
    """Return True for question marks only: the device cannot write Cyrillic.

    As wildcards they would match every name of the same length.
    """
    groups = [set(group) - set(_UNIVERSAL) for group in key.split("=")]
    asked = [letters for letters in groups if letters]
    return bool(asked) and all(letters == {"?"} for letters in asked)


@lru_cache(maxsize=16384)  # devices ask the same every few seconds
def matches(key: str, value: str) -> bool:
    """Match a person's name; `value` is family^given^middle, an empty one fails every key that is not universal.

    A key without carets may be the family name alone, or the names separated by blanks. Components that the key does
    not have are not compared. Of several component groups (PS3.5 6.2.1) any may match any.
    """
    if is_universal(key):
        return True
    known = [group for group in value.split("=") if group.strip("^ ")]
    return any(_group_matches(group, name) for group in _groups(key) for name in known)


def beginning(key: str) -> str:
    """Return the folded beginning of all names that match; empty if it is unknown."""
    if is_universal(key) or is_undecodable(key):
        return ""
    groups = _groups(key)
    if len(groups) != 1 or not groups[0].cyrillic:
        return ""
    literal = groups[0].folded
    for stop in "*?^":
        literal = literal.partition(stop)[0]
    return literal.strip()


@dataclass(frozen=True, slots=True)
class _Group:
    """One component group of a key, in the forms that it is compared in."""

    folded: str
    plain: str  # for Latin; empty if it has Cyrillic letters
    cyrillic: bool


@lru_cache(maxsize=256)
def _groups(key: str) -> tuple[_Group, ...]:
    found = []
    for text in key.split("="):
        if text.strip(_UNIVERSAL) and not is_undecodable(text):
            folded = "^".join(part.strip() for part in names.fold(text).split("^")).rstrip("^")
            cyrillic = names.is_cyrillic(folded)
            found.append(_Group(folded, "" if cyrillic else transliteration.plain(folded), cyrillic))
    return tuple(found)


def _group_matches(group: _Group, name: str) -> bool:
    name = name.rstrip("^ ")  # trailing empty components may be written or not
    if _matches(group.folded, [part.strip() for part in names.fold(name).split("^")]):
        return True
    return bool(group.plain) and _matches_latin(
        group.plain, [part.strip() for part in names.in_one_alphabet(name).split("^")]
    )


def _matches(key: str, known: list[str]) -> bool:
    """Match one spelling of a key with one spelling of a name, by components."""
    whole = "^".join(known)
    if "*" in key or "?" in key:
        if wildcard(key, whole):
            return True
        if "^" not in key:
            return wildcard(key, " ".join(part for part in known if part))
    elif "^" not in key:
        return key in (known[0], " ".join(part for part in known if part)) or _by_words(key, known)
    return _by_component(key.split("^"), known)


def _by_component(asked: list[str], known: list[str]) -> bool:
    pairs = zip_longest(asked, known, fillvalue="")
    return all(not part or wildcard(part, there) for part, there in pairs)


def _by_words(key: str, known: list[str]) -> bool:
    """Match «Фамилия Имя [Отчество]» typed with blanks."""
    words = key.split(" ", 2)
    return len(words) > 1 and _by_component(words, known)


def _matches_latin(key: str, known: list[str]) -> bool:
    """Match a Latin key with a name as each schema spells it, one schema for each component."""
    first, letter = known[0][:1], key[:1]
    if letter not in "*?^" and names.is_cyrillic(first):
        possible = transliteration.initials(first)
        if "" not in possible and letter not in possible:  # excludes most names before they are transliterated
            return False
    spelled = [transliteration.spellings(part) if part else ("",) * len(transliteration.SCHEMAS) for part in known]
    if "^" in key:
        asked = key.split("^")
        pairs = zip_longest(asked, spelled, fillvalue="")
        if all(not part or any(wildcard(part, each) for each in set(there)) for part, there in pairs):
            return True
    elif "*" not in key and "?" not in key:
        if any(key == family for family in spelled[0]):
            return True
        words = key.split(" ", 2)
        if 1 < len(words) <= len(spelled) and all(word in there for word, there in zip(words, spelled, strict=False)):
            return True
    return any(_matches(key, list(spelling)) for spelling in dict.fromkeys(zip(*spelled, strict=True)))


def wildcard(pattern: str, value: str) -> bool:
    """Return True if a value matches a pattern of `*` (any run of characters) and `?` (any one): PS3.4 C.2.2.2.4.

    Takes at most len(pattern) x len(value) steps, however many stars there are.
    """
    at, place, star, mark = 0, 0, -1, 0
    while place < len(value):
        if at < len(pattern) and pattern[at] == "*":
            star, mark = at, place
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", value[place]):
            at += 1
            place += 1
        elif star >= 0:
            mark += 1
            at, place = star + 1, mark
        else:
            return False
    return all(char == "*" for char in pattern[at:])
