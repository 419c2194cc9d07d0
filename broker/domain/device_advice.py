"""What is found out about a device: why it does or does not see an order, and which settings its messages suggest.

Values only; codes are put into words by whoever tells them (the screens in Russian, the command line in English).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from broker.domain.devices import Device


@dataclass(frozen=True, slots=True)
class Verdict:
    """One reason for or against an order being on a device's list.

    `key` is what was judged: a rule (`approved`, `state`, `station`, …) or the keyword of a matching key. One that is
    not `ok` keeps the order from the list, unless it does not `decide` and only explains.
    """

    key: str
    ok: bool
    code: str
    details: Mapping[str, str] = field(default_factory=dict)
    decides: bool = True


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Something learned from a device's messages; with a `field` it is a setting of Device that should be `value`."""

    code: str
    details: Mapping[str, str] = field(default_factory=dict)
    field: str = ""
    value: str | bool = ""


def sees(verdicts: Sequence[Verdict]) -> bool:
    """Say whether a device has the order on its list, by the verdicts on it."""
    return all(verdict.ok for verdict in verdicts if verdict.decides)


@dataclass(frozen=True, slots=True)
class Explanation:
    """An order for a device: by which query it was judged, and how."""

    device: Device
    asked_at: datetime | None  # UTC, of its latest real query; None: judged by a usual one
    verdicts: tuple[Verdict, ...]

    @property
    def seen(self) -> bool:
        """Whether the device has the order on its list when it asks so."""
        return sees(self.verdicts)
