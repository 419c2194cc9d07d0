"""The words of a CDA document (HL7 CDA R2): its narrative blocks as plain text, never as markup."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from defusedxml.ElementTree import fromstring

from broker.dicom.sr.report_text import MOST_CHARACTERS, MOST_LINES
from broker.domain.studies.received_text import ReceivedFile, ReceivedText, ReportPart, Standing, TextLine

DEEPEST = 100
_NS = "{urn:hl7-org:v3}"
# LOINC codes of sections of imaging reports.
_PARTS = {
    "18782-3": ReportPart.DESCRIPTION,
    "59776-5": ReportPart.DESCRIPTION,
    "19005-8": ReportPart.CONCLUSION,
    "55110-1": ReportPart.CONCLUSION,
    "18783-1": ReportPart.RECOMMENDATIONS,
}
_BLOCKS = frozenset({"paragraph", "item", "tr", "caption", "list", "table"})


class UnreadableXml(ValueError):
    """It is no XML, or one with entities of its own."""


def read(data: bytes) -> tuple[ReceivedText, ReceivedFile | None]:
    """Return the words of a CDA document, and the PDF that it may carry instead of words. Raise UnreadableXml."""
    try:
        root = fromstring(data)
    except Exception as error:  # entities, encodings, anything
        raise UnreadableXml(type(error).__name__) from error
    lines = list(_bounded(_sections(root)))
    is_cut = len(lines) > MOST_LINES
    if not any(each.part for each in lines):
        lines = [TextLine(each.text, each.level, each.is_heading, ReportPart.DESCRIPTION) for each in lines]
    text = ReceivedText(
        title=_flat(root.find(f"{_NS}title")),
        standing=_standing(root),
        authors=tuple(_authors(root)),
        lines=tuple(lines[:MOST_LINES]),
        is_cut=is_cut,
    )
    return text, _carried(root)


def _bounded(lines: Iterator[TextLine]) -> Iterator[TextLine]:
    left = MOST_CHARACTERS
    for count, each in enumerate(lines):
        if count > MOST_LINES or left <= 0:
            return
        left -= len(each.text)
        yield each


def _sections(root: Element) -> Iterator[TextLine]:
    body = root.find(f"{_NS}component/{_NS}structuredBody")
    if body is not None:
        yield from _below(body, 0, None)
        return
    plain = root.find(f"{_NS}component/{_NS}nonXMLBody/{_NS}text")
    if plain is not None and plain.get("mediaType", "text/plain").startswith("text/plain"):
        yield from (TextLine(line.strip()) for line in (plain.text or "").splitlines() if line.strip())


def _below(parent: Element, level: int, part: ReportPart | None) -> Iterator[TextLine]:
    if level > DEEPEST:
        return
    for section in parent.iterfind(f"{_NS}component/{_NS}section"):
        code = section.find(f"{_NS}code")
        known = _PARTS.get(code.get("code", "")) if code is not None else None
        own = known or part
        title = _flat(section.find(f"{_NS}title"))
        if title:
            yield TextLine(title, level, is_heading=True, part=None if known else own)
        narrative = section.find(f"{_NS}text")
        if narrative is not None:
            for line in _narrative(narrative).split("\n"):
                if words := " ".join(line.split()):
                    yield TextLine(words, level + 1, part=own)
        yield from _below(section, level + 1, own)


def _narrative(block: Element, depth: int = 0) -> str:
    """Return a narrative block with a line for every paragraph, item and row."""
    if depth > DEEPEST:
        return ""
    tag = block.tag.removeprefix(_NS) if isinstance(block.tag, str) else ""
    # White space of the file is none of the text's; a new line is what `br` and blocks make.
    parts = [" ".join((block.text or "").split("\n"))] if tag else []
    for child in block if tag else ():
        parts += [_narrative(child, depth + 1), " ".join((child.tail or "").split("\n"))]
    inner = "".join(parts)
    if tag in _BLOCKS or tag == "br":
        return f"\n{inner}\n"
    return f"{inner} " if tag in ("td", "th") else inner


def _flat(element: Element | None) -> str:
    return "" if element is None else " ".join("".join(element.itertext()).split())


def _standing(root: Element) -> Standing:
    signature = root.find(f"{_NS}legalAuthenticator/{_NS}signatureCode")
    return Standing.FINAL if signature is not None and signature.get("code") == "S" else Standing.UNKNOWN


def _authors(root: Element) -> Iterator[str]:
    names = root.findall(f"{_NS}legalAuthenticator/{_NS}assignedEntity/{_NS}assignedPerson/{_NS}name")
    for each in names or root.findall(f"{_NS}author/{_NS}assignedAuthor/{_NS}assignedPerson/{_NS}name"):
        words = " ".join(" ".join(part.split()) for part in each.itertext() if part.strip())
        if words:
            yield words


def _carried(root: Element) -> ReceivedFile | None:
    body = root.find(f"{_NS}component/{_NS}nonXMLBody/{_NS}text")
    if body is None or body.get("mediaType") != "application/pdf" or body.get("representation") != "B64":
        return None
    try:
        found = base64.b64decode(body.text or "")
    except ValueError:
        return None
    return ReceivedFile(found, "application/pdf") if found.startswith(b"%PDF-") else None
