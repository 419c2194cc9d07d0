"""DIMSE messages (PS3.7): put together from the fragments of P-DATA-TFs, bounded; command sets read and written.

Command sets are always Implicit VR Little Endian (PS3.7 6.3.1) and have few elements, so they are read and written
here; tests hold this against pynetdicom's classes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from pydicom.tag import BaseTag

from broker.dicom.upper_layer.limits import LARGEST_COMMAND
from broker.dicom.upper_layer.pdu import COMMAND, LAST, Invalid

# Command Field (0000,0100), PS3.7 annex E.1; a response has its request's and this bit.
RESPONSE = 0x8000
C_STORE, C_GET, C_FIND, C_MOVE, C_ECHO, C_CANCEL = 0x0001, 0x0010, 0x0020, 0x0021, 0x0030, 0x0FFF
N_EVENT_REPORT, N_GET, N_SET, N_ACTION, N_CREATE, N_DELETE = 0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150
REQUESTS = {
    C_STORE, C_GET, C_FIND, C_MOVE, C_ECHO, C_CANCEL,
    N_EVENT_REPORT, N_GET, N_SET, N_ACTION, N_CREATE, N_DELETE,
}  # fmt: skip
NO_DATASET = 0x0101  # Command Data Set Type (0000,0800)

# Elements of group 0000.
AFFECTED_CLASS, REQUESTED_CLASS, FIELD, ID, ANSWERED_ID, DATASET_TYPE = 0x0002, 0x0003, 0x0100, 0x0110, 0x0120, 0x0800
STATUS, OFFENDING, COMMENT, ERROR_ID = 0x0900, 0x0901, 0x0902, 0x0903
AFFECTED_INSTANCE, REQUESTED_INSTANCE, TAGS = 0x1000, 0x1001, 0x1005

_element = struct.Struct("<HHL")
_short = struct.Struct("<H")


@dataclass(frozen=True, slots=True)
class Command:
    """A request's command set."""

    field: int
    id: int  # Message ID; of a C-CANCEL that of the message that is to end
    has_dataset: bool
    sop_class: str = ""  # Affected or Requested SOP Class UID
    instance: str = ""  # … SOP Instance UID
    tags: tuple[BaseTag, ...] = ()  # Attribute Identifier List


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message: its command set, and its dataset still encoded."""

    context: int
    command: Command
    dataset: bytes


def read_command(data: bytes) -> Command:
    """Read a request's command set; raise Invalid where it is none, or a response."""
    elements = _elements(data)
    field = _number(elements, FIELD)
    if field not in REQUESTS:
        raise Invalid(f"no request has the command field {field:04X}")
    return Command(
        field,
        _number(elements, ANSWERED_ID if field == C_CANCEL else ID),
        _number(elements, DATASET_TYPE) != NO_DATASET,
        _text(elements.get(AFFECTED_CLASS) or elements.get(REQUESTED_CLASS, b"")),
        # PS3.7 10.1: a request names what it affects, or what it asks for.
        _text(elements.get(AFFECTED_INSTANCE) or elements.get(REQUESTED_INSTANCE, b"")),
        _tags(elements.get(TAGS, b"")),
    )


def write_command(elements: Iterable[tuple[int, bytes]]) -> bytes:
    """Write a command set: (element of group 0000, value) in ascending order, the group length is added."""
    body = b"".join(_element.pack(0, element, len(value)) + value for element, value in elements)
    return _element.pack(0, 0, 4) + struct.pack("<L", len(body)) + body


def us(number: int) -> bytes:
    """Write a number of two bytes."""
    return _short.pack(number)


def ui(uid: str) -> bytes:
    """Write a UID, padded to an even length (PS3.5 9.1)."""
    raw = uid.encode("ascii", "replace")
    return raw + b"\0" if len(raw) & 1 else raw


def lo(text: str) -> bytes:
    """Write a text of the default repertoire, padded to an even length."""
    raw = text.encode("ascii", "replace")
    return raw + b" " if len(raw) & 1 else raw


def at(tags: Iterable[int]) -> bytes:
    """Write tags."""
    return b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in tags)


def _elements(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at, end = 0, len(data)
    while at < end:
        if end - at < 8:
            raise Invalid("a command set that ends within an element")
        group, element, length = _element.unpack_from(data, at)
        at += 8
        if group or length > end - at:
            raise Invalid("a command set that cannot be read")
        found[element] = data[at : at + length]
        at += length
    return found


def _number(elements: dict[int, bytes], element: int) -> int:
    value = elements.get(element, b"")
    if len(value) != 2:
        raise Invalid(f"a command set without (0000,{element:04X})")
    return int(_short.unpack(value)[0])


def _text(value: bytes) -> str:
    return value.decode("latin_1").strip(" \0")


def _tags(value: bytes) -> tuple[BaseTag, ...]:
    if len(value) % 4:
        raise Invalid("an Attribute Identifier List that is no list of tags")
    return tuple(BaseTag(group << 16 | element) for group, element in struct.iter_unpack("<HH", value))


class Collector:
    """Puts one message after the other together from an association's fragments, within `most` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._command: Command | None = None
        self._parts: list[bytes] = []
        self._context = 0
        self.size = 0  # bytes of the unfinished message, with the headers of its fragments

    @property
    def within(self) -> bool:
        """Say whether a message has begun and not ended."""
        return self.size > 0

    def add(self, context: int, control: int, fragment: bytes) -> Message | None:
        """Take a fragment; give the message where that was its last. Raise Invalid where it may not follow."""
        if self.size and context != self._context:
            raise Invalid("a message in two presentation contexts")
        if bool(control & COMMAND) is not (self._command is None):
            raise Invalid("a fragment that may not follow")
        self._context = context
        self.size += len(fragment) + 6
        if self.size > (LARGEST_COMMAND if self._command is None else self._most):
            raise Invalid("a message that is too long")
        if not control & LAST:
            # Each piece costs Python far more than the few bytes that it may have.
            if self._parts and len(self._parts[-1]) + len(fragment) < 4096:
                self._parts[-1] += fragment
            else:
                self._parts.append(fragment)
            return None
        whole = b"".join((*self._parts, fragment)) if self._parts else fragment
        self._parts.clear()
        if self._command is None:
            command = read_command(whole)
            if command.has_dataset:
                self._command = command
                return None
            whole = b""
        else:
            command = self._command
        self._command, self.size = None, 0
        return Message(context, command, whole)
