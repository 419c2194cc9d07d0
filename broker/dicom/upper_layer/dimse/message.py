"""DIMSE messages (PS3.7 6.3) assembled from the fragments of P-DATA-TFs, within bounds."""

from __future__ import annotations

from collections.abc import Mapping
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
    too_long: bool = False  # an object to be stored that exceeds its limit: its dataset was dropped


class MessageAssembler:
    """Assembles one message after the other from an association's fragments, each within `max_message` bytes.

    `stored` are the limits of objects to be stored, by SOP Class UID. Senders look for an answer only after the last
    byte of them, so what is too long is read to its end and dropped, for the answer to say why.
    """

    def __init__(self, max_message: int, stored: Mapping[str, int] | None = None) -> None:
        self._max_message, self._stored = max_message, stored or {}
        self._too_long = False
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
        if self._too_long:
            self.size, fragment = PDV_HEADER, b""
        elif self.size > (LARGEST_COMMAND if self._command is None else self._limit(self._command)):
            if self._command is None or self._command.field != command_set.C_STORE:
                raise InvalidPdu("a message that is too long")
            self._too_long, self.size, fragment = True, PDV_HEADER, b""
            self._parts.clear()
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
        too_long = self._too_long
        self._command, self.size, self._too_long = None, 0, False
        return DimseMessage(context_id, command, whole, too_long)

    def _limit(self, command: CommandSet) -> int:
        if command.field != command_set.C_STORE:
            return self._max_message
        return self._stored.get(command.sop_class_uid or "", self._max_message)
