"""What is agreed on: presentation contexts, lengths, roles (PS3.8 7.1.1, PS3.7 Annex D), by pynetdicom's classes.

Pure; the same request has the same outcome, so that outcomes are remembered. Who may call is not decided here.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext, build_context, negotiate_as_acceptor

from broker.dicom.upper_layer import pdu
from broker.dicom.upper_layer.pdu import Invalid

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
MOST_CONTEXTS = 128  # PS3.8 9.3.2.2: odd numbers of one byte
MOST_ITEMS = 3000  # of all kinds: more than that is nobody's request, and takes long to read
MOST_REMEMBERED = 256
_CONTEXT, _USER = 0x20, 0x50  # items that have items within


@dataclass(frozen=True, slots=True)
class Context:
    """An accepted presentation context."""

    id: int
    abstract_syntax: str
    implicit: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """Who asks whom, and what we would answer: `accept` is the A-ASSOCIATE-AC, unless `reject` is filled."""

    calling: str
    called: str
    contexts: dict[int, Context]
    most: int  # bytes that the peer takes in a PDU; 0: any number
    accept: bytes
    reject: bytes = b""


class Negotiator:
    """Answers association requests for what one application entity offers."""

    def __init__(
        self,
        sop_classes: Sequence[str],
        transfer_syntaxes: Sequence[str],
        max_pdu: int,
        implementation_uid: str,
        implementation_version: str,
    ) -> None:
        self._offered = [build_context(uid, list(transfer_syntaxes)) for uid in sop_classes]
        self._max_pdu, self._uid, self._version = max_pdu, implementation_uid, implementation_version
        self._remembered: OrderedDict[bytes, Outcome] = OrderedDict()

    def answer(self, request: bytes) -> Outcome:
        """Judge an A-ASSOCIATE-RQ, header included; raise Invalid where it is none."""
        outcome = self._remembered.get(request)
        if outcome is not None:
            self._remembered.move_to_end(request)
            return outcome
        _look_over(request)
        try:
            outcome = self._negotiate(request)
        except Invalid:
            raise
        except Exception as error:  # the library raises whatever comes to hand on bytes that are no request
            raise Invalid(f"an A-ASSOCIATE-RQ that cannot be read: {type(error).__name__}") from error
        if len(request) < 1 << 13:  # devices' own are a few hundred bytes
            self._remembered[request] = outcome
            if len(self._remembered) > MOST_REMEMBERED:
                self._remembered.popitem(last=False)
        return outcome

    def _negotiate(self, request: bytes) -> Outcome:
        decoded = A_ASSOCIATE_RQ()
        decoded.decode(request)
        asked: Any = decoded.to_primitive()
        # PS3.8 annex F and 9.3.1: leading and trailing spaces do not count.
        calling, called = str(asked.calling_ae_title).strip(), str(asked.called_ae_title).strip()
        said = {type(each): each for each in asked.user_information if not isinstance(each, _ROLE)}
        roles = {
            each.sop_class_uid: (each.scu_role, each.scp_role)
            for each in asked.user_information
            if isinstance(each, _ROLE) and each.sop_class_uid is not None
        }
        length = said.get(MaximumLengthNotification)
        most = int(length.maximum_length_received) if length is not None else 0
        # PS3.8 9.3.4: permanently, by the service provider (ACSE); the reasons are those of table 9-21.
        if not decoded.protocol_version & 1:
            return Outcome(calling, called, {}, most, b"", pdu.reject(1, 2, 2))
        if str(asked.application_context_name) != APPLICATION_CONTEXT:
            return Outcome(calling, called, {}, most, b"", pdu.reject(1, 1, 2))
        if 0 < most < pdu.SMALLEST:
            return Outcome(calling, called, {}, most, b"", pdu.reject(1, 2, 1))
        results, answered_roles = negotiate_as_acceptor(
            asked.presentation_context_definition_list, self._offered, roles
        )
        contexts = {
            each.context_id: Context(each.context_id, str(each.abstract_syntax), each.transfer_syntax[0].is_implicit_VR)
            for each in results
            if each.result == 0 and each.context_id is not None
        }
        accept = self._accept(asked, results, answered_roles)
        return Outcome(calling, called, contexts, most, accept)

    def _accept(
        self, asked: Any, results: list[PresentationContext], roles: list[SCP_SCU_RoleSelectionNegotiation]
    ) -> bytes:
        answer = A_ASSOCIATE()
        answer.application_context_name = UID(APPLICATION_CONTEXT)
        answer.calling_ae_title = asked.calling_ae_title
        answer.called_ae_title = asked.called_ae_title
        answer.result, answer.result_source = 0, 1
        answer.presentation_context_definition_results_list = results
        length = MaximumLengthNotification()
        length.maximum_length_received = self._max_pdu
        uid = ImplementationClassUIDNotification()
        uid.implementation_class_uid = UID(self._uid)
        version = ImplementationVersionNameNotification()
        version.implementation_version_name = self._version
        answer.user_information = [length, uid, version, *roles]
        encoded = A_ASSOCIATE_AC()
        encoded.from_primitive(answer)
        return bytes(encoded.encode())


_ROLE = SCP_SCU_RoleSelectionNegotiation
_item = struct.Struct(">BxH")


def _look_over(request: bytes) -> None:
    """Count a request's items, those within included; raise Invalid where their lengths do not add up."""
    contexts, items = 0, 0
    spans = [(74, len(request))]  # PS3.8 table 9-11: what stands before is of fixed length
    if len(request) < 74:
        raise Invalid("an A-ASSOCIATE-RQ that is too short")
    while spans:
        at, end = spans.pop()
        while at < end:
            if end - at < 4:
                raise Invalid("an A-ASSOCIATE-RQ that ends within an item")
            kind, length = _item.unpack_from(request, at)
            at += 4
            if length > end - at:
                raise Invalid("an item that is longer than what it stands in")
            items += 1
            if kind == _CONTEXT:
                contexts += 1
                spans.append((at + 4, at + length))
            elif kind == _USER:
                spans.append((at, at + length))
            at += length
        if contexts > MOST_CONTEXTS or items > MOST_ITEMS:
            raise Invalid("an A-ASSOCIATE-RQ with too many items")
