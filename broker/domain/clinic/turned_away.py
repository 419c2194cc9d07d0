"""Why a device that called was turned away, for the person who sets it up."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class TurnedAwayReason(StrEnum):
    """What came between a device and its association."""

    UNKNOWN = "unknown"  # its AE title is not approved
    ADDRESS = "address"  # its AE title belongs to another address
    UNTITLED = "untitled"  # it calls by no AE title, or one that cannot be one; details: what came
    CALLED = "called"  # it calls another AE title than ours; details: which
    SERVICE = "service"  # it asks for nothing that is offered; details: for what
    TRANSFER_SYNTAX = "transfer_syntax"  # it offers no transfer syntax that is taken; details: which it does
    PROTOCOL = "protocol"  # its request is of another protocol version, application context or PDU length
    UNREADABLE = "unreadable"  # its request breaks off, or its lengths do not add up
    FULL = "full"  # it holds as many associations as it may


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """A reason, with its details: an AE title, services (as below, or a SOP Class UID), transfer syntax UIDs."""

    reason: TurnedAwayReason
    details: tuple[str, ...] = ()


# The beginning of a SOP Class UID (PS3.6 Annex A) -> the service; the first that fits counts.
_SERVICES = {
    "1.2.840.10008.5.1.4.1.1.": "storage",
    "1.2.840.10008.5.1.4.1.2.": "query",
    "1.2.840.10008.1.20.": "commitment",
    "1.2.840.10008.5.1.1.": "print",
    "1.2.840.10008.5.1.4.33": "availability",
    "1.2.840.10008.5.1.4.34.": "procedure steps",
}


def service(sop_class_uid: str) -> str:
    """Return the service that a SOP class belongs to: storage, query, …; the UID itself for any other."""
    return next((name for uid, name in _SERVICES.items() if sop_class_uid.startswith(uid)), sop_class_uid)
