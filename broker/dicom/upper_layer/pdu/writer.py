"""PDUs written as bytes (PS3.8 9.3).

`write` writes any PDU, and `strict`, its default, raises ValueError where a value breaks PS3.8; off, it writes what a
peer sent back to it as it is. `message`, `abort` and `reject` are what the port sends all day.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from broker.dicom.upper_layer.limits import LARGEST_PDU
from broker.dicom.upper_layer.pdu import conformance, user_items
from broker.dicom.upper_layer.pdu.types import (
    ASSOCIATE_AC,
    ASSOCIATE_RQ,
    COMMAND,
    LAST,
    P_DATA,
    PDV_HEADER,
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    DataTransfer,
    Pdu,
    ReleaseReply,
    ReleaseRequest,
)

RELEASE_RQ_PDU = b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00"
RELEASE_RP_PDU = b"\x06\x00\x00\x00\x00\x04\x00\x00\x00\x00"

_head = struct.Struct(">BxL")
_pdv = struct.Struct(">LBB")
_head_and_pdv = struct.Struct(">BxLLBB")
_associate = struct.Struct(">H2x16s16s32x")
_item = struct.Struct(">BxH")


def write(pdu: Pdu, *, strict: bool = True) -> bytes:
    """Return a PDU's bytes; raise ValueError where it cannot be written, or breaks PS3.8 and `strict` is set."""
    if strict and (broken := next(conformance.problems(pdu), None)):
        raise ValueError(broken)
    match pdu:
        case AssociateRequest():
            contexts = [_context(each.id, 0, each.abstract_syntax, each.transfer_syntaxes) for each in pdu.contexts]
            return _write_associate(ASSOCIATE_RQ, pdu, [(0x20, each) for each in contexts])
        case AssociateAccept():
            results = [
                _context(each.id, each.result, None, (each.transfer_syntax,) if each.transfer_syntax else ())
                for each in pdu.results
            ]
            return _write_associate(ASSOCIATE_AC, pdu, [(0x21, each) for each in results])
        case AssociateReject():
            return reject(*pdu)
        case DataTransfer(values):
            body = b"".join(_pdv.pack(len(part) + 2, id, control) + part for id, control, part in values)
            return _head.pack(P_DATA, len(body)) + body
        case ReleaseRequest():
            return RELEASE_RQ_PDU
        case ReleaseReply():
            return RELEASE_RP_PDU
        case Abort():
            return abort(*pdu)


def _write_associate(kind: int, pdu: AssociateRequest | AssociateAccept, contexts: list[tuple[int, bytes]]) -> bytes:
    titles = [title.encode("latin_1").ljust(16) for title in (pdu.called_ae_title, pdu.calling_ae_title)]
    if any(len(title) > 16 for title in titles):
        raise ValueError("an AE title of more than 16 characters")
    items = [(0x10, pdu.application_context.encode("ascii"))] if pdu.application_context is not None else []
    user = b"".join(_written(*user_items.write(each)) for each in pdu.user_items)
    items += [*contexts, (0x50, user)]
    body = _associate.pack(pdu.protocol_version, *titles) + b"".join(_written(*each) for each in items)
    return _head.pack(kind, len(body)) + body


def _written(kind: int, content: bytes) -> bytes:
    if len(content) > 0xFFFF:
        raise ValueError(f"an item {kind:02X} of {len(content)} bytes")
    return _item.pack(kind, len(content)) + content


def _context(id: int, result: int, abstract_syntax: str | None, transfer_syntaxes: Iterable[str]) -> bytes:
    abstract = _written(0x30, abstract_syntax.encode("ascii")) if abstract_syntax is not None else b""
    return bytes((id, 0, result, 0)) + abstract + b"".join(_written(0x40, uid.encode()) for uid in transfer_syntaxes)


def message(context_id: int, command: bytes, dataset: bytes | None, max_length: int) -> bytes:
    """Return the P-DATA-TFs of a message for a peer that receives PDUs of `max_length` bytes (0: of any).

    A command and its dataset share a PDU where that fits (PS3.8 9.3.5.1 allows several values).
    """
    length = len(command) + PDV_HEADER
    if dataset is None:
        if not max_length or length <= max_length:
            return _head_and_pdv.pack(P_DATA, length, len(command) + 2, context_id, COMMAND | LAST) + command
        return b"".join(_fragments(context_id, command, COMMAND, max_length))
    whole = length + len(dataset) + PDV_HEADER
    if whole <= (max_length or LARGEST_PDU):
        return b"".join(
            (
                _head_and_pdv.pack(P_DATA, whole, len(command) + 2, context_id, COMMAND | LAST),
                command,
                _pdv.pack(len(dataset) + 2, context_id, LAST),
                dataset,
            )
        )
    parts = (*_fragments(context_id, command, COMMAND, max_length), *_fragments(context_id, dataset, 0, max_length))
    return b"".join(parts)


def _fragments(context_id: int, data: bytes, control: int, max_length: int) -> Iterable[bytes]:
    room = ((max_length or LARGEST_PDU) - PDV_HEADER) & ~1  # fragments are even (PS3.8 D.1)
    for at in range(0, len(data) or 1, room):
        part = data[at : at + room]
        last = LAST if at + room >= len(data) else 0
        yield _head_and_pdv.pack(P_DATA, len(part) + PDV_HEADER, len(part) + 2, context_id, control | last) + part


def abort(source: int, reason: int = 0) -> bytes:
    """Return an A-ABORT: source 0 is the service user, 2 the service provider (PS3.8 9.3.8)."""
    return b"\x07\x00\x00\x00\x00\x04\x00\x00" + bytes((source, reason if source == 2 else 0))


def reject(result: int, source: int, reason: int) -> bytes:
    """Return an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return b"\x03\x00\x00\x00\x00\x04\x00" + bytes((result, source, reason))
