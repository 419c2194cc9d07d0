"""What a report states besides its texts: the fields of form 34 (560н, appendix 34) that somebody has to type.

Kept as one JSON text with the version of the form, so that a report that was signed reads as it was signed when the
form has other fields one day. What the order, the device and the clinic know is not typed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

VERSION = 1
# The fields of version 1, in the order in which they are asked and printed.
FIELDS = (
    "purpose",
    "repeated",  # whether it is the first study of its kind
    "anamnesis",
    "contrast",  # agent, dose, way
    "complications",
    "anaesthesia",
    "limits",  # what made it hard to see
    "scale",
    "consultant",  # who was asked; this is no signature
    "remarks",
)
LONGEST = 2_000  # characters of a field


def pack(values: Mapping[str, str]) -> str:
    """Return the filled fields as they are kept; empty if none is. Equal values give equal texts."""
    filled = {name: values[name] for name in FIELDS if values.get(name)}
    return json.dumps({"version": VERSION} | filled, ensure_ascii=False) if filled else ""


def unpack(form: str) -> dict[str, str]:
    """Return the filled fields, in the order of `FIELDS`; those that this version does not know come last."""
    kept = json.loads(form) if form else {}
    known = {name: str(kept[name]) for name in FIELDS if name in kept}
    return known | {name: str(value) for name, value in kept.items() if name not in known and name != "version"}
