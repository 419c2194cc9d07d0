"""The actors that change something: people with their roles, devices, the bus, the program itself. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a person does in the clinic."""

    REGISTRAR = "registrar"
    TECHNOLOGIST = "technologist"
    RADIOLOGIST = "radiologist"
    ADMINISTRATOR = "administrator"


class ActorKind(StrEnum):
    """The kind of an actor."""

    PERSON = "person"
    DEVICE = "device"
    BUS = "bus"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Actor:
    """A person, device or program that changes something; written to the audit trail.

    `session` is the hash of a person's web session: a use case checks that it has not ended. It is "" for an actor
    without one (command line, device, bus).
    """

    kind: ActorKind
    name: str  # login, AE title, or the name of a part of the program
    title: str = ""  # the name that people know: full name, device name
    roles: frozenset[Role] = frozenset()
    session: str = ""
