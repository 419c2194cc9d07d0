"""DIMSE messages (PS3.7 6.3) assembled from the fragments of P-DATA-TFs, within bounds."""

from __future__ import annotations

from typing import NamedTuple

from broker.dicom.upper_layer.dimse import command_set
from broker.dicom.upper_layer.dimse.command_set import CommandSet
from broker.dicom.upper_layer.limits import LARGEST_COMMAND
from broker.dicom.upper_layer.pdu.types import COMMAND, LAST, PDV_HEADER, InvalidPdu

_SMALL = 4096  # bytes up to which fragments are joined at once


class DimseMessage(NamedTuple):
    """A whole request: its command set, and its dataset still encoded, empty where it has none."""

    context_id: int
    command: CommandSet
    dataset: bytes


class MessageAssembler:
    """Assembles one message after the other from an association's fragments, each within `max_message` bytes."""

    def __init__(self, max_message: int) -> None:
        self._max_message = max_message
        self._command: CommandSet | None = None
        self._parts: list[bytes] = []
        self._context_id = 0
        self.size = 0  # bytes of the unfinished message, with the headers of its fragments

    @property
    def is_within_message(self) -> bool:
        """True while a message has begun and not ended."""
        return self.size > 0

    def add(self, context_id: int, control: int, fragment: bytes) -> DimseMessage | None:
        """Take a fragment; return the message if it was the last, else None. Raise InvalidPdu if it may not follow."""
        if self.size and context_id != self._context_id:
            raise InvalidPdu("a message in two presentation contexts")
        if bool(control & COMMAND) is not (self._command is None):
            raise InvalidPdu("a fragment that may not follow")
        self._context_id = context_id
        self.size += len(fragment) + PDV_HEADER
        if self.size > (LARGEST_COMMAND if self._command is None else self._max_message):
            raise InvalidPdu("a message that is too long")
        if not control & LAST:
            # Each piece costs Python far more than the few bytes that it may have.
            if self._parts and len(self._parts[-1]) + len(fragment) < _SMALL:
                self._parts[-1] += fragment
            else:
                self._parts.append(fragment)
            return None
        whole = b"".join((*self._parts, fragment)) if self._parts else fragment
        self._parts.clear()
        if self._command is None:
            command = command_set.read(whole)
            if command.field & command_set.RESPONSE:  # one that is unknown is refused by its number
                raise InvalidPdu(f"a response that answers nothing: {command.field:04X}")
            if command.has_dataset:
                self._command = command
                return None
            whole = b""
        else:
            command = self._command
        self._command, self.size = None, 0
        return DimseMessage(context_id, command, whole)
