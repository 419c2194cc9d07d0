"""The content tree of a structured report (PS3.3 C.17.3), read as devices write it: what is missing or broken is None.

Concepts are compared by code value; their meanings differ from device to device.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

DEEPEST = 24  # levels that are read


def items(ds: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; none where it is missing or cannot be read."""
    try:
        value = ds.get(keyword)
    except Exception:  # whatever devices write, the rest of the report is read
        return []
    return list(value) if isinstance(value, Sequence) else []


def text(ds: Dataset, keyword: str) -> str:
    """Return an attribute as text, empty where it is missing or cannot be read."""
    try:
        value = ds.get(keyword)
    except Exception:  # as in `items`
        return ""
    return "" if value is None else str(value).strip(" \0")


def code(ds: Dataset, keyword: str = "ConceptNameCodeSequence") -> str:
    """Return the code value of a concept; empty where there is none."""
    for item in items(ds, keyword):
        return text(item, "CodeValue") or text(item, "LongCodeValue")
    return ""


def meaning(ds: Dataset, keyword: str = "ConceptNameCodeSequence") -> str:
    """Return the meaning of a concept; empty where there is none."""
    for item in items(ds, keyword):
        return text(item, "CodeMeaning")
    return ""


def children(ds: Dataset) -> list[Dataset]:
    """Return the content items of the next level."""
    return items(ds, "ContentSequence")


def below(ds: Dataset, depth: int = 0) -> Iterator[Dataset]:
    """Yield all content items below one, in document order."""
    if depth >= DEEPEST:
        return
    for item in children(ds):
        yield item
        yield from below(item, depth + 1)


def number(item: Dataset) -> tuple[float, str] | None:
    """Return the value and the unit (its code) of a NUM item; None if it states none that is finite and not negative.

    Of several values the first counts: devices list the tube's voltage for every pulse.
    """
    for measured in items(item, "MeasuredValueSequence"):
        value = text(measured, "NumericValue").strip("[]").split(",")[0].split("\\")[0].strip(" '\"")
        try:
            found = float(value)
        except ValueError:
            return None
        if not math.isfinite(found) or found < 0:
            return None
        return found, code(measured, "MeasurementUnitsCodeSequence")
    return None
