"""Templates of reports: texts that a reader of a procedure begins with. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from broker.domain.reading.opinions import Finding


@dataclass(frozen=True, slots=True)
class ReportTemplate:
    """Texts of a report; with `finding`, those that the key of this finding writes."""

    procedure_code: str
    name: str
    owner: str = ""  # login; "": the clinic's
    finding: Finding | None = None
    description: str = ""
    conclusion: str = ""
    recommendations: str = ""
    revision: int = 0
    id: int | None = None
