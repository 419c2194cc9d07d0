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

    @property
    def consent_said_on(self) -> date | None:
        """The day of what the patient has last said about the consent; None: was not asked."""
        return self.consent_withdrawn_on or self.consent_on


@dataclass(frozen=True, slots=True)
class FormerNumber:
    """A СНИЛС or policy that a correction of a card has put out of force, and that was the patient's."""

    kind: str  # `snils` or `policy`
    number: str
    until: date


NO_DETAILS = PatientDetails()


def combine(surviving: PatientDetails, merged: PatientDetails) -> PatientDetails:
    """Return what is known of one person who had two cards: of the consent what was said last, in doubt that it was
    withdrawn; of the rest what the surviving card has, else the other.
    """
    said = max(
        (each for each in (surviving, merged) if each.consent_said_on),
        key=lambda each: (each.consent_said_on, each.is_consent_withdrawn),
        default=NO_DETAILS,
    )
    return PatientDetails(
        surviving.address or merged.address,
        surviving.passport or merged.passport,
        said.consent_on,
        said.consent_withdrawn_on,
    )
