"""Association negotiation by an acceptor: presentation contexts, lengths, roles (PS3.8 7.1.1, PS3.7 Annex D).

Pure: the same request has the same result, so that results are remembered. Who may call is not decided here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from broker.dicom.upper_layer.pdu import conformance, reader, writer
from broker.dicom.upper_layer.pdu.types import (
    APPLICATION_CONTEXT,
    SMALLEST,
    AssociateAccept,
    AssociateRequest,
    ContextResult,
    InvalidPdu,
    ProposedContext,
)
from broker.dicom.upper_layer.pdu.user_items import ImplementationClassUid, ImplementationVersionName, MaximumLength

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
MOST_REMEMBERED = 256  # requests
LONGEST_REMEMBERED = 1 << 13  # bytes; devices' own requests are a few hundred
# PS3.8 table 9-18: why a presentation context is not accepted.
ABSTRACT_SYNTAX_NOT_SUPPORTED, TRANSFER_SYNTAXES_NOT_SUPPORTED = 3, 4
# PS3.8 table 9-21: result, source, reason; all of them permanent.
PROTOCOL_VERSION_NOT_SUPPORTED = (1, 2, 2)
APPLICATION_CONTEXT_NOT_SUPPORTED = (1, 1, 2)
NO_REASON_GIVEN = (1, 2, 1)
CALLING_AE_TITLE_NOT_RECOGNISED = (1, 1, 3)
CALLED_AE_TITLE_NOT_RECOGNISED = (1, 1, 7)


class Problem(Enum):
    """Why nothing comes of an association, as far as the requestor has to do with it."""

    UNREADABLE = auto()  # lengths that do not add up
    PROTOCOL = auto()  # another protocol version, application context, or a maximum length below SMALLEST
    AE_TITLE = auto()  # one of the titles is none
    SERVICE = auto()  # no presentation context has a SOP class that is offered; details: their UIDs
    TRANSFER_SYNTAX = auto()  # some have, in no transfer syntax that is taken; details: their UIDs
    FULL = auto()  # there is no room for one association more


@dataclass(frozen=True, slots=True)
class AcceptedContext:
    """An accepted presentation context; `implicit` says that its datasets are Implicit VR."""

    id: int
    abstract_syntax: str
    implicit: bool


@dataclass(frozen=True, slots=True)
class NegotiationResult:
    """Who calls whom, and the PDU that answers it: an A-ASSOCIATE-AC if `accepted`, else an A-ASSOCIATE-RJ."""

    calling: str
    called: str
    contexts: Mapping[int, AcceptedContext]
    max_length: int  # bytes of a PDU that the peer receives; 0: any number
    accepted: bool
    reply: bytes
    problem: Problem | None = None  # also of an association that is accepted, where no context of it is
    details: tuple[str, ...] = ()


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
        """Offer every SOP class in every transfer syntax, the preferred one first; `max_pdu` in bytes."""
        self._abstract_syntaxes, self._transfer_syntaxes = frozenset(sop_classes), tuple(transfer_syntaxes)
        self._user_items = (
            MaximumLength(max_pdu),
            ImplementationClassUid(implementation_uid),
            ImplementationVersionName(implementation_version),
        )
        self._remembered: OrderedDict[bytes, NegotiationResult] = OrderedDict()

    def answer(self, request: bytes) -> NegotiationResult:
        """Negotiate an A-ASSOCIATE-RQ, header included; raise InvalidPdu where it cannot be read."""
        result = self._remembered.get(request)
        if result is not None:
            self._remembered.move_to_end(request)
            return result
        asked = reader.read(request)
        if not isinstance(asked, AssociateRequest):
            raise InvalidPdu("not an A-ASSOCIATE-RQ")
        result = self._negotiate(asked)
        if len(request) < LONGEST_REMEMBERED:
            self._remembered[request] = result
            if len(self._remembered) > MOST_REMEMBERED:
                self._remembered.popitem(last=False)
        return result

    def _negotiate(self, asked: AssociateRequest) -> NegotiationResult:
        lengths = [each.length for each in asked.user_items if isinstance(each, MaximumLength)]
        max_length = lengths[-1] if lengths else 0
        calling, called = asked.calling_ae_title, asked.called_ae_title
        rejected: tuple[int, int, int] | None = None
        problem = Problem.PROTOCOL
        if not asked.protocol_version & 1:
            rejected = PROTOCOL_VERSION_NOT_SUPPORTED
        elif asked.application_context != APPLICATION_CONTEXT:
            rejected = APPLICATION_CONTEXT_NOT_SUPPORTED
        elif 0 < max_length < SMALLEST:
            rejected = NO_REASON_GIVEN
        elif not conformance.is_ae_title(calling):
            rejected, problem = CALLING_AE_TITLE_NOT_RECOGNISED, Problem.AE_TITLE
        elif not conformance.is_ae_title(called):
            rejected, problem = CALLED_AE_TITLE_NOT_RECOGNISED, Problem.AE_TITLE
        if rejected is not None:
            return NegotiationResult(calling, called, {}, max_length, False, writer.reject(*rejected), problem)
        proposed = sorted({(each.id, each.abstract_syntax): each for each in asked.contexts}.values())
        results = [self._consider(each) for each in proposed]
        accepted = {
            each.id: AcceptedContext(each.id, each.abstract_syntax, result.transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN)
            for each, result in zip(proposed, results, strict=True)
            if result.result == 0
        }
        # No role selection is answered: the requestor is the SCU, as without it (PS3.7 D.3.3.4).
        answer = AssociateAccept(called, calling, APPLICATION_CONTEXT, tuple(results), self._user_items)
        # Not strict: syntaxes that are rejected go back as they came.
        reply = writer.write(answer, strict=False)
        if accepted:
            return NegotiationResult(calling, called, accepted, max_length, True, reply)
        return NegotiationResult(calling, called, {}, max_length, True, reply, *self._unoffered(proposed))

    def _unoffered(self, proposed: Sequence[ProposedContext]) -> tuple[Problem, tuple[str, ...]]:
        """Return why none of the contexts is accepted."""
        served = [each for each in proposed if each.abstract_syntax in self._abstract_syntaxes]
        if served:
            return Problem.TRANSFER_SYNTAX, tuple(sorted({uid for each in served for uid in each.transfer_syntaxes}))
        return Problem.SERVICE, tuple(sorted({each.abstract_syntax for each in proposed if each.abstract_syntax}))

    def _consider(self, proposed: ProposedContext) -> ContextResult:
        # PS3.8 9.3.3.2: one transfer syntax has to be in the answer; where a context is rejected it says nothing.
        first = next(iter(proposed.transfer_syntaxes), IMPLICIT_VR_LITTLE_ENDIAN)
        if proposed.abstract_syntax not in self._abstract_syntaxes:
            return ContextResult(proposed.id, ABSTRACT_SYNTAX_NOT_SUPPORTED, first)
        for syntax in self._transfer_syntaxes:
            if syntax in proposed.transfer_syntaxes:
                return ContextResult(proposed.id, 0, syntax)
        return ContextResult(proposed.id, TRANSFER_SYNTAXES_NOT_SUPPORTED, first)
