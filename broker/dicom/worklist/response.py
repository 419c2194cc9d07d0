"""The identifier of a worklist item for a device: the requested attributes, in characters and lengths that it can show.

Pure. Differences from the stored values are counted and reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from broker.dicom.codec import charset
from broker.dicom.worklist import brought
from broker.dicom.worklist.attributes import AnswerContext, Attribute, Match, imported, value_of
from broker.dicom.worklist.query import SEQUENCE, STEP_BY_TAG, TOP_BY_TAG, Part, WorklistQuery
from broker.domain.patients import names
from broker.store.tables.worklist import WorklistItem

_SINGLE_LINE = re.compile(r"[\x00-\x1f\x7f]+")
_TEXTS = {"LO", "LT", "PN", "SH", "ST", "UC", "UT"}


@dataclass(frozen=True, slots=True)
class Style:
    """How a device is answered: a term of `charset.PYTHON_CODECS`, and the length of names that it shows."""

    charset: str = charset.UTF_8
    longest: int = 64


@dataclass(slots=True)
class Alterations:
    """How an answer differs from what is stored."""

    characters: int = 0  # written with others, because the character set does not have them
    cut: int = 0  # names and texts that are shortened


def identifier(
    asked: WorklistQuery, item: WorklistItem, context: AnswerContext, style: Style, alterations: Alterations
) -> Dataset:
    """Return the identifier for an item; add to `alterations` what differs from what is stored."""
    ds = _level(asked.top, TOP_BY_TAG, item, context, style, alterations, in_step=False)
    if asked.step is not None:
        step = _level(asked.step, STEP_BY_TAG, item, context, style, alterations, in_step=True)
        ds.add(DataElement(SEQUENCE, "SQ", [step]))
    # PS3.4 C.4.1.1.3.2: present whenever an answer holds characters beyond the default repertoire.
    if not all(text.isascii() for text in _texts(ds)):
        ds.SpecificCharacterSet = charset.declared(style.charset)
    return ds


def _level(
    part: Part,
    supported: Mapping[BaseTag, Attribute],
    item: WorklistItem,
    context: AnswerContext,
    style: Style,
    alterations: Alterations,
    *,
    in_step: bool,
) -> Dataset:
    ds = Dataset()
    for tag in part.returned:
        attribute = supported[tag]
        if attribute.match is Match.SEQUENCE:
            continue
        value = value_of(attribute, item, context, in_step)
        if isinstance(value, list):
            if not value and attribute.type == "1C":  # PS3.5 7.4.2: never empty
                continue
            items = [_selected(code, part.items.get(tag), style, alterations) for code in value]
            ds.add(DataElement(tag, "SQ", items))
        else:
            ds.add(_element(tag, attribute.vr, [_fit(text, attribute, style, alterations) for text in value]))
    ours = imported(item, context, in_step)
    if part.everything:
        for element in ours:
            if element.tag not in supported:
                ds.add(_copied(element, None, style, alterations))
    _add_brought(ds, part.others, part, ours, style, alterations)
    return ds


def _add_brought(
    ds: Dataset, tags: Iterable[BaseTag], part: Part, source: Dataset, style: Style, alterations: Alterations
) -> None:
    """Add what a query asks for by these tags and `source` has, private attributes in the query's blocks."""
    for tag in tags:
        element = brought.find(source, tag, part.creators) if len(source) else None
        if element is None:
            continue
        copied = _copied(element, part.items.get(tag), style, alterations)
        if tag.is_private:
            block = brought.creator_of(tag)
            creator = part.creators.get(block) or (str(source[block].value or "") if block in source else "")
            if creator:
                ds.add(DataElement(block, "LO", creator))
            copied = DataElement(tag, copied.VR, copied.value, already_converted=True)
        ds.add(copied)


def _selected(item: Dataset, part: Part | None, style: Style, alterations: Alterations) -> Dataset:
    """Return a copy of a sequence's item: what was requested of it, or all of it."""
    ds = Dataset()
    if part is None:
        for element in item:
            ds.add(_copied(element, None, style, alterations))
    else:
        _add_brought(ds, (*part.returned, *part.others), part, item, style, alterations)
    return ds


def _copied(element: DataElement, part: Part | None, style: Style, alterations: Alterations) -> DataElement:
    if element.VR == "SQ":
        items = [_selected(item, part, style, alterations) for item in element.value or []]
        return DataElement(element.tag, "SQ", items)
    if element.VR not in _TEXTS or element.is_empty:
        return element
    values = element.value if element.VM > 1 else [element.value]
    written = []
    for value in values:
        text, changed = charset.fitted(str(value), style.charset)
        alterations.characters += changed
        written.append(text)
    return DataElement(element.tag, element.VR, written if len(written) > 1 else written[0])


# ---- fitting ----


def _fit(text: str, attribute: Attribute, style: Style, alterations: Alterations) -> str:
    """Return a text in characters of the character set, no longer than its VR allows and the device shows."""
    if attribute.vr not in _TEXTS:
        return text
    if attribute.vr == "PN":
        return fit_name(text, style, alterations)
    if attribute.vr not in ("LT", "ST", "UT"):
        text = _SINGLE_LINE.sub(" ", text).replace("\\", "/")  # a backslash would make two values of one
    written, changed = charset.fitted(text, style.charset)
    alterations.characters += changed
    shorter = names.cut(written, min(attribute.length, style.longest) if attribute.shown else attribute.length)
    alterations.cut += shorter != written
    return shorter


def fit_name(name: str, style: Style, alterations: Alterations) -> str:
    """Return a name (family^given^middle) in characters of the character set, no longer than the device shows."""
    written, changed = charset.fitted(name, style.charset)
    alterations.characters += changed
    longest = min(style.longest, names.NAME_LENGTH)
    if len(written) <= longest:
        return written
    alterations.cut += 1
    for shorter in names.numbered_forms(names.from_dicom(name)):  # its words are known before they are in Latin
        fitted = charset.fit(names.to_dicom(shorter), style.charset)
        if len(fitted) <= longest:
            return fitted
    return names.to_dicom(names.fit(names.from_dicom(written), longest))


def _element(tag: BaseTag, vr: str, texts: list[str]) -> DataElement:
    """Return an element of its values as text; an import's decimal string goes out as it came in."""
    if vr in ("US", "SS", "UL", "SL"):
        values: list[Any] = [int(text) for text in texts if re.fullmatch(r"-?\d+", text)]
    else:
        values = list(texts)
    value = None if not values else values[0] if len(values) == 1 else values
    return DataElement(tag, vr, value, already_converted=vr in ("DS", "IS"))


def _texts(ds: Dataset) -> Iterator[str]:
    for element in ds:
        if element.VR == "SQ":
            for item in element.value:
                yield from _texts(item)
        elif element.VR in _TEXTS and not element.is_empty:
            yield str(element.value)
