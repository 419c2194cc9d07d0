"""A message on the wire as lines that a person can read. Pure text in, pure text out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydicom.datadict import keyword_for_tag

from broker.domain.studies.step_rules import PACKED, packed_count

DEEPEST = 12  # nested sequences that are still written out
LONGEST = 300  # characters of one value
MOST = 400  # lines


def mpps(text: str) -> str:
    """Return a message of the DICOM JSON model (PS3.18 F.2), one attribute a line: «(0040,0252) Keyword  VALUE».

    A text that is not such a message is returned as it is.
    """
    try:
        dataset = json.loads(text)
    except ValueError:
        return text
    if not isinstance(dataset, dict):
        return text
    lines = list(_lines(dataset, 0))
    more = [f"… и ещё строк: {len(lines) - MOST}"] if len(lines) > MOST else []
    return "\n".join(lines[:MOST] + more)


def _lines(dataset: dict[str, Any], depth: int) -> Iterator[str]:
    blank = "  " * depth
    for tag, attribute in sorted(dataset.items()):
        values = attribute.get("Value", []) if isinstance(attribute, dict) else [attribute]
        values = values if isinstance(values, list) else [values]
        name = f"{blank}({tag[:4]},{tag[4:]}) {_keyword(tag)}".rstrip()
        if isinstance(attribute, dict) and attribute.get(PACKED):
            yield f"{name}  <{packed_count(attribute[PACKED])} снимков>"
        elif isinstance(attribute, dict) and attribute.get("vr") == "SQ":
            yield name
            for item in values:
                if isinstance(item, dict) and depth < DEEPEST:
                    yield from _lines(item, depth + 1)
                    continue
                yield f"{blank}  …"
        elif isinstance(attribute, dict) and ("InlineBinary" in attribute or "BulkDataURI" in attribute):
            yield f"{name}  <двоичные данные>"
        else:
            value = "\\".join(_value(value) for value in values)
            yield f"{name}  {value[:LONGEST]}{'…' if len(value) > LONGEST else ''}".rstrip()


def _value(value: Any) -> str:
    """Return one value; a person name is an object of component groups."""
    if isinstance(value, dict):
        return "=".join(str(value.get(group, "")) for group in ("Alphabetic", "Ideographic", "Phonetic")).rstrip("=")
    return "" if value is None else str(value)


def _keyword(tag: str) -> str:
    try:
        return keyword_for_tag(int(tag, 16))
    except ValueError:
        return ""  # not in the dictionary: a private element
