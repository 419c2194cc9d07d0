"""What the selects of a referral offer: procedures, devices that can do them, doctors who referred before. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from broker.domain import names
from broker.domain.devices import Device, ProcedureType


@dataclass(frozen=True)
class ReferralOptions:
    """What the selects offer."""

    procedures: Sequence[ProcedureType]
    devices: Sequence[Device]
    referrers: Sequence[tuple[str, str, str]]  # full name, position, СНИЛС
    usual: Mapping[str, str]  # procedure code -> AE title where it was planned last
    organisation: str = ""  # the clinic's own GUID; empty without a bus: nobody can be referred to another clinic

    def procedure(self, code: str | None) -> ProcedureType | None:
        """Return the procedure with this code, or None."""
        return next((each for each in self.procedures if each.code == code), None)

    def suitable(self, procedure: ProcedureType | None) -> list[Device]:
        """Return the devices of the procedure's modality: the usual one first, then by likeness of names."""
        if procedure is None:
            return list(self.devices)
        fitting = [each for each in self.devices if each.modality == procedure.modality]
        usual = self.usual.get(procedure.code)
        return sorted(fitting, key=lambda each: (each.ae_title != usual, -_likeness(each.name, procedure.name)))

    def device(self, procedure: ProcedureType | None, ae_title: str | None) -> Device | None:
        """Return the device with this AE title if it is suitable, else the likeliest suitable one, or None."""
        suitable = self.suitable(procedure)
        return next((each for each in suitable if each.ae_title == ae_title), None) or next(iter(suitable), None)

    def snils_of(self, referrer: str) -> str:
        """Return the СНИЛС of a doctor who referred before, as `name_and_position` writes one; empty if unknown."""
        return next(
            (snils for name, position, snils in self.referrers if name_and_position(name, position) == referrer), ""
        )


def name_and_position(name: str, position: str) -> str:
    return f"{name}, {position}" if position else name


def _likeness(one: str, other: str) -> int:
    """Return how many letters both begin with."""
    count = 0
    for left, right in zip(names.fold(one), names.fold(other), strict=False):
        if left != right:
            break
        count += 1
    return count
