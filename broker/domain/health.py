"""The results of the periodic checks. Values only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One part of the clinic: its name (`database`, `dicom`, `bus`, `pacs`), whether it works, and how (English)."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Health:
    """All parts together."""

    checks: tuple[Check, ...] = ()

    @property
    def ok(self) -> bool:
        """Return True if everything works."""
        return all(check.ok for check in self.checks)
