"""Parse the side of the body of a ServiceRequest: its codes first, then its words. Pure.

R4 has no member for the side: it is part of what `bodySite` says, by a code or in words, and our own referrals have it
in a note. Two sources that name different sides are a question for a person, never a choice.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from broker.bus.fhir import Resource, items, member

RIGHT, LEFT, BOTH = "R", "L", "B"
# PS3.16 CID 244 "Laterality": SNOMED CT and the older codes of DICOM; and the letters of (0020,0060).
_CODES = {
    "24028007": RIGHT,
    "7771000": LEFT,
    "51440002": BOTH,
    "G-A100": RIGHT,
    "G-A101": LEFT,
    "G-A102": BOTH,
    "R": RIGHT,
    "L": LEFT,
    "B": BOTH,
}
_CODE_SYSTEMS = ("http://snomed.info/sct", "2.16.840.1.113883.6.96", "1.2.840.10008.2.16.4", "2.16.840.1.113883.6.5")
# Whole words: «справка», «правило», «левофлоксацин» name no side.
_ENDINGS = r"(?:ая|яя|ый|ой|ое|ого|ому|ую|ым|ом|ые|ых|ыми)"
_WORDS = {
    BOTH: re.compile(r"\b(?:обе|оба|обеих|обоих|обеими|обоими|двусторонн\w+|двухсторонн\w+|билатеральн\w+)\b"),
    RIGHT: re.compile(rf"\b(?:прав{_ENDINGS}|справа|правосторонн\w+|прав\.)(?!\w)"),
    LEFT: re.compile(rf"\b(?:лев{_ENDINGS}|слева|левосторонн\w+|лев\.)(?!\w)"),
}


class Side(NamedTuple):
    """The side that a request names: R, L, B or empty; `contradicts`: it names several, so none is taken."""

    laterality: str
    contradicts: bool = False


def side_of(request: Resource, noted: str = "") -> Side:
    """Return the side of a ServiceRequest; `noted` is the one that a note of our own kind names.

    The words of the procedure count where nothing else names a side.
    """
    coded = _coded(request)
    sites = items(request, "bodySite")
    words = [text for site in sites for text in _texts(site)]
    named = {side for text in words for side in sides_in(text)}
    procedure = {side for text in _texts(request.get("code")) for side in sides_in(text)}
    evidence = coded | named | ({noted} if noted else set())
    if len(evidence) > 1 or (evidence and procedure and not evidence & procedure):
        return Side("", contradicts=True)
    evidence = evidence or procedure
    return Side(next(iter(evidence)) if len(evidence) == 1 else "")


def sides_in(text: str) -> set[str]:
    """Return the sides that a Russian text names."""
    plain = text.casefold().replace("ё", "е")
    return {side for side, words in _WORDS.items() if words.search(plain)}


def _coded(request: Resource) -> set[str]:
    """Return the sides that codes of a body site name, also those of its extensions."""
    found = set()
    for site in items(request, "bodySite"):
        concepts = [site, *(member(each, "valueCodeableConcept") for each in items(site, "extension"))]
        for coding in (coding for concept in concepts for coding in items(concept, "coding")):
            system, code = member(coding, "system"), member(coding, "code")
            if isinstance(system, str) and isinstance(code, str) and system.removeprefix("urn:oid:") in _CODE_SYSTEMS:
                found.add(_CODES.get(code.strip(), ""))
    return found - {""}


def _texts(concept: Any) -> list[str]:
    texts = [member(concept, "text"), *(member(coding, "display") for coding in items(concept, "coding"))]
    return [text for text in texts if isinstance(text, str)]
