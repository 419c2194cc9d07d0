"""Command sets (PS3.7 9.3, 10.3, Annex E) read and written, `strict` or as devices really send them.

Pure, under one law: what `read` returns, `write` writes so that it is read as the same value. Command sets are always
Implicit VR Little Endian (PS3.7 6.3.1). Of services that this program does not offer, what it takes to refuse them is
read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pydicom.tag import BaseTag

from broker.dicom.upper_layer.pdu.conformance import is_uid
from broker.dicom.upper_layer.pdu.types import InvalidPdu

# Command Field (0000,0100), PS3.7 annex E.1; a response has its request's and this bit.
RESPONSE = 0x8000
C_STORE, C_FIND, C_ECHO, C_CANCEL = 0x0001, 0x0020, 0x0030, 0x0FFF
N_GET, N_SET, N_ACTION, N_CREATE, N_DELETE = 0x0110, 0x0120, 0x0130, 0x0140, 0x0150
NORMALISED = 0x0100  # the bit of the N services
NO_DATASET, DATASET = (
    0x0101,
    0x0001,
)  # Command Data Set Type (0000,0800); any value but the first says that there is one

# Elements of group 0000.
_GROUP_LENGTH = 0x0000
_AFFECTED_SOP_CLASS_UID, _REQUESTED_SOP_CLASS_UID = 0x0002, 0x0003
_COMMAND_FIELD, _MESSAGE_ID, _MESSAGE_ID_BEING_RESPONDED_TO = 0x0100, 0x0110, 0x0120
_PRIORITY, _COMMAND_DATA_SET_TYPE = 0x0700, 0x0800
_STATUS, _OFFENDING_ELEMENT, _ERROR_COMMENT, _ERROR_ID = 0x0900, 0x0901, 0x0902, 0x0903
_AFFECTED_SOP_INSTANCE_UID, _REQUESTED_SOP_INSTANCE_UID = 0x1000, 0x1001
_ATTRIBUTE_IDENTIFIER_LIST = 0x1005
# PS3.7 10.3: these requests name what they ask for, all other messages what they affect.
_NAME_REQUESTED = {N_GET, N_SET, N_ACTION, N_DELETE}

_element = struct.Struct("<HHL")
_uint16 = struct.Struct("<H")
_uint32 = struct.Struct("<L")
_tag = struct.Struct("<HH")


class CommandSet(NamedTuple):
    """The command set of a request or a response; what the message does not have is None, or empty."""

    field: int  # Command Field
    message_id: int  # Message ID; of a response or a C-CANCEL-RQ that of the message it answers or ends
    has_dataset: bool
    sop_class_uid: str | None = None  # Affected or Requested, as the message has it
    sop_instance_uid: str | None = None
    attributes: tuple[BaseTag, ...] = ()  # Attribute Identifier List
    priority: int | None = None
    status: int | None = None
    offending_elements: tuple[BaseTag, ...] = ()
    error_comment: str | None = None
    error_id: int | None = None


# The elements of each message of the services that this program offers (PS3.7 9.3, 10.3), "?" marks optional ones; what
# explains a status is PS3.7 Annex C's.
_WHY = ("error_comment?", "error_id?")
FORMS: dict[int, tuple[str, ...]] = {
    C_ECHO: ("sop_class_uid",),
    C_ECHO | RESPONSE: ("sop_class_uid", "status", *_WHY),
    C_FIND: ("sop_class_uid", "priority"),
    C_FIND | RESPONSE: ("sop_class_uid", "status", "offending_elements?", *_WHY),
    C_STORE: ("sop_class_uid", "sop_instance_uid", "priority"),
    C_STORE | RESPONSE: ("sop_class_uid?", "sop_instance_uid?", "status", "offending_elements?", *_WHY),
    C_CANCEL: (),
    N_CREATE: ("sop_class_uid", "sop_instance_uid?"),
    N_CREATE | RESPONSE: ("sop_class_uid?", "sop_instance_uid?", "status", *_WHY),
    N_SET: ("sop_class_uid", "sop_instance_uid"),
    N_SET | RESPONSE: ("sop_class_uid?", "sop_instance_uid?", "status", "attributes?", *_WHY),
    N_GET: ("sop_class_uid", "sop_instance_uid", "attributes?"),
    N_GET | RESPONSE: ("sop_class_uid?", "sop_instance_uid?", "status", "attributes?", *_WHY),
}
_WITHOUT_DATASET = {C_ECHO, C_ECHO | RESPONSE, C_CANCEL, N_GET}
_OPTIONAL_FIELDS = CommandSet._fields[3:]


def problems(command: CommandSet) -> Iterator[str]:
    """Yield what breaks PS3.7 in a command set; nothing where it conforms."""
    form = FORMS.get(command.field)
    if form is None:
        yield f"no service here has the command field {command.field:04X}"
        return
    for name in _OPTIONAL_FIELDS:
        there = getattr(command, name) not in (None, ())
        if there and name not in form and f"{name}?" not in form:
            yield f"{name} where it does not belong"
        if not there and name in form:
            yield f"without {name}"
    if command.has_dataset and command.field in _WITHOUT_DATASET:
        yield "a dataset where none belongs"
    for uid in (command.sop_class_uid, command.sop_instance_uid):
        if uid is not None and not is_uid(uid):
            yield "a UID that is not one"
    if command.priority is not None and command.priority > 2:
        yield f"priority {command.priority}"
    comment = command.error_comment or ""
    if len(comment) > 64 or not comment.isascii() or not comment.isprintable() or "\\" in comment:
        yield "an Error Comment of more than 64 characters, or of others than the default repertoire's"


# ---- reading ----


def read(data: bytes, *, strict: bool = False) -> CommandSet:
    """Return the command set that these bytes are; raise InvalidPdu where they are not one.

    `strict` refuses what breaks PS3.7: elements out of order, doubled or unknown, a wrong group length, odd lengths,
    and what `problems` names. Without it a message needs its field, its ID and whether a dataset follows.
    """
    elements = _elements(data, strict)
    field = _number(elements, _COMMAND_FIELD)
    answers = field & RESPONSE or field == C_CANCEL
    if field == C_CANCEL and not strict and _MESSAGE_ID_BEING_RESPONDED_TO not in elements:
        answers = False  # devices name there what is to end as if it were a request
    explained = bool(field & RESPONSE)
    command = CommandSet(
        field,
        _number(elements, _MESSAGE_ID_BEING_RESPONDED_TO if answers else _MESSAGE_ID),
        _number(elements, _COMMAND_DATA_SET_TYPE) != NO_DATASET,
        # Devices name what they affect where they should name what they ask for, and the other way round.
        _text(elements.get(_AFFECTED_SOP_CLASS_UID) or elements.get(_REQUESTED_SOP_CLASS_UID, b"")),
        _text(elements.get(_AFFECTED_SOP_INSTANCE_UID) or elements.get(_REQUESTED_SOP_INSTANCE_UID, b"")),
        _tags(elements.get(_ATTRIBUTE_IDENTIFIER_LIST, b"")),
        _optional(elements, _PRIORITY),
        _number(elements, _STATUS) if explained else None,
        _tags(elements.get(_OFFENDING_ELEMENT, b"")) if explained else (),
        _text(elements.get(_ERROR_COMMENT, b"")) if explained else None,
        _optional(elements, _ERROR_ID) if explained else None,
    )
    if strict and (broken := next(problems(command), None)):
        raise InvalidPdu(f"a command set {broken}")
    return command


def _elements(data: bytes, strict: bool) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at, end, last = 0, len(data), -1
    while at < end:
        if end - at < 8:
            raise InvalidPdu("a command set that ends within an element")
        group, element, length = _element.unpack_from(data, at)
        at += 8
        if group or length > end - at:
            raise InvalidPdu("a command set that cannot be read")
        if strict and (element <= last or element not in _KNOWN or length & 1):
            raise InvalidPdu(f"a command set with (0000,{element:04X}) out of order, unknown, or of odd length")
        found[element] = data[at : at + length]
        at += length
        last = element
    if strict and found.get(_GROUP_LENGTH) != _uint32.pack(len(data) - 12):
        raise InvalidPdu("a command set with a wrong group length")
    return found


_KNOWN = {
    _GROUP_LENGTH, _AFFECTED_SOP_CLASS_UID, _REQUESTED_SOP_CLASS_UID, _COMMAND_FIELD, _MESSAGE_ID,
    _MESSAGE_ID_BEING_RESPONDED_TO, _PRIORITY, _COMMAND_DATA_SET_TYPE, _STATUS, _OFFENDING_ELEMENT, _ERROR_COMMENT,
    _ERROR_ID, _AFFECTED_SOP_INSTANCE_UID, _REQUESTED_SOP_INSTANCE_UID, _ATTRIBUTE_IDENTIFIER_LIST,
}  # fmt: skip


def _number(elements: dict[int, bytes], element: int) -> int:
    value = elements.get(element, b"")
    if len(value) != 2:
        raise InvalidPdu(f"a command set without (0000,{element:04X})")
    return int(_uint16.unpack(value)[0])


def _optional(elements: dict[int, bytes], element: int) -> int | None:
    """Return a number that a message may leave out; one of another length is none."""
    value = elements.get(element, b"")
    return int(_uint16.unpack(value)[0]) if len(value) == 2 else None


def _text(value: bytes) -> str | None:
    return value.decode("latin_1").strip(" \0") or None


def _tags(value: bytes) -> tuple[BaseTag, ...]:
    if len(value) % 4:
        raise InvalidPdu("a list of tags that is not one")
    return tuple(BaseTag(group << 16 | element) for group, element in _tag.iter_unpack(value))


# ---- writing ----


def write(command: CommandSet, *, strict: bool = True) -> bytes:
    """Return a command set's bytes, its group length first; raise ValueError where it breaks PS3.7 and `strict` is set.

    Off, what a device sent goes back to it as it is.
    """
    if strict and (broken := next(problems(command), None)):
        raise ValueError(f"a command set {broken}")
    field = command.field
    requested = field in _NAME_REQUESTED
    elements: list[tuple[int, bytes]] = []
    if command.sop_class_uid is not None:
        kind = _REQUESTED_SOP_CLASS_UID if requested else _AFFECTED_SOP_CLASS_UID
        elements.append((kind, _uid(command.sop_class_uid)))
    elements.append((_COMMAND_FIELD, _uint16.pack(field)))
    answers = field & RESPONSE or field == C_CANCEL
    elements.append((_MESSAGE_ID_BEING_RESPONDED_TO if answers else _MESSAGE_ID, _uint16.pack(command.message_id)))
    if command.priority is not None:
        elements.append((_PRIORITY, _uint16.pack(command.priority)))
    elements.append((_COMMAND_DATA_SET_TYPE, _uint16.pack(DATASET if command.has_dataset else NO_DATASET)))
    if command.status is not None:
        elements.append((_STATUS, _uint16.pack(command.status)))
    if command.offending_elements:
        elements.append((_OFFENDING_ELEMENT, _at(command.offending_elements)))
    if command.error_comment is not None:
        elements.append((_ERROR_COMMENT, _padded(command.error_comment.encode("latin_1"), b" ")))
    if command.error_id is not None:
        elements.append((_ERROR_ID, _uint16.pack(command.error_id)))
    if command.sop_instance_uid is not None:
        kind = _REQUESTED_SOP_INSTANCE_UID if requested else _AFFECTED_SOP_INSTANCE_UID
        elements.append((kind, _uid(command.sop_instance_uid)))
    if command.attributes:
        elements.append((_ATTRIBUTE_IDENTIFIER_LIST, _at(command.attributes)))
    body = b"".join(_element.pack(0, element, len(value)) + value for element, value in elements)
    return _element.pack(0, _GROUP_LENGTH, 4) + _uint32.pack(len(body)) + body


def _padded(value: bytes, padding: bytes) -> bytes:
    return value + padding if len(value) & 1 else value


def _uid(uid: str) -> bytes:
    return _padded(uid.encode("latin_1"), b"\0")  # PS3.5 9.1


def _at(tags: Iterable[int]) -> bytes:
    return b"".join(_tag.pack(tag >> 16, tag & 0xFFFF) for tag in tags)
