"""The seven PDUs of PS3.8 9.3 as values.

Values are normalised: AE titles without the spaces around them, UIDs and names without their padding; what PS3.8 lets a
receiver ignore (reserved bytes, items of unknown types) is not there. Absence is None.
"""

from __future__ import annotations

from typing import NamedTuple

from broker.dicom.upper_layer.pdu.user_items import UserItem

HEADER = 6  # bytes: type, reserved, length of what follows
ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)  # PDU types
COMMAND, LAST = 1, 2  # bits of a message control header (PS3.8 E.2)
PDV_HEADER = 6  # bytes before a fragment: length, presentation context, message control header
SMALLEST = PDV_HEADER + 2  # of a peer's maximum length: an even number of bytes has to fit (PS3.8 D.1)
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"  # PS3.7 A.2.1, the only one


class ProposedContext(NamedTuple):
    """A presentation context that a requestor proposes (PS3.8 9.3.2.2)."""

    id: int  # odd, 1 to 255
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


class ContextResult(NamedTuple):
    """What an acceptor answers to a proposed context (PS3.8 9.3.3.2); the syntax counts where the result is 0."""

    id: int
    result: int  # 0 acceptance, 1 user rejection, 2 no reason, 3 abstract, 4 transfer syntaxes not supported
    transfer_syntax: str | None


class AssociateRequest(NamedTuple):
    """A-ASSOCIATE-RQ (PS3.8 9.3.2)."""

    called_ae_title: str
    calling_ae_title: str
    application_context: str | None
    contexts: tuple[ProposedContext, ...]
    user_items: tuple[UserItem, ...]
    protocol_version: int = 1


class AssociateAccept(NamedTuple):
    """A-ASSOCIATE-AC (PS3.8 9.3.3); the AE titles are the request's, and not to be tested."""

    called_ae_title: str
    calling_ae_title: str
    application_context: str | None
    results: tuple[ContextResult, ...]
    user_items: tuple[UserItem, ...]
    protocol_version: int = 1


class AssociateReject(NamedTuple):
    """A-ASSOCIATE-RJ (PS3.8 9.3.4)."""

    result: int  # 1 permanent, 2 transient
    source: int  # 1 service user, 2 service provider (ACSE), 3 service provider (presentation)
    reason: int


class PresentationDataValue(NamedTuple):
    """A fragment of a message (PS3.8 9.3.5.1): `control` is made of COMMAND and LAST."""

    context_id: int
    control: int
    fragment: bytes


class DataTransfer(NamedTuple):
    """P-DATA-TF (PS3.8 9.3.5)."""

    values: tuple[PresentationDataValue, ...]


class ReleaseRequest(NamedTuple):
    """A-RELEASE-RQ (PS3.8 9.3.6)."""


class ReleaseReply(NamedTuple):
    """A-RELEASE-RP (PS3.8 9.3.7)."""


class Abort(NamedTuple):
    """A-ABORT (PS3.8 9.3.8)."""

    source: int  # 0 service user, 2 service provider
    reason: int  # of a service provider; a service user's is 0


Pdu = AssociateRequest | AssociateAccept | AssociateReject | DataTransfer | ReleaseRequest | ReleaseReply | Abort


class InvalidPdu(ValueError):
    """Bytes, or a value, that break PS3.8 or PS3.7; `reason` is that of the A-ABORT (PS3.8 9.3.8)."""

    def __init__(self, words: str, reason: int = 6) -> None:  # 6: invalid PDU parameter value
        super().__init__(words)
        self.reason = reason
