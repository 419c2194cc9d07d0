"""A line of an imported directory. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a directory; `details` are what its kind has besides code and name, texts."""

    code: str
    name: str
    details: Mapping[str, str] = field(default_factory=dict)
