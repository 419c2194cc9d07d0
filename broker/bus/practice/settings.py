"""The settings of a practice bus: callers, strictness, random faults."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

PRACTICE_TOKEN = "6f1c2f0e-5a3b-4c7d-9e21-0b8d4a7f3c55"
PRACTICE_TOKEN_2 = "d27a94b1-83c6-4f5e-a0b9-6e3f1c8d7720"
PRACTICE_TOKEN_3 = "0f5b7d3c-26a8-4e91-b7d4-93c1e5a80f64"
PRACTICE_ORGANISATION = "3b9d1c6a-7e42-4f0b-8a55-1d2c3e4f5a61"
PRACTICE_ORGANISATION_2 = "c84e7f12-0d39-4b6e-9c7a-5f6e7d8c9b02"
PRACTICE_ORGANISATION_3 = "9a60f3d8-51c7-4e2b-8f1d-7b0c2a9e6d13"


@dataclass(frozen=True, slots=True)
class PracticeSettings:
    """The settings of one practice bus. Raise ValueError if they are invalid."""

    token: str = PRACTICE_TOKEN  # of the first organisation …
    token_2: str = PRACTICE_TOKEN_2  # … of the second …
    token_3: str = PRACTICE_TOKEN_3  # … and of the third
    organisations: Sequence[str] = (PRACTICE_ORGANISATION, PRACTICE_ORGANISATION_2, PRACTICE_ORGANISATION_3)  # GUIDs
    clinics: Mapping[str, str] = field(default_factory=dict)  # further ones: token -> GUID
    directory: Path | None = None  # of its journal; None: in memory only
    accession_format: str = "ODII{:010d}"  # gets the number of the order
    statuses: Sequence[str] = ("cancelled",)  # that $updatestatus takes
    answer_urn: bool = False  # the answered fullUrl is "urn:uuid:<guid>", as some deployments have it
    # Accept missing values that need the official dictionaries: body site, diagnosis, the doctor and the codes of a
    # position.
    lenient: bool = False
    # What is spoken here: n3, or r4 as FHIR has it. Empty: r4 with clients that name FHIR's media type, else n3.
    dialect: str = ""
    latency: float = 0.0  # seconds that every call takes longer
    fault_rate: float = 0.0  # probability of one of RANDOM_FAULTS, 0 to 1 …
    seed: int | None = None  # … the same seed, the same faults
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)  # aware, UTC

    def __post_init__(self) -> None:
        if len(self.callers) < len(self._named):
            raise ValueError("practice bus: two organisations cannot have one token")
        if self.dialect not in ("", "n3", "r4"):
            raise ValueError(f"practice bus: unknown dialect {self.dialect}, known are n3 and r4")
        if not (math.isfinite(self.latency) and self.latency >= 0):
            raise ValueError(f"practice bus: latency {self.latency} is not a number of seconds")

    @property
    def callers(self) -> dict[str, str]:
        """Return who calls with which token: token -> GUID."""
        return dict(self._named)

    @property
    def registered(self) -> list[str]:
        """Return the GUIDs of all organisations, in the order in which they are numbered."""
        return list(dict.fromkeys([*self.organisations, *self.clinics.values()]))

    @property
    def _named(self) -> list[tuple[str, str]]:
        tokens = self.token, self.token_2, self.token_3
        return [*zip(tokens, self.organisations, strict=False), *self.clinics.items()]
