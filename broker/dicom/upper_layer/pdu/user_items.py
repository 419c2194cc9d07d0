"""The sub-items of user information (PS3.8 Annex D, PS3.7 Annex D.3.3) as values, read and written.

A type that is not here is not read: PS3.8 9.3.1 has receivers ignore it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

_uint16 = struct.Struct(">H")
_pair = struct.Struct(">HH")
_uint32 = struct.Struct(">L")


class MaximumLength(NamedTuple):
    """51H (PS3.8 D.1): the longest P-DATA-TF, in bytes behind its header, that the sender receives; 0: any."""

    length: int


class ImplementationClassUid(NamedTuple):
    """52H (PS3.7 D.3.3.2.1)."""

    uid: str


class AsynchronousOperations(NamedTuple):
    """53H (PS3.7 D.3.3.3): operations at a time; 0: any number."""

    invoked: int
    performed: int


class RoleSelection(NamedTuple):
    """54H (PS3.7 D.3.3.4): the roles that the requestor would take for a SOP class."""

    sop_class_uid: str
    scu: bool
    scp: bool


class ImplementationVersionName(NamedTuple):
    """55H (PS3.7 D.3.3.2.3)."""

    name: str  # 1 to 16 characters


class ExtendedNegotiation(NamedTuple):
    """56H (PS3.7 D.3.3.5)."""

    sop_class_uid: str
    information: bytes


class CommonExtendedNegotiation(NamedTuple):
    """57H (PS3.7 D.3.3.6)."""

    sop_class_uid: str
    service_class_uid: str
    related_sop_class_uids: tuple[str, ...]


class UserIdentity(NamedTuple):
    """58H (PS3.7 D.3.3.7.1)."""

    type: int  # 1 user name, 2 user name and passcode, 3 Kerberos ticket, 4 SAML assertion, 5 JSON Web Token
    response_requested: bool
    primary: bytes
    secondary: bytes


class UserIdentityResponse(NamedTuple):
    """59H (PS3.7 D.3.3.7.2)."""

    response: bytes


UserItem = (
    MaximumLength
    | ImplementationClassUid
    | AsynchronousOperations
    | RoleSelection
    | ImplementationVersionName
    | ExtendedNegotiation
    | CommonExtendedNegotiation
    | UserIdentity
    | UserIdentityResponse
)


# ---- reading: a sub-item's bytes behind its header; ValueError and struct.error where they are not one ----


def text(data: bytes) -> str:
    """Return a UID or a name without its padding; raise ValueError where nothing is left, or it is not ASCII."""
    found = data.decode("ascii").strip(" \0")
    if not found:
        raise ValueError("an empty text")
    return found


def _flag(byte: int) -> bool:
    if byte > 1:
        raise ValueError("a flag that is neither 0 nor 1")
    return bool(byte)


def _counted(data: bytes, at: int) -> tuple[bytes, int]:
    """Return a field whose length stands before it, and where it ends."""
    (length,) = _uint16.unpack_from(data, at)
    end = at + 2 + length
    if end > len(data):
        raise ValueError("a field that is longer than its item")
    return data[at + 2 : end], end


def _ended(data: bytes, at: int) -> None:
    if at != len(data):
        raise ValueError("bytes behind the last field")


def _read_role(data: bytes) -> RoleSelection:
    uid, at = _counted(data, 0)
    _ended(data, at + 2)
    return RoleSelection(text(uid), _flag(data[at]), _flag(data[at + 1]))


def _read_extended(data: bytes) -> ExtendedNegotiation:
    uid, at = _counted(data, 0)
    return ExtendedNegotiation(text(uid), data[at:])


def _read_common(data: bytes) -> CommonExtendedNegotiation:
    uid, at = _counted(data, 0)
    service, at = _counted(data, at)
    related, at = _counted(data, at)
    _ended(data, at)
    uids: list[str] = []
    within = 0
    while within < len(related):
        each, within = _counted(related, within)
        uids.append(text(each))
    return CommonExtendedNegotiation(text(uid), text(service), tuple(uids))


def _read_identity(data: bytes) -> UserIdentity:
    kind, response = struct.unpack_from("BB", data)
    primary, at = _counted(data, 2)
    secondary, at = _counted(data, at)
    _ended(data, at)
    return UserIdentity(kind, _flag(response), primary, secondary)


def _read_identity_response(data: bytes) -> UserIdentityResponse:
    response, at = _counted(data, 0)
    _ended(data, at)
    return UserIdentityResponse(response)


READERS: dict[int, Callable[[bytes], UserItem]] = {
    0x51: lambda data: MaximumLength(*_uint32.unpack(data)),
    0x52: lambda data: ImplementationClassUid(text(data)),
    0x53: lambda data: AsynchronousOperations(*_pair.unpack(data)),
    0x54: _read_role,
    0x55: lambda data: ImplementationVersionName(text(data)),
    0x56: _read_extended,
    0x57: _read_common,
    0x58: _read_identity,
    0x59: _read_identity_response,
}


# ---- writing ----


def _count(data: bytes) -> bytes:
    return _uint16.pack(len(data)) + data


def write(item: UserItem) -> tuple[int, bytes]:
    """Return a sub-item's type, and its bytes behind the header."""
    match item:
        case MaximumLength(length):
            return 0x51, _uint32.pack(length)
        case ImplementationClassUid(uid):
            return 0x52, uid.encode("ascii")
        case AsynchronousOperations(invoked, performed):
            return 0x53, _pair.pack(invoked, performed)
        case RoleSelection(uid, scu, scp):
            return 0x54, _count(uid.encode("ascii")) + bytes((scu, scp))
        case ImplementationVersionName(name):
            return 0x55, name.encode("ascii")
        case ExtendedNegotiation(uid, information):
            return 0x56, _count(uid.encode("ascii")) + information
        case CommonExtendedNegotiation(uid, service, related):
            within = b"".join(_count(each.encode("ascii")) for each in related)
            return 0x57, _count(uid.encode("ascii")) + _count(service.encode("ascii")) + _count(within)
        case UserIdentity(kind, response_requested, primary, secondary):
            return 0x58, bytes((kind, response_requested)) + _count(primary) + _count(secondary)
        case UserIdentityResponse(response):
            return 0x59, _count(response)
