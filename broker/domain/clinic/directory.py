"""An entry of an imported directory, and how its name is searched. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from broker.domain.patients import names


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a directory; `details` (name -> text) depend on the kind of directory."""

    code: str
    name: str
    details: Mapping[str, str] = field(default_factory=dict)


def search_key(text: str) -> str:
    """Return a name in the form in which it is searched: folded words, each after one blank."""
    return "".join(f" {word}" for word in re.sub(r"[\W_]", " ", names.fold(text)).split())


def entry_key(entry: Entry) -> str:
    """Return the key by which an entry is found: its name, and its full name if it has one."""
    return search_key(f"{entry.name} {entry.details.get('full', '')}")
