"""What a card says beside the patient's data: of no use to a device, and not sent with a referral. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class PatientDetails:
    """Address, passport, and whether the patient agrees that data go to the region."""

    address: str = ""
    passport: str = ""
    consent_on: date | None = None  # None: the patient was not asked
    consent_withdrawn_on: date | None = None

    @property
    def is_consent_withdrawn(self) -> bool:
        """Return True if the patient has withdrawn the consent and has not given it again since."""
        return self.consent_withdrawn_on is not None


@dataclass(frozen=True, slots=True)
class FormerNumber:
    """A СНИЛС or policy that a correction of a card has put out of force, and that was the patient's."""

    kind: str  # `snils` or `policy`
    number: str
    until: date


NO_DETAILS = PatientDetails()
