"""Matches a worklist item with a query, key by key (PS3.4 C.2.2.2).

Pure. The same comparisons decide the answer, and explain to people why a device does not see an order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from broker.dicom.codec import charset
from broker.dicom.worklist import brought, name_matching, response
from broker.dicom.worklist.attributes import AnswerContext, Attribute, Match, imported, start_of, value_of
from broker.dicom.worklist.query import CODE_BY_TAG, STEP_BY_TAG, TOP_BY_TAG, Part, WorklistQuery, is_universal
from broker.dicom.worklist.response import Alterations, Style
from broker.domain.patients import names
from broker.store.tables.worklist import WorklistItem

_NUMBERS = {"DS", "IS", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"}


@dataclass(frozen=True, slots=True)
class KeyComparison:
    """One key of a query, an item's value, and whether they match."""

    keyword: str
    key: str
    value: str
    matches: bool


def matches(asked: WorklistQuery, item: WorklistItem, context: AnswerContext, style: Style) -> bool:
    """Return True if an item matches every key."""
    return all(compared.matches for compared in compare(asked, item, context, style))


def compare(asked: WorklistQuery, item: WorklistItem, context: AnswerContext, style: Style) -> Iterator[KeyComparison]:
    """Yield the comparison of each key; date and time are one key, that of the date."""
    window = asked.window
    if (window.low, window.high, window.daily) != (None, None, None):
        keys = (asked.key("ScheduledProcedureStepStartDate"), asked.key("ScheduledProcedureStepStartTime"))
        start = start_of(item, context)
        yield KeyComparison(
            "ScheduledProcedureStepStartDate" if keys[0] else "ScheduledProcedureStepStartTime",
            " ".join(filter(None, keys)),
            f"{start:%Y%m%d %H%M%S}" + (f".{start:%f}" if start.microsecond else ""),
            window.holds(start),
        )
    yield from _compare_level(asked.top, TOP_BY_TAG, False, asked, item, context, style)
    if asked.step is not None:
        yield from _compare_level(asked.step, STEP_BY_TAG, True, asked, item, context, style)


def _compare_level(
    part: Part,
    supported: Mapping[BaseTag, Attribute],
    in_step: bool,
    asked: WorklistQuery,
    item: WorklistItem,
    context: AnswerContext,
    style: Style,
) -> Iterator[KeyComparison]:
    for tag, key in part.keys.items():
        attribute = supported[tag]
        if attribute.match is Match.WINDOW:  # both keys together, see `compare`
            continue
        value = value_of(attribute, item, context, in_step)
        texts = value if isinstance(value, tuple) else ()
        if attribute.match is Match.STATION:
            texts = item.step.station_ae_titles
        elif attribute.match is Match.NUMBER and len(item.order.accession_numbers) > 1:
            texts = (*texts, *item.order.accession_numbers)
        elif attribute.match is Match.PATIENT_ID:
            texts = (*texts, *item.former_ids)
        held = any(_holds(attribute, key, text, asked, style) for text in texts)
        yield KeyComparison(attribute.keyword, key, "\\".join(texts), held)
    for tag, within in part.items.items():
        attribute_of_sequence = supported.get(tag)
        if attribute_of_sequence is not None and attribute_of_sequence.match is Match.CODE and within.keys:
            codes = value_of(attribute_of_sequence, item, context, in_step)
            yield _compare_codes(attribute_of_sequence, within, codes if isinstance(codes, list) else [])
    if asked.unsupported and item.order.attributes:
        yield from _compare_brought(part, imported(item, context, in_step), style)


def _compare_brought(part: Part, ds: Dataset, style: Style) -> Iterator[KeyComparison]:
    """Yield the comparison of each key that only imports have; for an item without it every key is universal."""
    for tag, key in part.brought.items():
        element = brought.find(ds, tag, part.creators)
        if element is not None:
            texts = _texts(element)
            held = any(_brought_holds(element.VR, each, text, style) for text in texts for each in key.split("\\"))
            yield KeyComparison(element.keyword or str(tag), key, "\\".join(texts), held)
    for tag, within in part.items.items():
        sequence = brought.find(ds, tag, part.creators) if brought.has_keys(within) else None
        if sequence is not None:
            items = sequence.value if sequence.VR == "SQ" else []
            held = any(all(each.matches for each in _compare_brought(within, item, style)) for item in items)
            yield KeyComparison(sequence.keyword or str(tag), " ".join(within.brought.values()), "", held)


def _texts(element: DataElement) -> list[str]:
    if element.is_empty:
        return []
    if isinstance(element.value, bytes):  # a private one of a file without VRs; this program reads UTF-8 there
        return [charset.decoder_for("", [element.value]).decode(element.value).strip(" \0")]
    return [str(value).strip(" \0") for value in (element.value if element.VM > 1 else [element.value])]


def _brought_holds(vr: str, key: str, value: str, style: Style) -> bool:
    """Return True if a value of this VR matches a key (PS3.4 C.2.2.2)."""
    if vr == "PN":
        return name_matches(key, value, style)
    if vr in ("DA", "TM") and "-" in key:
        low, _, high = (part.strip() for part in key.partition("-"))
        return low <= value and (not high or value[: len(high)] <= high)
    if vr in _NUMBERS:
        with suppress(ValueError):
            return float(key) == float(value)
    return text_matches(key, value)


def _holds(attribute: Attribute, key: str, value: str, asked: WorklistQuery, style: Style) -> bool:
    """Return True if a value matches; of an item's several values any may (PS3.4 C.2.2.2.1)."""
    match attribute.match:
        case Match.NAME:
            return name_matches(key, value, style)
        case Match.UID:
            return value in key.split("\\")
        case Match.STATION | Match.LIST:
            return any(text_matches(each, value) for each in key.split("\\"))
        case Match.DATE:
            return _date_matches(asked, value)
        case _:
            return text_matches(key, value)


def _compare_codes(attribute: Attribute, within: Part, codes: Sequence[Dataset]) -> KeyComparison:
    """Compare code sequences: they match if any item matches all keys (PS3.4 C.2.2.2.6)."""

    def holds(code: Dataset) -> bool:
        return all(text_matches(key, str(code.get(CODE_BY_TAG[tag].keyword) or "")) for tag, key in within.keys.items())

    values = "; ".join(f"{code.get('CodeValue', '')} {code.get('CodingSchemeDesignator', '')}" for code in codes)
    return KeyComparison(attribute.keyword, " ".join(within.keys.values()), values, any(holds(code) for code in codes))


def text_matches(key: str, value: str) -> bool:
    """Match single value or wildcard; a stored empty value fails every key that is not universal."""
    if is_universal(key):
        return True
    if not value or set(key.strip()) == {"?"}:  # a device without Cyrillic; not a wildcard
        return False
    if "*" in key or "?" in key:
        return name_matching.wildcard(key.strip(), value)
    return key.strip() == value


def name_matches(key: str, name: str, style: Style) -> bool:
    """Match a name as it is stored, or as the device was sent it and may ask for it again."""
    if name_matching.matches(key, name):
        return True
    shown = response.fit_name(name, style, Alterations()) if style.longest < names.NAME_LENGTH else name
    return shown != name and name_matching.matches(key, shown)


def _date_matches(asked: WorklistQuery, value: str) -> bool:
    first, last = asked.born
    return bool(value) and (first is None or f"{first:%Y%m%d}" <= value) and (last is None or value <= f"{last:%Y%m%d}")
