"""The words of a structured report (PS3.3 C.17), read as devices write it.

A broken item is counted, and never a failure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pydicom.dataset import Dataset

from broker.dicom.sr import content
from broker.domain.studies.received_text import ReceivedText, ReportPart, Standing, TextLine

MOST_LINES = 2000
MOST_CHARACTERS = 200_000
# DCM codes of headings, and of the items below them: findings, impressions, recommendations, conclusions.
_PARTS = {
    "121070": ReportPart.DESCRIPTION,
    "121071": ReportPart.DESCRIPTION,
    "121072": ReportPart.CONCLUSION,
    "121073": ReportPart.CONCLUSION,
    "121074": ReportPart.RECOMMENDATIONS,
    "121075": ReportPart.RECOMMENDATIONS,
    "121076": ReportPart.CONCLUSION,
    "121077": ReportPart.CONCLUSION,
}
# What describes the report, its observer or its patient is shown, and is no part of its text.
_ABOUT = frozenset({"HAS OBS CONTEXT", "HAS CONCEPT MOD", "HAS ACQ CONTEXT"})
_REFERENCES = {"IMAGE": "снимок", "COMPOSITE": "объект", "WAVEFORM": "кривая"}
_VALUES = {
    "TEXT": "TextValue",
    "UIDREF": "UID",
    "DATE": "Date",
    "TIME": "Time",
    "DATETIME": "DateTime",
    "PNAME": "PersonName",
}
_SHAPES = ("SCOORD", "SCOORD3D", "TCOORD", "TABLE")  # points and the like: no words


def read(ds: Dataset) -> ReceivedText:
    """Return the words of a structured report, with as much as can be read."""
    reading = _Reading()
    reading.walk(ds, 0, None)
    if not any(each.part for each in reading.lines):
        # No section is known: all of it is description, and a person writes the conclusion.
        for at in reading.stated:
            reading.lines[at] = replace(reading.lines[at], part=ReportPart.DESCRIPTION)
    return ReceivedText(
        title=content.meaning(ds),
        standing=standing(ds),
        authors=tuple(_observers(ds)),
        lines=tuple(reading.lines),
        unread=reading.unread,
        is_cut=reading.is_cut,
        predecessors=tuple(_predecessors(ds)),
    )


def standing(ds: Dataset) -> Standing:
    """Return how far a report or document is finished (PS3.3 C.17.2, C.24.2)."""
    completion, verification = content.text(ds, "CompletionFlag"), content.text(ds, "VerificationFlag")
    if completion == "PARTIAL" or verification == "UNVERIFIED":
        return Standing.DRAFT
    return Standing.FINAL if completion == "COMPLETE" and verification == "VERIFIED" else Standing.UNKNOWN


class _Reading:
    """A walk over the content tree, bounded in depth, lines and characters."""

    def __init__(self) -> None:
        self.lines: list[TextLine] = []
        self.stated: list[int] = []  # which of them are about the patient, not about the report itself
        self.unread = 0
        self.is_cut = False
        self._left = MOST_CHARACTERS

    def walk(self, ds: Dataset, level: int, part: ReportPart | None, *, is_about: bool = False) -> None:
        """Add the items below one."""
        children = content.children(ds)
        if level >= content.DEEPEST:
            self.is_cut = self.is_cut or bool(children)
            return
        for item in children:
            if self.is_cut:
                return
            try:
                self._add(item, level, part, is_about=is_about)
            except Exception:  # whatever devices write, the rest of the report is read
                self.unread += 1

    def _add(self, item: Dataset, level: int, part: ReportPart | None, *, is_about: bool) -> None:
        kind, name = content.text(item, "ValueType"), content.meaning(item)
        is_about = is_about or content.text(item, "RelationshipType") in _ABOUT
        known = _PARTS.get(content.code(item))
        part = None if is_about else known or part
        if kind == "CONTAINER":
            if name:
                self._line(TextLine(name, level, is_heading=True, part=None if known else part), is_about=is_about)
        elif kind not in _SHAPES and (kind or not content.text(item, "ReferencedContentItemIdentifier")):
            value = _value(item, kind)
            if value:
                # The name of a field of our report is not repeated in its text.
                shown = f"{name}: {value}" if name and not known else value
                # That something is an image is no word of a report.
                is_about_it = is_about or kind in _REFERENCES
                self._line(TextLine(shown, level, part=None if is_about_it else part), is_about=is_about_it)
            else:
                self.unread += 1
        self.walk(item, level + 1, part, is_about=is_about)

    def _line(self, line: TextLine, *, is_about: bool) -> None:
        if len(self.lines) >= MOST_LINES or self._left <= 0:
            self.is_cut = True
            return
        if len(line.text) > self._left:
            line, self.is_cut = replace(line, text=line.text[: self._left]), True
        self._left -= len(line.text)
        if not is_about:
            self.stated.append(len(self.lines))
        self.lines.append(line)


def _value(item: Dataset, kind: str) -> str:
    """Return the value of an item in words; empty if it has none, or none that can be read."""
    if kind == "CODE":
        return content.meaning(item, "ConceptCodeSequence") or content.code(item, "ConceptCodeSequence")
    if kind == "NUM":
        return _number(item)
    if kind in _REFERENCES:
        return _REFERENCES[kind]
    raw = content.text(item, _VALUES.get(kind, "TextValue"))
    if kind == "PNAME":
        return person(raw)
    if kind in ("DATE", "DATETIME"):
        return _date(raw)
    return _time(raw) if kind == "TIME" else raw.replace("\r\n", "\n").replace("\r", "\n")


def _number(item: Dataset) -> str:
    for measured in content.items(item, "MeasuredValueSequence"):
        value = content.text(measured, "NumericValue")
        code = content.code(measured, "MeasurementUnitsCodeSequence")
        bare = code in ("", "1") or code.startswith("{")  # UCUM: no unit, or a remark
        return value if bare or not value else f"{value} {code}"
    return content.meaning(item, "NumericValueQualifierCodeSequence")


def person(raw: str) -> str:
    """Return a person's name (PN) in the usual order of words."""
    parts = raw.split("=")[0].split("^")
    return " ".join(each.strip() for each in parts[:3] if each.strip())


def _date(raw: str) -> str:
    if len(raw) < 8 or not raw[:8].isdecimal():
        return raw
    return f"{raw[6:8]}.{raw[4:6]}.{raw[:4]} {_time(raw[8:])}".strip()


def _time(raw: str) -> str:
    return f"{raw[:2]}:{raw[2:4]}" if len(raw) >= 4 and raw[:4].isdecimal() else raw


def _observers(ds: Dataset) -> Iterator[str]:
    for item in content.items(ds, "VerifyingObserverSequence"):
        name = person(content.text(item, "VerifyingObserverName"))
        if name:
            yield ", ".join(filter(None, (name, content.text(item, "VerifyingOrganization"))))


def _predecessors(ds: Dataset) -> Iterator[str]:
    for study in content.items(ds, "PredecessorDocumentsSequence"):
        for series in content.items(study, "ReferencedSeriesSequence"):
            for item in content.items(series, "ReferencedSOPSequence"):
                yield content.text(item, "ReferencedSOPInstanceUID")
