"""The acceptor's state machine of PS3.8 9.2 as one table, read by `connection`.

Only what an acceptor can meet: the port opens no connections of its own, and never asks for a release.
"""

from __future__ import annotations

from enum import Enum

from broker.dicom.upper_layer.pdu import types


class AssociationState(Enum):
    """State of an association (PS3.8 tables 9-1 to 9-5)."""

    STA1 = "idle"
    STA2 = "awaiting the A-ASSOCIATE-RQ"
    STA3 = "awaiting the local answer to an A-ASSOCIATE-RQ"
    STA6 = "established"
    STA8 = "awaiting the local answer to an A-RELEASE-RQ"
    STA13 = "awaiting the peer's closing of the connection"


class AssociationEvent(Enum):
    """What may happen to an association (PS3.8 table 9-10, its left column)."""

    ASSOCIATE_AC = "Evt3"
    ASSOCIATE_RJ = "Evt4"
    CONNECTED = "Evt5"
    ASSOCIATE_RQ = "Evt6"
    ACCEPT = "Evt7"  # the local answer
    REJECT = "Evt8"  # the local answer
    SEND_DATA = "Evt9"
    DATA = "Evt10"
    RELEASE_RQ = "Evt12"
    RELEASE_RP = "Evt13"
    ANSWER_RELEASE = "Evt14"  # the local answer
    ABORT_IT = "Evt15"  # the local wish
    ABORT = "Evt16"
    CLOSED = "Evt17"
    TIME_IS_UP = "Evt18"  # the ARTIM timer
    INVALID = "Evt19"  # an unrecognised or invalid PDU


class AssociationAction(Enum):
    """What is to be done then (PS3.8 tables 9-6 to 9-9)."""

    AE_5 = "accept the connection, start the timer"
    AE_6 = "stop the timer, consider the request"
    AE_7 = "send the A-ASSOCIATE-AC"
    AE_8 = "send the A-ASSOCIATE-RJ, start the timer"
    DT_1 = "send the P-DATA-TF"
    DT_2 = "take the P-DATA-TF"
    AR_2 = "take the A-RELEASE-RQ"
    AR_4 = "send the A-RELEASE-RP, start the timer"
    AR_5 = "stop the timer"
    AR_7 = "send the P-DATA-TF although a release was asked for"
    AA_1 = "send an A-ABORT (service user), start the timer"
    AA_2 = "stop the timer, close the connection"
    AA_3 = "the peer aborted: close the connection"
    AA_4 = "the connection is gone"
    AA_5 = "stop the timer: the connection is gone"
    AA_6 = "ignore the PDU"
    AA_7 = "send an A-ABORT"
    AA_8 = "send an A-ABORT (service provider), start the timer"


_S, _E, _A = AssociationState, AssociationEvent, AssociationAction
# PS3.8 table 9-10. AE-6 leads to Sta3; a request that is refused there and then (protocol version) is Evt8 at once.
TABLE: dict[tuple[AssociationState, AssociationEvent], tuple[AssociationAction, AssociationState]] = {
    (_S.STA1, _E.CONNECTED): (_A.AE_5, _S.STA2),
    # Sta2: anything but an A-ASSOCIATE-RQ ends it.
    (_S.STA2, _E.ASSOCIATE_AC): (_A.AA_1, _S.STA13),
    (_S.STA2, _E.ASSOCIATE_RJ): (_A.AA_1, _S.STA13),
    (_S.STA2, _E.ASSOCIATE_RQ): (_A.AE_6, _S.STA3),
    (_S.STA2, _E.DATA): (_A.AA_1, _S.STA13),
    (_S.STA2, _E.RELEASE_RQ): (_A.AA_1, _S.STA13),
    (_S.STA2, _E.RELEASE_RP): (_A.AA_1, _S.STA13),
    (_S.STA2, _E.ABORT): (_A.AA_2, _S.STA1),
    (_S.STA2, _E.CLOSED): (_A.AA_5, _S.STA1),
    (_S.STA2, _E.TIME_IS_UP): (_A.AA_2, _S.STA1),
    (_S.STA2, _E.INVALID): (_A.AA_1, _S.STA13),
    # Sta3: the peer has to wait for our answer.
    (_S.STA3, _E.ASSOCIATE_AC): (_A.AA_8, _S.STA13),
    (_S.STA3, _E.ASSOCIATE_RJ): (_A.AA_8, _S.STA13),
    (_S.STA3, _E.ASSOCIATE_RQ): (_A.AA_8, _S.STA13),
    (_S.STA3, _E.ACCEPT): (_A.AE_7, _S.STA6),
    (_S.STA3, _E.REJECT): (_A.AE_8, _S.STA13),
    (_S.STA3, _E.DATA): (_A.AA_8, _S.STA13),
    (_S.STA3, _E.RELEASE_RQ): (_A.AA_8, _S.STA13),
    (_S.STA3, _E.RELEASE_RP): (_A.AA_8, _S.STA13),
    (_S.STA3, _E.ABORT_IT): (_A.AA_1, _S.STA13),
    (_S.STA3, _E.ABORT): (_A.AA_3, _S.STA1),
    (_S.STA3, _E.CLOSED): (_A.AA_4, _S.STA1),
    (_S.STA3, _E.INVALID): (_A.AA_8, _S.STA13),
    # Sta6: data in both directions.
    (_S.STA6, _E.ASSOCIATE_AC): (_A.AA_8, _S.STA13),
    (_S.STA6, _E.ASSOCIATE_RJ): (_A.AA_8, _S.STA13),
    (_S.STA6, _E.ASSOCIATE_RQ): (_A.AA_8, _S.STA13),
    (_S.STA6, _E.SEND_DATA): (_A.DT_1, _S.STA6),
    (_S.STA6, _E.DATA): (_A.DT_2, _S.STA6),
    (_S.STA6, _E.RELEASE_RQ): (_A.AR_2, _S.STA8),
    (_S.STA6, _E.RELEASE_RP): (_A.AA_8, _S.STA13),
    (_S.STA6, _E.ABORT_IT): (_A.AA_1, _S.STA13),
    (_S.STA6, _E.ABORT): (_A.AA_3, _S.STA1),
    (_S.STA6, _E.CLOSED): (_A.AA_4, _S.STA1),
    (_S.STA6, _E.INVALID): (_A.AA_8, _S.STA13),
    # Sta8: answers that were under way may still go out.
    (_S.STA8, _E.ASSOCIATE_AC): (_A.AA_8, _S.STA13),
    (_S.STA8, _E.ASSOCIATE_RJ): (_A.AA_8, _S.STA13),
    (_S.STA8, _E.ASSOCIATE_RQ): (_A.AA_8, _S.STA13),
    (_S.STA8, _E.SEND_DATA): (_A.AR_7, _S.STA8),
    (_S.STA8, _E.DATA): (_A.AA_8, _S.STA13),
    (_S.STA8, _E.RELEASE_RQ): (_A.AA_8, _S.STA13),
    (_S.STA8, _E.RELEASE_RP): (_A.AA_8, _S.STA13),
    (_S.STA8, _E.ANSWER_RELEASE): (_A.AR_4, _S.STA13),
    (_S.STA8, _E.ABORT_IT): (_A.AA_1, _S.STA13),
    (_S.STA8, _E.ABORT): (_A.AA_3, _S.STA1),
    (_S.STA8, _E.CLOSED): (_A.AA_4, _S.STA1),
    (_S.STA8, _E.INVALID): (_A.AA_8, _S.STA13),
    # Sta13: nothing more is sent but A-ABORT.
    (_S.STA13, _E.ASSOCIATE_AC): (_A.AA_6, _S.STA13),
    (_S.STA13, _E.ASSOCIATE_RJ): (_A.AA_6, _S.STA13),
    (_S.STA13, _E.ASSOCIATE_RQ): (_A.AA_7, _S.STA13),
    (_S.STA13, _E.DATA): (_A.AA_6, _S.STA13),
    (_S.STA13, _E.RELEASE_RQ): (_A.AA_6, _S.STA13),
    (_S.STA13, _E.RELEASE_RP): (_A.AA_6, _S.STA13),
    (_S.STA13, _E.ABORT): (_A.AA_2, _S.STA1),
    (_S.STA13, _E.CLOSED): (_A.AR_5, _S.STA1),
    (_S.STA13, _E.TIME_IS_UP): (_A.AA_2, _S.STA1),
    (_S.STA13, _E.INVALID): (_A.AA_7, _S.STA13),
}
del _S, _E, _A

PDU_EVENTS = {
    types.ASSOCIATE_RQ: AssociationEvent.ASSOCIATE_RQ,
    types.ASSOCIATE_AC: AssociationEvent.ASSOCIATE_AC,
    types.ASSOCIATE_RJ: AssociationEvent.ASSOCIATE_RJ,
    types.P_DATA: AssociationEvent.DATA,
    types.RELEASE_RQ: AssociationEvent.RELEASE_RQ,
    types.RELEASE_RP: AssociationEvent.RELEASE_RP,
    types.ABORT: AssociationEvent.ABORT,
}


def next_step(state: AssociationState, event: AssociationEvent) -> tuple[AssociationAction, AssociationState]:
    """Return what is to be done, and the state then; what the table does not have ends the association (AA-8)."""
    return TABLE.get((state, event), (AssociationAction.AA_8, AssociationState.STA13))
