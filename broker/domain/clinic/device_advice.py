"""Advice on a device: why it does or does not see an order, and which settings its messages suggest.

Values only; the texts of the codes are in `ui.devices.advice` (Russian) and `dicom.worklist.rule_texts` (English).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from broker.domain.clinic.devices import Device


@dataclass(frozen=True, slots=True)
class RuleResult:
    """The result of one rule: a reason for or against an order being on a device's worklist.

    `key` is the rule (`approved`, `state`, `station`, …) or the keyword of a matching key. One that is not `ok` keeps
    the order off the list, unless it does not `decide` and only explains. `code` and `details` make its text.
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


def is_seen(results: Sequence[RuleResult]) -> bool:
    """Return True if a device has the order on its list by these results."""
    return all(each.ok for each in results if each.decides)


@dataclass(frozen=True, slots=True)
class Explanation:
    """An order for a device: the result of every rule."""

    device: Device
    asked_at: datetime | None  # UTC, of its latest real query; None: a typical query was used
    results: tuple[RuleResult, ...]

    @property
    def seen(self) -> bool:
        """True if the device has the order in its worklist with this query."""
        return is_seen(self.results)
