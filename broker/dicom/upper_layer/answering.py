"""What the port and the services say to each other, and how an answer becomes bytes.

The services are whatever fits `Services`; nothing here knows what they do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from broker.dicom.upper_layer import message, pdu
from broker.dicom.upper_layer.message import Command
from broker.dicom.upper_layer.negotiation import Context

PENDING = (0xFF00, 0xFF01)
CANCELLED = 0xFE00
PROCESSING_FAILURE, UNABLE_TO_PROCESS = 0x0110, 0xC000
_NAMES_TAGS = (message.N_SET, message.N_GET)  # in an Attribute Identifier List (PS3.7 10.3)
CHUNK = 1 << 16  # bytes that are handed on at a time, about


class Request(NamedTuple):
    """What a device asks."""

    calling: str
    address: str
    context: Context
    command: Command
    dataset: bytes


class Reply(NamedTuple):
    """One answer: a status, the dataset that goes with it, and the SOP Instance UID that is affected."""

    status: Dataset | int
    dataset: bytes | None = None
    instance: str = ""


class Later(NamedTuple):
    """An answer that is there when what `begin` begins is done; `reply` then makes it of that, without waiting."""

    begin: Callable[[], Future[Any]]
    reply: Callable[[Future[Any]], Reply]


class Listing(Protocol):
    """A whole answer to a C-FIND: `pending` goes with each of the matches, 0000 follows them."""

    pending: int
    matches: tuple[bytes, ...]
    wire: dict[tuple[int, int, int], bytes]  # whoever sends it may keep its PDUs here


class Services(Protocol):
    """What is done for those who call."""

    def judge(self, calling: str, called: str, address: str) -> tuple[int, int, int] | None:
        """Say how a caller is rejected (result, source, reason), if at all."""

    def at_once(self, request: Request) -> Listing | Reply | Later | None:
        """Give what can be answered without waiting for anything; None where `answer` is to work it out."""

    def answer(self, request: Request) -> Iterator[Reply]:
        """Work out a request's answers one by one, on a thread that may wait."""

    def due(self, request: Request) -> bool:
        """Say whether `sample` is worth its time for what was answered at once."""

    def sample(self, request: Request) -> None:
        """Keep what was sent, on a thread that may wait."""


def response(request: Command, status: Dataset | int, has_dataset: bool, instance: str = "") -> bytes:
    """Write the command set of a response (PS3.7 9.3, 10.3): the status with what explains it in this service."""
    code = status if isinstance(status, int) else int(status.Status)
    elements = [
        (message.AFFECTED_CLASS, message.ui(request.sop_class)),
        (message.FIELD, message.us(request.field | message.RESPONSE)),
        (message.ANSWERED_ID, message.us(request.id)),
        (message.DATASET_TYPE, message.us(0x0001 if has_dataset else message.NO_DATASET)),
        (message.STATUS, message.us(code)),
    ]
    normalised = request.field & 0x0100  # an N service
    if not isinstance(status, int):
        if request.field == message.C_FIND and "OffendingElement" in status:
            elements.append((message.OFFENDING, message.at(_tags(status.OffendingElement))))
        if "ErrorComment" in status:
            elements.append((message.COMMENT, message.lo(str(status.ErrorComment))))
        if normalised and "ErrorID" in status:
            elements.append((message.ERROR_ID, message.us(int(status.ErrorID))))
    if normalised and instance:
        elements.append((message.AFFECTED_INSTANCE, message.ui(instance)))
    if not isinstance(status, int) and request.field in _NAMES_TAGS and "AttributeIdentifierList" in status:
        elements.append((message.TAGS, message.at(_tags(status.AttributeIdentifierList))))
    return message.write_command(elements)


def _tags(value: object) -> tuple[int, ...]:
    return (int(value),) if isinstance(value, BaseTag | int) else tuple(int(tag) for tag in value)  # type: ignore[attr-defined]


def wires(request: Request, replies: Iterable[Reply], most: int) -> Iterator[tuple[bytes, bool]]:
    """Build the PDUs of answers as they come, and say of each whether more are to follow.

    Matches have the same status, which is written once.
    """
    status: Dataset | int | None = None
    command, more = b"", request.command.field == message.C_FIND
    for reply in replies:
        if reply.status is not status or reply.dataset is None:
            command = response(request.command, reply.status, reply.dataset is not None, reply.instance)
            status = reply.status if reply.dataset is not None else None
        yield pdu.message(request.context.id, command, reply.dataset, most), status is not None and more


def wire(request: Request, reply: Reply, most: int) -> bytes:
    """Build the PDUs of an answer for a peer that takes PDUs of `most` bytes."""
    command = response(request.command, reply.status, reply.dataset is not None, reply.instance)
    return pdu.message(request.context.id, command, reply.dataset, most)


def listing(request: Request, found: Listing, most: int) -> Iterator[bytes]:
    """Build the PDUs of a whole answer, in chunks; that of a usual message is kept."""
    key = (request.context.id, request.command.id, most)
    kept = found.wire.get(key)
    if kept is not None:
        yield kept
        return
    command = response(request.command, found.pending, True)
    chunk, size, whole = list[bytes](), 0, True
    for match in found.matches:
        chunk.append(pdu.message(request.context.id, command, match, most))
        size += len(chunk[-1])
        if size >= CHUNK:
            yield b"".join(chunk)
            chunk, size, whole = [], 0, False
    chunk.append(wire(request, Reply(0x0000), most))
    last = b"".join(chunk)
    # Devices count their messages from 1 in each association, or go on from day to day: those would fill the memory.
    if whole and request.command.id <= 8 and len(found.wire) < 4:
        found.wire[key] = last
    yield last


def failure(request: Command) -> int:
    """Give the status that says that something here went wrong."""
    return PROCESSING_FAILURE if request.field & 0x0100 else UNABLE_TO_PROCESS
