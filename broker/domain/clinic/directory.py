"""An entry of an imported directory. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a directory; `details` (name -> text) depend on the kind of directory."""

    code: str
    name: str
    details: Mapping[str, str] = field(default_factory=dict)
