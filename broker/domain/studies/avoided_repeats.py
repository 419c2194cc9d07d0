"""Studies that were not ordered because an earlier one was shown: they are counted, with the dose that they saved."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AvoidedRepeat:
    """A study that somebody was about to order; `effective_dose` (mSv) is that of the study it would have repeated."""

    submission_id: str  # of the form: the same one again counts once, and not at all once its order is written
    patient_id: str
    procedure_code: str
    modality: str
    repeats: str  # the earlier studies, for the audit trail
    effective_dose: float | None = None  # None: not known


@dataclass(frozen=True, slots=True)
class AvoidedCount:
    """The avoided repeats of one modality in a period."""

    modality: str
    count: int
    unknown: int  # of how many the dose is not known: the sum is at least so much
    millisieverts: float
