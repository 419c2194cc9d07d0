"""PDUs as bytes (PS3.8 9.3): headers judged before anything is kept, P-DATA-TF split and built.

A-ASSOCIATE PDUs are `negotiation`'s.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from broker.dicom.upper_layer.limits import LARGEST_PDU, LARGEST_REQUEST
from broker.dicom.upper_layer.table import Event

HEADER = 6  # bytes
ASSOCIATE_RQ, P_DATA = 0x01, 0x04
EVENTS = {
    0x01: Event.ASSOCIATE_RQ,
    0x02: Event.ASSOCIATE_AC,
    0x03: Event.ASSOCIATE_RJ,
    0x04: Event.DATA,
    0x05: Event.RELEASE_RQ,
    0x06: Event.RELEASE_RP,
    0x07: Event.ABORT,
}
_FIXED = {0x03: 4, 0x05: 4, 0x06: 4, 0x07: 4}  # lengths, PS3.8 9.3.4 to 9.3.8
RELEASE_RP = b"\x06\x00\x00\x00\x00\x04\x00\x00\x00\x00"
COMMAND, LAST = 1, 2  # bits of a message control header (PS3.8 E.2)
_PDV_HEADER = 6  # length, presentation context, message control header
SMALLEST = _PDV_HEADER + 2  # of a peer's maximum length: an even number of bytes has to fit (PS3.8 D.1)

_head = struct.Struct(">BxL")
_pdv = struct.Struct(">LBB")
_both = struct.Struct(">BxLLBB")


class Invalid(ValueError):
    """A PDU that breaks PS3.8; `reason` is that of the A-ABORT (PS3.8 9.3.8)."""

    def __init__(self, words: str, reason: int = 6) -> None:  # 6: invalid PDU parameter value
        super().__init__(words)
        self.reason = reason


def header(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """Read a PDU's type and the length of what follows its header; raise Invalid where that will not be read."""
    kind, length = _head.unpack_from(data, at)
    if kind == P_DATA:
        if length > LARGEST_PDU:
            raise Invalid(f"a PDU of {length} bytes")
    elif kind not in EVENTS:
        raise Invalid(f"no PDU begins with {kind:02X}", reason=1)  # unrecognised PDU
    elif kind in _FIXED:
        if length != _FIXED[kind]:
            raise Invalid(f"a PDU of type {kind:02X} and {length} bytes")
    elif length > LARGEST_REQUEST:
        raise Invalid(f"a PDU of type {kind:02X} and {length} bytes")
    return kind, length


def values(body: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Split what follows a P-DATA-TF's header: (presentation context, message control header, fragment)."""
    at, end = 0, len(body)
    if not end:
        raise Invalid("a P-DATA-TF without a value")
    while at < end:
        if end - at < _PDV_HEADER:
            raise Invalid("a P-DATA-TF ends within a header")
        length, context, control = _pdv.unpack_from(body, at)
        if length < 2 or length > end - at - 4:
            raise Invalid(f"a presentation data value of {length} bytes, {end - at - 4} are left")
        yield context, control, body[at + _PDV_HEADER : at + 4 + length]
        at += 4 + length


def message(context: int, command: bytes, dataset: bytes | None, most: int) -> bytes:
    """Build the P-DATA-TFs of a message for a peer that takes PDUs of `most` bytes (0: of any).

    A command and its dataset share a PDU where that fits (PS3.8 9.3.5.1 allows several values).
    """
    length = len(command) + _PDV_HEADER
    if dataset is None:
        if not most or length <= most:
            return _both.pack(P_DATA, length, len(command) + 2, context, COMMAND | LAST) + command
        return b"".join(_fragments(context, command, COMMAND, most))
    whole = length + len(dataset) + _PDV_HEADER
    if whole <= (most or LARGEST_PDU):
        return b"".join(
            (
                _both.pack(P_DATA, whole, len(command) + 2, context, COMMAND | LAST),
                command,
                _pdv.pack(len(dataset) + 2, context, LAST),
                dataset,
            )
        )
    return b"".join((*_fragments(context, command, COMMAND, most), *_fragments(context, dataset, 0, most)))


def _fragments(context: int, data: bytes, control: int, most: int) -> Iterable[bytes]:
    room = ((most or LARGEST_PDU) - _PDV_HEADER) & ~1  # fragments are even (PS3.8 D.1)
    for at in range(0, len(data) or 1, room):
        part = data[at : at + room]
        last = LAST if at + room >= len(data) else 0
        yield _both.pack(P_DATA, len(part) + _PDV_HEADER, len(part) + 2, context, control | last) + part


def abort(source: int, reason: int = 0) -> bytes:
    """Build an A-ABORT: source 0 is the service user, 2 the service provider (PS3.8 9.3.8)."""
    return b"\x07\x00\x00\x00\x00\x04\x00\x00" + bytes((source, reason if source == 2 else 0))


def reject(result: int, source: int, reason: int) -> bytes:
    """Build an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return b"\x03\x00\x00\x00\x00\x04\x00" + bytes((result, source, reason))
