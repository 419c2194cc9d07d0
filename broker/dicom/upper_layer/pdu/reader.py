"""PDUs read from bytes (PS3.8 9.3), `strict` or as devices really send them.

Always refused: lengths that do not add up, unknown PDU types, more than the limits. `strict` also refuses values that
break PS3.8 (see `conformance`); without it they are taken as they are meant, and of user information what cannot be
read counts as not sent: it only contains offers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from broker.dicom.upper_layer.limits import LARGEST_PDU, LARGEST_REQUEST
from broker.dicom.upper_layer.pdu import conformance, user_items
from broker.dicom.upper_layer.pdu.types import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    ASSOCIATE_RQ,
    COMMAND,
    HEADER,
    LAST,
    P_DATA,
    PDV_HEADER,
    RELEASE_RP,
    RELEASE_RQ,
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    ContextResult,
    DataTransfer,
    InvalidPdu,
    Pdu,
    PresentationDataValue,
    ProposedContext,
    ReleaseReply,
    ReleaseRequest,
)
from broker.dicom.upper_layer.pdu.user_items import UserItem

MOST_CONTEXTS = 128  # PS3.8 9.3.2.2: odd numbers of one byte
MOST_ITEMS = 3000  # of all kinds: no device sends more, and they take long to read

_FIXED = {ASSOCIATE_RJ: 4, RELEASE_RQ: 4, RELEASE_RP: 4, ABORT: 4}  # lengths, PS3.8 9.3.4 to 9.3.8
_APPLICATION_CONTEXT, _PROPOSED, _ANSWERED, _ABSTRACT, _TRANSFER, _USER = 0x10, 0x20, 0x21, 0x30, 0x40, 0x50
_MAXIMUM_LENGTH = 0x51
_PADDING = b" \t\n\r\x0b\f\0"

_head = struct.Struct(">BxL")
_pdv = struct.Struct(">LBB")
_associate = struct.Struct(">H2x16s16s32x")
_item = struct.Struct(">BxH")


def header(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """Return a PDU's type and the length of what follows its header; raise InvalidPdu where that will not be read."""
    kind, length = _head.unpack_from(data, at)
    if kind == P_DATA:
        if length > LARGEST_PDU:
            raise InvalidPdu(f"a PDU of {length} bytes")
    elif kind in _FIXED:
        if length != _FIXED[kind]:
            raise InvalidPdu(f"a PDU of type {kind:02X} and {length} bytes")
    elif kind not in (ASSOCIATE_RQ, ASSOCIATE_AC):
        raise InvalidPdu(f"no PDU begins with {kind:02X}", reason=1)  # unrecognised PDU
    elif length > LARGEST_REQUEST:
        raise InvalidPdu(f"a PDU of type {kind:02X} and {length} bytes")
    return kind, length


def read(data: bytes, *, strict: bool = False) -> Pdu:
    """Return the one PDU that these bytes are, header included; raise InvalidPdu where they are not one."""
    if len(data) < HEADER:
        raise InvalidPdu("a PDU that ends within its header")
    kind, length = header(data, 0)
    if length != len(data) - HEADER:
        raise InvalidPdu(f"a PDU of {length} bytes, {len(data) - HEADER} are there")
    body = data[HEADER:]
    found: Pdu
    match kind:
        case 0x01 | 0x02:
            found = _read_associate(kind, body, strict)
        case 0x03:
            found = AssociateReject(*body[1:])
        case 0x04:
            # PS3.8 E.2: the other bits are reserved, and not to be tested.
            found = DataTransfer(tuple(each._replace(control=each.control & (COMMAND | LAST)) for each in values(body)))
        case 0x05:
            found = ReleaseRequest()
        case 0x06:
            found = ReleaseReply()
        case _:
            # PS3.8 9.3.8: a service user's reason is not significant.
            found = Abort(body[2], body[3] if body[2] == 2 else 0)
    if strict and (broken := next(conformance.problems(found), None)):
        raise InvalidPdu(broken)
    return found


def titles(request: bytes) -> tuple[str, str]:
    """Return the calling and the called AE title of an A-ASSOCIATE-RQ that may break off; "" where there is none."""
    return _ae_title(request[HEADER + 20 : HEADER + 36]), _ae_title(request[HEADER + 4 : HEADER + 20])


def values(body: bytes) -> Iterator[PresentationDataValue]:
    """Split what follows a P-DATA-TF's header (PS3.8 9.3.5.1), the control headers as they came; raise InvalidPdu."""
    at, end = 0, len(body)
    if not end:
        raise InvalidPdu("a P-DATA-TF without a value")
    while at < end:
        if end - at < PDV_HEADER:
            raise InvalidPdu("a P-DATA-TF ends within a header")
        length, context_id, control = _pdv.unpack_from(body, at)
        if length < 2 or length > end - at - 4:
            raise InvalidPdu(f"a presentation data value of {length} bytes, {end - at - 4} are left")
        yield PresentationDataValue(context_id, control, body[at + PDV_HEADER : at + 4 + length])
        at += 4 + length


def _read_associate(kind: int, body: bytes, strict: bool) -> AssociateRequest | AssociateAccept:
    if len(body) < _associate.size:
        raise InvalidPdu("an A-ASSOCIATE that is too short")
    version, called, calling = _associate.unpack_from(body)
    budget = iter(range(MOST_ITEMS))
    application_context: str | None = None
    proposed: list[ProposedContext] = []
    results: list[ContextResult] = []
    user: list[UserItem] = []
    once: set[int] = set()
    for item, content in _items(body[_associate.size :], budget):
        if item in (_APPLICATION_CONTEXT, _USER):
            if item in once and strict:
                raise InvalidPdu(f"two items of type {item:02X}")
            if item not in once and item == _APPLICATION_CONTEXT:
                application_context = _text(content)
            elif item == _USER:
                user += _user_information(content, budget, strict)
            once.add(item)
        elif item == _PROPOSED and kind == ASSOCIATE_RQ:
            proposed.append(_proposed(content, budget, strict))
        elif item == _ANSWERED and kind == ASSOCIATE_AC:
            results.append(_answered(content, budget, strict))
        if len(proposed) > MOST_CONTEXTS or len(results) > MOST_CONTEXTS:
            raise InvalidPdu("an A-ASSOCIATE with too many items")
    titles = _ae_title(called), _ae_title(calling)
    if kind == ASSOCIATE_RQ:
        return AssociateRequest(*titles, application_context, tuple(proposed), tuple(user), version)
    return AssociateAccept(*titles, application_context, tuple(results), tuple(user), version)


def _items(data: bytes, budget: Iterator[int]) -> Iterator[tuple[int, bytes]]:
    """Split items, or the items within one: (type, what follows the header); `budget` bounds how many."""
    at, end = 0, len(data)
    while at < end:
        if end - at < _item.size:
            raise InvalidPdu("an A-ASSOCIATE that ends within an item")
        kind, length = _item.unpack_from(data, at)
        at += _item.size
        if length > end - at:
            raise InvalidPdu("an item that is longer than what it stands in")
        if next(budget, None) is None:
            raise InvalidPdu("an A-ASSOCIATE with too many items")
        yield kind, data[at : at + length]
        at += length


def _proposed(content: bytes, budget: Iterator[int], strict: bool) -> ProposedContext:
    """Read what is proposed; syntaxes that are none are left out, and the context then has none to be accepted in."""
    id, abstract, transfer = _context_id(content, strict), "", []
    for kind, within in _items(content[4:], budget):
        if kind not in (_ABSTRACT, _TRANSFER):
            continue
        try:
            uid = _text(within)
        except InvalidPdu:
            if strict:
                raise
            continue
        if kind == _TRANSFER:
            transfer.append(uid)
        else:
            abstract = abstract or uid
    return ProposedContext(id, abstract, tuple(transfer))


def _answered(content: bytes, budget: Iterator[int], strict: bool) -> ContextResult:
    id, result = _context_id(content, strict), content[2]
    transfer = next((within for kind, within in _items(content[4:], budget) if kind == _TRANSFER), None)
    if transfer is None:
        return ContextResult(id, result, None)
    try:
        return ContextResult(id, result, _text(transfer))
    except InvalidPdu:
        if result == 0:
            raise
        return ContextResult(id, result, None)  # PS3.8 9.3.3.2: not significant, and not to be tested


def _context_id(content: bytes, strict: bool) -> int:
    if len(content) < 4 or (strict and not content[0] & 1):
        raise InvalidPdu("a presentation context without an odd number")
    return content[0]


def _user_information(content: bytes, budget: Iterator[int], strict: bool) -> Iterator[UserItem]:
    for kind, within in _items(content, budget):
        read_item = user_items.READERS.get(kind)
        if read_item is None:
            continue
        try:
            yield read_item(within)
        except (ValueError, struct.error, IndexError):
            if strict or kind == _MAXIMUM_LENGTH:  # on which every PDU that we send depends
                raise InvalidPdu(f"a user information item {kind:02X} that cannot be read") from None


def _text(data: bytes) -> str:
    try:
        found = user_items.text(data)
    except ValueError:
        raise InvalidPdu("a name that is empty or not ASCII") from None
    if len(found) > 64:
        raise InvalidPdu("a name of more than 64 characters")
    return found


def _ae_title(data: bytes) -> str:
    """Read an AE title; spaces around it are not significant (PS3.8 9.3.2), and devices pad with NUL."""
    return data.strip(_PADDING).decode("latin_1")
