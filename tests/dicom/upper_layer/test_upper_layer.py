"""The upper layer piece by piece: the table beside PS3.8's as pynetdicom has it, PDUs, fragments, command sets."""

from __future__ import annotations

import struct
from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID
from pynetdicom import dimse_messages, dimse_primitives, evt
from pynetdicom.dsutils import encode
from pynetdicom.fsm import TRANSITION_TABLE
from pynetdicom.pdu import A_ASSOCIATE_AC
from pynetdicom.pdu_primitives import (
    P_DATA,
    SCP_SCU_RoleSelectionNegotiation,
    UserIdentityNegotiation,
)

from broker.dicom.statuses import MAY_NO_LONGER_BE_UPDATED, Status, status
from broker.dicom.upper_layer import answering
from broker.dicom.upper_layer.answering import Reply, Request
from broker.dicom.upper_layer.dimse import command_set
from broker.dicom.upper_layer.dimse.command_set import CommandSet
from broker.dicom.upper_layer.dimse.message import MessageAssembler
from broker.dicom.upper_layer.limits import LARGEST_COMMAND, LARGEST_PDU
from broker.dicom.upper_layer.negotiation import AcceptedContext, NegotiationResult
from broker.dicom.upper_layer.pdu import reader, types, writer
from broker.dicom.upper_layer.pdu.types import InvalidPdu
from broker.dicom.upper_layer.table import TABLE, AssociationAction, AssociationEvent, AssociationState, next_step
from tests.dicom.upper_layer.requests import BIG, DEFLATED, EXPLICIT, IMPLICIT, MPPS, WORKLIST, negotiator, request

assert evt  # pynetdicom's modules need it imported before the primitives

FROM_THE_PEER = {
    AssociationEvent.ASSOCIATE_AC,
    AssociationEvent.ASSOCIATE_RJ,
    AssociationEvent.ASSOCIATE_RQ,
    AssociationEvent.DATA,
    AssociationEvent.RELEASE_RQ,
    AssociationEvent.RELEASE_RP,
    AssociationEvent.ABORT,
    AssociationEvent.CLOSED,
    AssociationEvent.INVALID,
}


# ---- the table ----


def test_the_table_is_ps38s() -> None:
    """Every cell of table 9-10 that an acceptor can meet, as another implementation has it."""
    for (event, state), action in TRANSITION_TABLE.items():
        ours = (
            AssociationState.__members__.get(state.upper()),
            next((each for each in AssociationEvent if each.value == event), None),
        )
        if None in ours or event == "Evt5":
            continue
        if ours in (
            (AssociationState.STA13, AssociationEvent.ACCEPT),
            (AssociationState.STA13, AssociationEvent.REJECT),
        ):
            continue
        found = TABLE.get(ours)  # type: ignore[arg-type]
        if found is None:
            # PS3.8 has an action for a local wish to abort before anything was agreed; we simply close then.
            assert ours[1] not in FROM_THE_PEER, (event, state)
        else:
            assert found[0].name.replace("_", "-") == action, (event, state)


@pytest.mark.parametrize(
    "state",
    [
        AssociationState.STA2,
        AssociationState.STA3,
        AssociationState.STA6,
        AssociationState.STA8,
        AssociationState.STA13,
    ],
)
@pytest.mark.parametrize("event", sorted(FROM_THE_PEER, key=str))
def test_whatever_a_peer_does_is_in_the_table(state: AssociationState, event: AssociationEvent) -> None:
    assert (state, event) in TABLE


@pytest.mark.parametrize("state", list(AssociationState))
@pytest.mark.parametrize("event", list(AssociationEvent))
def test_what_is_not_in_the_table_ends_the_association(state: AssociationState, event: AssociationEvent) -> None:
    action, after = next_step(state, event)
    assert (state, event) in TABLE or (action, after) == (AssociationAction.AA_8, AssociationState.STA13)
    # Nothing but an accepted request leads there, nothing but data leaves it as it is.
    if after is AssociationState.STA6:
        assert (state, event) in {
            (AssociationState.STA3, AssociationEvent.ACCEPT),
            (AssociationState.STA6, AssociationEvent.DATA),
            (AssociationState.STA6, AssociationEvent.SEND_DATA),
        }


# ---- PDUs ----


@pytest.mark.parametrize("kind", [0, 8, 0x16, 0x47, 0xFF])
def test_what_is_not_a_pdu_is_recognised_by_its_first_byte(kind: int) -> None:
    with pytest.raises(InvalidPdu) as caught:
        reader.header(bytes([kind]) + b"ET / ", 0)
    assert caught.value.reason == 1


@pytest.mark.parametrize(
    ("kind", "length"),
    [(1, 0xFFFFFFFF), (1, 1 << 20), (2, 1 << 20), (4, LARGEST_PDU + 1), (5, 5), (6, 0), (7, 0xFFFFFFFF), (3, 3)],
)
def test_a_length_is_judged_by_the_header_alone(kind: int, length: int) -> None:
    with pytest.raises(InvalidPdu):
        reader.header(struct.pack(">BxL", kind, length), 0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\0\0\2\1",
        b"\0\0\0\1\1\3",
        b"\0\0\0\0\1\3",
        b"\0\0\0\x09\1\3ab",
        b"\xff\xff\xff\xff\1\3",
        b"\0\0\0\4\1\3ab\0",
    ],
)
def test_values_that_do_not_fill_their_pdu_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidPdu):
        list(reader.values(body))


@given(
    command=st.binary(min_size=1, max_size=300).map(lambda data: data + data[: len(data) & 1]),
    dataset=st.none() | st.binary(max_size=3000).map(lambda data: data + data[: len(data) & 1]),
    most=st.sampled_from([0, 8, 9, 16, 63, 128, 1024, 4096, 65536]),
)
def test_a_message_comes_back_from_its_pdus_and_none_is_too_long(
    command: bytes, dataset: bytes | None, most: int
) -> None:
    data, at = writer.message(5, command, dataset, most), 0
    parts = {1: b"", 0: b""}
    ends: list[int] = []
    while at < len(data):
        kind, length = reader.header(data, at)
        assert kind == types.P_DATA
        assert not most or length <= most
        for context, control, fragment in reader.values(data[at + 6 : at + 6 + length]):
            assert context == 5
            assert len(fragment) % 2 == 0
            assert (control & 1) not in ends
            parts[control & 1] += fragment
            if control & 2:
                ends.append(control & 1)
        at += 6 + length
    assert ends == ([1] if dataset is None else [1, 0])
    assert parts == {1: command, 0: dataset or b""}


# ---- fragments ----


def a_command(has_dataset: bool = True) -> bytes:
    return command_set.write(CommandSet(command_set.C_FIND, 7, has_dataset, WORKLIST, priority=0))


def test_a_message_is_put_together_of_its_fragments() -> None:
    collector, raw = MessageAssembler(1 << 20), a_command()
    assert collector.add(1, 1, raw[:10]) is None
    assert collector.add(1, 3, raw[10:]) is None
    assert collector.is_within_message
    for _ in range(3):
        assert collector.add(1, 0, b"ab") is None
    done = collector.add(1, 2, b"cd")
    assert done is not None
    assert (done.context_id, done.dataset) == (1, b"abababcd")
    assert (done.command.message_id, done.command.field) == (7, command_set.C_FIND)
    assert not collector.is_within_message
    without = collector.add(3, 3, a_command(False))
    assert without is not None
    assert without.dataset == b""


@pytest.mark.parametrize(
    "fragments",
    [
        [(1, 0, b"ab")],  # a dataset without its command
        [(1, 3, a_command()), (1, 1, b"")],  # a second command
        [(1, 3, a_command()), (3, 2, b"")],  # in another context
        [(1, 3, b"garbage!")],
        [(1, 3, a_command()[:-1])],
        [(1, 3, b"")],
        [(1, 1, bytes(LARGEST_COMMAND))],
        [(1, 3, a_command()), (1, 0, bytes(1 << 20))],
    ],
)
def test_fragments_that_may_not_follow_are_refused(fragments: list[tuple[int, int, bytes]]) -> None:
    collector = MessageAssembler(1 << 20)
    for fragment in fragments[:-1]:
        collector.add(*fragment)
    with pytest.raises(InvalidPdu):
        collector.add(*fragments[-1])


def test_endless_empty_fragments_meet_the_limit_too() -> None:
    collector = MessageAssembler(60_000)
    collector.add(1, 3, a_command())
    with pytest.raises(InvalidPdu, match="too long"):
        deque((collector.add(1, 0, b"") for _ in range(20_000)), maxlen=0)


# ---- command sets ----

UIDS = st.from_regex(r"\A[12](\.(0|[1-9][0-9]{0,5})){1,8}\Z")
IDS = st.integers(0, 0xFFFF)
TAGS = st.lists(st.integers(0, 0xFFFFFFFF).map(Tag), max_size=5)
CLASSES: dict[int, tuple[Any, str]] = {
    command_set.C_ECHO: (dimse_primitives.C_ECHO, "Affected"),
    command_set.C_FIND: (dimse_primitives.C_FIND, "Affected"),
    command_set.N_CREATE: (dimse_primitives.N_CREATE, "Affected"),
    command_set.N_SET: (dimse_primitives.N_SET, "Requested"),
    command_set.N_GET: (dimse_primitives.N_GET, "Requested"),
}


def by_pynetdicom(primitive: Any, kind: str) -> bytes:
    """Encode a command set by pynetdicom."""
    encoded = getattr(dimse_messages, kind)()
    encoded.primitive_to_message(primitive)
    data = encode(encoded.command_set, True, True)
    assert data is not None
    return data


@given(field=st.sampled_from(sorted(CLASSES)), id=IDS, sop_class=UIDS, instance=UIDS, tags=TAGS)
def test_requests_are_read_as_pynetdicom_wrote_them(
    field: int, id: int, sop_class: str, instance: str, tags: list[Any]
) -> None:
    made, which = CLASSES[field]
    primitive = made()
    primitive.MessageID = id
    setattr(primitive, f"{which}SOPClassUID", UID(sop_class))
    normalised = field & 0x0100
    if normalised:
        setattr(primitive, f"{which}SOPInstanceUID", UID(instance))
    if field == command_set.C_FIND:
        primitive.Priority = 2
    if field == command_set.N_GET:
        primitive.AttributeIdentifierList = tags or None
    read = command_set.read(by_pynetdicom(primitive, f"{made.__name__}_RQ"))
    expected_tags = tuple(tags) if field == command_set.N_GET else ()
    priority = 2 if field == command_set.C_FIND else None
    assert read == CommandSet(
        field, id, False, sop_class, instance if normalised else None, expected_tags, priority=priority
    )


@given(id=IDS)
def test_a_cancel_is_read_as_pynetdicom_wrote_it(id: int) -> None:
    primitive = dimse_primitives.C_CANCEL()
    primitive.MessageIDBeingRespondedTo = id
    assert command_set.read(by_pynetdicom(primitive, "C_CANCEL_RQ")) == CommandSet(command_set.C_CANCEL, id, False)


STATUSES = st.sampled_from(
    [
        int(Status.SUCCESS),
        status(Status.PENDING),
        status(Status.IDENTIFIER_DOES_NOT_MATCH, "not a date", Tag("ScheduledProcedureStepStartDate")),
        status(Status.PROCESSING_FAILURE, "odd", error_id=MAY_NO_LONGER_BE_UPDATED),
        status(Status.MISSING_ATTRIBUTE, "PatientSex is missing", identifier=Tag("PatientSex")),
        status(Status.UNABLE_TO_PROCESS, "x" * 64),
    ]
)


@given(
    field=st.sampled_from(sorted(CLASSES)), id=IDS, sop_class=UIDS, instance=UIDS, reported=STATUSES, has=st.booleans()
)
def test_responses_are_written_as_pynetdicom_writes_them(
    field: int, id: int, sop_class: str, instance: str, reported: Dataset | int, has: bool
) -> None:
    made, _ = CLASSES[field]
    primitive = made()
    primitive.MessageIDBeingRespondedTo = id
    primitive.AffectedSOPClassUID = UID(sop_class)
    normalised = field & 0x0100
    if normalised:
        primitive.AffectedSOPInstanceUID = UID(instance)
    if isinstance(reported, int):
        primitive.Status = reported
    else:
        for element in reported:
            if hasattr(primitive, element.keyword):
                setattr(primitive, element.keyword, element.value)
    expected = by_pynetdicom(primitive, f"{made.__name__}_RSP")
    ours = answering.response(CommandSet(field, id, False, sop_class, instance), reported, False, instance)
    assert ours == expected


@given(st.binary(max_size=200))
def test_bytes_that_are_not_a_command_set_are_refused_or_read(data: bytes) -> None:
    try:
        command_set.read(data)
    except InvalidPdu:
        return


# ---- negotiation ----


def accepted(outcome: NegotiationResult) -> Any:
    decoded = A_ASSOCIATE_AC()
    decoded.decode(outcome.reply)
    return decoded.to_primitive()


def test_contexts_are_accepted_and_rejected_one_by_one() -> None:
    data = request(
        (WORKLIST, [EXPLICIT, IMPLICIT]),
        (WORKLIST, [EXPLICIT]),
        (MPPS, [DEFLATED, BIG]),
        ("1.2.840.10008.5.1.4.1.1.2", [IMPLICIT]),
        calling="  CT 1  ",
        most=4096,
    )
    outcome = negotiator().answer(data)
    assert (outcome.calling, outcome.called, outcome.max_length, outcome.accepted) == ("CT 1", "WORKLIST", 4096, True)
    assert outcome.contexts == {1: AcceptedContext(1, WORKLIST, True), 3: AcceptedContext(3, WORKLIST, False)}
    primitive = accepted(outcome)
    reported = {each.context_id: each.result for each in primitive.presentation_context_definition_results_list}
    assert reported == {1: 0, 3: 0, 5: 4, 7: 3}
    assert primitive.maximum_length_received == 65536


def test_a_request_is_read_once() -> None:
    asked = negotiator()
    data = request((WORKLIST, [IMPLICIT]))
    assert asked.answer(data) is asked.answer(bytes(bytearray(data)))
    for number in range(300):
        asked.answer(request((WORKLIST, [IMPLICIT]), calling=f"A{number}"))
    assert len(asked._remembered) <= 256


@pytest.mark.parametrize(
    ("changes", "rejected"),
    [
        ({"application": "1.2.3"}, (1, 1, 2)),
        ({"most": 7}, (1, 2, 1)),
    ],
)
def test_what_cannot_be_agreed_on_is_rejected_with_its_reason(
    changes: dict[str, Any], rejected: tuple[int, int, int]
) -> None:
    assert negotiator().answer(request((WORKLIST, [IMPLICIT]), **changes)).reply == writer.reject(*rejected)


def test_another_protocol_version_is_rejected() -> None:
    data = bytearray(request((WORKLIST, [IMPLICIT])))
    data[6:8] = b"\x00\x02"
    assert negotiator().answer(bytes(data)).reply == writer.reject(1, 2, 2)


def test_roles_and_identities_change_nothing() -> None:
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = UID(WORKLIST), True, False
    who = UserIdentityNegotiation()
    who.user_identity_type, who.primary_field, who.positive_response_requested = 1, b"somebody", True
    outcome = negotiator().answer(request((WORKLIST, [IMPLICIT]), more=[role, who]))
    assert outcome.contexts == {1: AcceptedContext(1, WORKLIST, True)}


@given(st.data())
def test_a_mutilated_request_is_refused_or_answered(data: Any) -> None:
    raw = bytearray(request((WORKLIST, [IMPLICIT, EXPLICIT]), (MPPS, [IMPLICIT])))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    try:
        negotiator().answer(bytes(raw[:cut] if data.draw(st.booleans()) else raw))
    except InvalidPdu:
        return


def test_a_request_of_a_hundred_thousand_items_is_not_read_to_its_end() -> None:
    body = struct.pack(">HH", 1, 0) + b"WORKLIST".ljust(16) + b"X".ljust(16) + bytes(32) + b"\x70\0\0\0" * 60_000
    with pytest.raises(InvalidPdu, match="too many"):
        negotiator().answer(struct.pack(">BxL", 1, len(body)) + body)


# ---- answers ----


class AListing:
    def __init__(self, matches: tuple[bytes, ...]) -> None:
        self.statuses = tuple(0xFF00 + number % 3 % 2 for number in range(len(matches)))
        self.matches = matches
        self.wire: dict[tuple[int, int, int], bytes] = {}


@pytest.mark.parametrize("most", [0, 128, 4096, 65536])
@pytest.mark.parametrize("count", [0, 1, 33, 2000])
def test_a_cached_list_is_sent_like_a_new_one(most: int, count: int) -> None:
    asked = Request("XRAY_14", "10.0.0.1", AcceptedContext(1, WORKLIST, True), command_set.read(a_command()), b"")
    kept = AListing(tuple(bytes([number % 256]) * 500 for number in range(count)))
    pending = {code: status(code) for code in (Status.PENDING, Status.PENDING_WARNING)}
    matches = zip(kept.statuses, kept.matches, strict=True)
    replies = [*(Reply(pending[Status(code)], match) for code, match in matches), Reply(status(Status.SUCCESS))]
    expected = b"".join(data for data, _ in answering.wires(asked, replies, most))
    assert b"".join(answering.wire(asked, each, most) for each in replies) == expected
    for _ in range(2):
        assert b"".join(answering.list_wires(asked, kept, most)) == expected
    assert sum(len(data) for data in kept.wire.values()) < 1 << 18


def test_pynetdicom_reads_what_we_send_in_small_pdus() -> None:
    asked = Request("XRAY_14", "10.0.0.1", AcceptedContext(1, WORKLIST, True), command_set.read(a_command()), b"")
    data = answering.wire(asked, Reply(status(Status.PENDING), b"ab" * 500), 64)
    got = dimse_messages.DIMSEMessage()
    values = P_DATA()
    at = 0
    while at < len(data):
        _, length = reader.header(data, at)
        values.presentation_data_value_list += [
            [context, bytes([control]) + fragment]  # type: ignore[misc]  # only lists are taken
            for context, control, fragment in reader.values(data[at + 6 : at + 6 + length])
        ]
        at += 6 + length
    assert got.decode_msg(values)
    assert got.command_set.Status == Status.PENDING
    assert got.data_set is not None
    assert got.data_set.getvalue() == b"ab" * 500
