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
    organisation: str = ""  # our own GUID; empty: there is no bus, so nobody can be sent to another clinic

    def procedure(self, code: str | None) -> ProcedureType | None:
        """Give a procedure by its code."""
        return next((each for each in self.procedures if each.code == code), None)

    def suitable(self, procedure: ProcedureType | None) -> list[Device]:
        """List the devices that can do it, the likeliest first: where it is usually done, else whose name is like."""
        if procedure is None:
            return list(self.devices)
        fitting = [each for each in self.devices if each.modality == procedure.modality]
        usual = self.usual.get(procedure.code)
        return sorted(fitting, key=lambda each: (each.ae_title != usual, -_likeness(each.name, procedure.name)))

    def device(self, procedure: ProcedureType | None, ae_title: str | None) -> Device | None:
        """Give the device with this AE title if it can do it, else the likeliest one that can."""
        suitable = self.suitable(procedure)
        return next((each for each in suitable if each.ae_title == ae_title), None) or next(iter(suitable), None)

    def snils_of(self, referrer: str) -> str:
        """Give the СНИЛС of a doctor who referred before, by how `person` writes the doctor."""
        return next(
            (snils for name, position, snils in self.referrers if name_and_position(name, position) == referrer), ""
        )


def device_place(device: Device) -> str:
    """Write a device with its room: «Флюорограф, каб. 12»."""
    return f"{device.name}, {device.room}" if device.room else device.name


def name_and_position(name: str, position: str) -> str:
    return f"{name}, {position}" if position else name


def _likeness(one: str, other: str) -> int:
    """Count the letters with which both begin."""
    count = 0
    for left, right in zip(names.fold(one), names.fold(other), strict=False):
        if left != right:
            break
        count += 1
    return count
