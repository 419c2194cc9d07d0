"""What the port and the services exchange, and how an answer becomes bytes.

The services are whatever fits `ServiceProvider`; nothing here knows what they do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from broker.dicom.upper_layer.dimse import command_set
from broker.dicom.upper_layer.dimse.command_set import C_FIND, C_STORE, FORMS, NORMALISED, RESPONSE, CommandSet
from broker.dicom.upper_layer.negotiation import AcceptedContext, Problem
from broker.dicom.upper_layer.pdu import writer

PENDING = (0xFF00, 0xFF01)
SUCCESS, CANCELLED = 0x0000, 0xFE00
PROCESSING_FAILURE, UNABLE_TO_PROCESS = 0x0110, 0xC000
CHUNK = 1 << 16  # bytes that are handed on at a time, about
# Devices count their messages from 1 in each association, or go on from day to day: those would fill the memory.
MOST_KEPT_ID, MOST_KEPT_WIRES = 8, 4


class Request(NamedTuple):
    """A request of a device."""

    calling: str
    address: str
    context: AcceptedContext
    command: CommandSet
    dataset: bytes
    called: str = ""
    too_long: bool = False  # an object to be stored that exceeds its limit, without its dataset


class Reply(NamedTuple):
    """One response: a status, the dataset that goes with it, and the affected SOP Instance UID ("": none)."""

    status: Dataset | int
    dataset: bytes | None = None
    sop_instance_uid: str = ""


class DeferredReply(NamedTuple):
    """A response that is there when what `begin` begins is done; `reply` then makes it of that, without waiting."""

    begin: Callable[[], Future[Any]]
    reply: Callable[[Future[Any]], Reply]


class MatchList(Protocol):
    """All responses to a C-FIND: the matches, each with its status, 0000 follows them."""

    statuses: tuple[int, ...]
    matches: tuple[bytes, ...]
    wire: dict[tuple[int, int, int], bytes]  # encoded PDUs, cached by the sender


class ServiceProvider(Protocol):
    """What answers the requests of those who call."""

    def rejection(self, calling: str, called: str, address: str) -> tuple[int, int, int] | None:
        """Return why a caller is rejected (PS3.8 9.3.4: result, source, reason), or None."""

    def turned_away(self, calling: str, called: str, address: str, problem: Problem, details: tuple[str, ...]) -> None:
        """Note that nothing came of an association; the titles are as they came, whatever they are."""

    def at_once(self, request: Request) -> MatchList | Reply | DeferredReply | None:
        """Return what can be answered without waiting for anything; None where `answer` is to work it out."""

    def answer(self, request: Request) -> Iterator[Reply]:
        """Yield a request's responses one by one, on a thread that may wait."""

    def wants_sample(self, request: Request) -> bool:
        """Return True if `sample` is worth its time for a request that was answered at once."""

    def sample(self, request: Request) -> None:
        """Store what was sent, on a thread that may wait."""


def response(request: CommandSet, status: Dataset | int, has_dataset: bool, sop_instance_uid: str = "") -> bytes:
    """Return the command set of a response (PS3.7 9.3, 10.3): the status with what explains it in this service.

    `status` is a code, or a dataset with the elements of PS3.7 Annex C.
    """
    names_instance = request.field & NORMALISED or request.field == C_STORE
    field = request.field | RESPONSE
    answer = CommandSet(
        field,
        request.message_id,
        has_dataset,
        request.sop_class_uid or "",
        sop_instance_uid if names_instance and sop_instance_uid else None,
        status=status if isinstance(status, int) else int(status.Status),
    )
    if not isinstance(status, int):
        answer = _explained(answer, status)
    # Not strict: the UIDs are the device's own.
    return command_set.write(answer, strict=False)


def _explained(answer: CommandSet, status: Dataset) -> CommandSet:
    """Add what explains a status, as far as this response may have it."""
    form = FORMS.get(answer.field, ())
    offending, comment, error_id = status.get("OffendingElement"), status.get("ErrorComment"), status.get("ErrorID")
    identifiers = status.get("AttributeIdentifierList")
    return answer._replace(
        offending_elements=_tags(offending) if offending is not None and "offending_elements?" in form else (),
        error_comment=str(comment).encode("ascii", "replace").decode("ascii") if comment is not None else None,
        error_id=int(error_id) if error_id is not None and answer.field & NORMALISED else None,
        attributes=_tags(identifiers) if identifiers is not None and "attributes?" in form else (),
    )


def _tags(value: object) -> tuple[BaseTag, ...]:
    return (BaseTag(value),) if isinstance(value, BaseTag | int) else tuple(BaseTag(tag) for tag in value)  # type: ignore[attr-defined]


def wires(request: Request, replies: Iterable[Reply], max_length: int) -> Iterator[tuple[bytes, bool]]:
    """Yield the PDUs of responses as they come, each with whether more are to follow.

    Matches have the same status, which is written once.
    """
    status: Dataset | int | None = None
    command, more = b"", request.command.field == C_FIND
    for reply in replies:
        if reply.status is not status or reply.dataset is None:
            command = response(request.command, reply.status, reply.dataset is not None, reply.sop_instance_uid)
            status = reply.status if reply.dataset is not None else None
        yield writer.message(request.context.id, command, reply.dataset, max_length), status is not None and more


def wire(request: Request, reply: Reply, max_length: int) -> bytes:
    """Return the PDUs of one response for a peer that receives PDUs of `max_length` bytes (0: any)."""
    command = response(request.command, reply.status, reply.dataset is not None, reply.sop_instance_uid)
    return writer.message(request.context.id, command, reply.dataset, max_length)


def list_wires(request: Request, found: MatchList, max_length: int) -> Iterator[bytes]:
    """Yield the PDUs of a whole list, in chunks; those of a usual message are kept with it."""
    key = (request.context.id, request.command.message_id, max_length)
    ready = found.wire.get(key)
    if ready is not None:
        yield ready
        return
    commands = {code: response(request.command, code, True) for code in set(found.statuses)}
    chunk, size, whole = list[bytes](), 0, True
    for code, match in zip(found.statuses, found.matches, strict=True):
        chunk.append(writer.message(request.context.id, commands[code], match, max_length))
        size += len(chunk[-1])
        if size >= CHUNK:
            yield b"".join(chunk)
            chunk, size, whole = [], 0, False
    chunk.append(wire(request, Reply(SUCCESS), max_length))
    last = b"".join(chunk)
    if whole and request.command.message_id <= MOST_KEPT_ID and len(found.wire) < MOST_KEPT_WIRES:
        found.wire[key] = last
    yield last


def failure(request: CommandSet) -> int:
    """Return the status that says that something went wrong here."""
    return PROCESSING_FAILURE if request.field & NORMALISED else UNABLE_TO_PROCESS
