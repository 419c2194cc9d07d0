"""Read, write, read: the same PDU, and the same command set, whatever came.

A thousand cases in all here; 100,000 each by hand: LAW=100000 python -m pytest tests/dicom/upper_layer/test_law.py
"""

from __future__ import annotations

import os
import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.tag import BaseTag
from pynetdicom import pdu as pynetdicom_pdu
from pynetdicom.pdu_primitives import (
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)

from broker.dicom.upper_layer.dimse import command_set
from broker.dicom.upper_layer.dimse.command_set import FORMS, RESPONSE, CommandSet
from broker.dicom.upper_layer.pdu import reader, writer
from broker.dicom.upper_layer.pdu.types import (
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    ContextResult,
    DataTransfer,
    InvalidPdu,
    Pdu,
    PresentationDataValue,
    ProposedContext,
    ReleaseReply,
    ReleaseRequest,
)
from broker.dicom.upper_layer.pdu.user_items import (
    AsynchronousOperations,
    CommonExtendedNegotiation,
    ExtendedNegotiation,
    ImplementationClassUid,
    ImplementationVersionName,
    MaximumLength,
    RoleSelection,
    UserIdentity,
    UserIdentityResponse,
    UserItem,
)
from tests.dicom.upper_layer.requests import negotiator, request

CASES = int(os.environ.get("LAW", "25"))
# Command fields of every service (PS3.7 annex E.1).
REQUESTS = (0x0001, 0x0010, 0x0020, 0x0021, 0x0030, 0x0FFF, 0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150)
pytestmark = pytest.mark.slow
law = settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))

# ---- PDUs that conform ----

UINT8, UINT16, UINT32 = st.integers(0, 0xFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
UIDS = st.from_regex(r"\A[0-2](\.(0|[1-9][0-9]{0,6})){1,7}\Z")
AE_TITLES = st.from_regex(r"\A[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?\Z")
CONTEXT_IDS = st.integers(0, 127).map(lambda number: 2 * number + 1)
SMALL = st.binary(max_size=60)
EVEN = st.binary(max_size=300).map(lambda data: data + data[: len(data) & 1])
USER_ITEMS: dict[int, st.SearchStrategy[UserItem]] = {
    0x51: st.builds(MaximumLength, UINT32),
    0x52: st.builds(ImplementationClassUid, UIDS),
    0x53: st.builds(AsynchronousOperations, UINT16, UINT16),
    0x54: st.builds(RoleSelection, UIDS, st.booleans(), st.booleans()),
    0x55: st.builds(ImplementationVersionName, AE_TITLES),
    0x56: st.builds(ExtendedNegotiation, UIDS, SMALL),
    0x57: st.builds(CommonExtendedNegotiation, UIDS, UIDS, st.lists(UIDS, max_size=3).map(tuple)),
    0x58: st.builds(UserIdentity, st.integers(1, 5), st.booleans(), st.binary(min_size=1, max_size=40), SMALL),
    0x59: st.builds(UserIdentityResponse, SMALL),
}
OPTIONAL_ITEMS = st.one_of([each for kind, each in USER_ITEMS.items() if kind not in (0x51, 0x52)])
ALL_ITEMS = st.tuples(USER_ITEMS[0x51], USER_ITEMS[0x52], st.lists(OPTIONAL_ITEMS, max_size=5)).flatmap(
    lambda items: st.permutations([items[0], items[1], *items[2]]).map(tuple)
)
PROPOSED = st.lists(
    st.builds(ProposedContext, CONTEXT_IDS, UIDS, st.lists(UIDS, min_size=1, max_size=4).map(tuple)),
    min_size=1,
    max_size=6,
    unique_by=lambda each: each.id,
).map(tuple)
RESULTS = st.lists(
    st.builds(ContextResult, CONTEXT_IDS, st.integers(0, 4), UIDS),
    min_size=1,
    max_size=6,
    unique_by=lambda each: each.id,
).map(tuple)
REJECTIONS = [
    (source, reason) for source, reasons in ((1, (1, 2, 3, 7)), (2, (1, 2)), (3, (1, 2))) for reason in reasons
]
ABORTS = [(0, 0), *((2, reason) for reason in (0, 1, 2, 4, 5, 6))]
PDUS: dict[str, st.SearchStrategy[Any]] = {
    "A-ASSOCIATE-RQ": st.builds(AssociateRequest, AE_TITLES, AE_TITLES, UIDS, PROPOSED, ALL_ITEMS, UINT16),
    "A-ASSOCIATE-AC": st.builds(AssociateAccept, AE_TITLES, AE_TITLES, UIDS, RESULTS, ALL_ITEMS, UINT16),
    "A-ASSOCIATE-RJ": st.tuples(st.integers(1, 2), st.sampled_from(REJECTIONS)).map(
        lambda drawn: AssociateReject(drawn[0], *drawn[1])
    ),
    "P-DATA-TF": st.lists(
        st.builds(PresentationDataValue, CONTEXT_IDS, st.integers(0, 3), EVEN), min_size=1, max_size=5
    ).map(lambda values: DataTransfer(tuple(values))),
    "A-RELEASE-RQ": st.just(ReleaseRequest()),
    "A-RELEASE-RP": st.just(ReleaseReply()),
    "A-ABORT": st.sampled_from(ABORTS).map(lambda drawn: Abort(*drawn)),
}


def by_pynetdicom(data: bytes) -> bytes:
    """Read and write a PDU by pynetdicom."""
    kinds = {
        1: pynetdicom_pdu.A_ASSOCIATE_RQ,
        2: pynetdicom_pdu.A_ASSOCIATE_AC,
        3: pynetdicom_pdu.A_ASSOCIATE_RJ,
        4: pynetdicom_pdu.P_DATA_TF,
        5: pynetdicom_pdu.A_RELEASE_RQ,
        6: pynetdicom_pdu.A_RELEASE_RP,
        7: pynetdicom_pdu.A_ABORT_RQ,
    }
    decoded = kinds[data[0]]()
    decoded.decode(data)
    return bytes(decoded.encode())


@pytest.mark.parametrize("name", PDUS)
@law
@given(data=st.data())
def test_a_pdu_that_was_written_is_read_as_the_same(name: str, data: st.DataObject) -> None:
    pdu = data.draw(PDUS[name])
    written = writer.write(pdu)
    for strict in (True, False):
        read = reader.read(written, strict=strict)
        assert read == pdu
        assert type(read) is type(pdu)
    assert writer.write(reader.read(written)) == written


@pytest.mark.parametrize("kind", USER_ITEMS)
@law
@given(data=st.data())
def test_each_item_of_user_information_is_read_as_it_was_written(kind: int, data: st.DataObject) -> None:
    item = data.draw(USER_ITEMS[kind])
    pdu = AssociateRequest("A", "B", "1.2", (ProposedContext(1, "1.2", ("1.2",)),), (item,))
    written = writer.write(pdu, strict=False)
    assert reader.read(written) == pdu
    assert written[written.index(b"\x50\0") + 4] == kind


@pytest.mark.parametrize("name", PDUS)
@settings(law, max_examples=min(CASES, 2000))
@given(data=st.data())
def test_pynetdicom_reads_and_writes_the_same_bytes(name: str, data: st.DataObject) -> None:
    written = writer.write(data.draw(PDUS[name]))
    if name == "P-DATA-TF" or b"\x57\0" in written:  # it orders no fields there, or writes a length of its own
        return
    assert reader.read(by_pynetdicom(written)) == reader.read(written)


# ---- PDUs as they come ----


@st.composite
def mutated(draw: st.DrawFn, originals: st.SearchStrategy[bytes]) -> bytes:
    """Draw a PDU with some bytes changed, lost or added; its length mostly put right again."""
    data = bytearray(draw(originals))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 3)):
            case 0 if at < len(data):
                data[at] = draw(st.one_of(UINT8, st.sampled_from(b"\0 .1")))
            case 1:
                del data[at : at + draw(st.integers(1, 4))]
            case 2:
                data[at:at] = draw(st.binary(min_size=1, max_size=6))
            case _:
                end = min(len(data), at + draw(st.integers(1, 30)))
                data[at:at] = data[at:end]
    if len(data) >= 6 and draw(st.integers(0, 9)):
        data[2:6] = (len(data) - 6).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("name", PDUS)
@law
@given(data=st.data())
def test_whatever_is_read_is_written_and_read_as_the_same(name: str, strict: bool, data: st.DataObject) -> None:
    raw = data.draw(mutated(PDUS[name].map(writer.write)))
    try:
        pdu: Pdu = reader.read(raw, strict=strict)
    except InvalidPdu:
        return
    written = writer.write(pdu, strict=strict)
    assert reader.read(written, strict=strict) == pdu
    assert writer.write(reader.read(written, strict=strict), strict=strict) == written


@law
@given(raw=st.binary(max_size=200))
def test_any_bytes_are_refused_or_keep_the_law(raw: bytes) -> None:
    try:
        pdu = reader.read(raw)
    except InvalidPdu:
        return
    assert reader.read(writer.write(pdu, strict=False)) == pdu


@law
@given(name=st.sampled_from(sorted(PDUS)), data=st.data())
def test_what_is_read_strictly_is_read_alike_without(name: str, data: st.DataObject) -> None:
    raw = data.draw(mutated(PDUS[name].map(writer.write)))
    try:
        pdu = reader.read(raw, strict=True)
    except InvalidPdu:
        return
    assert reader.read(raw) == pdu


@pytest.mark.parametrize(
    "pdu",
    [
        AssociateReject(3, 1, 1),
        AssociateReject(1, 2, 7),
        Abort(1, 0),
        Abort(0, 2),
        DataTransfer(()),
        DataTransfer((PresentationDataValue(2, 3, b"ab"),)),
        DataTransfer((PresentationDataValue(1, 4, b"ab"),)),
        DataTransfer((PresentationDataValue(1, 3, b"abc"),)),
        AssociateRequest("", "B", "1.2", (ProposedContext(1, "1.2", ("1.2",)),), (MaximumLength(0),)),
        AssociateRequest("A", "B" * 17, "1.2", (), ()),
        AssociateAccept("A", "B", None, (ContextResult(1, 0, None),), ()),
    ],
)
def test_what_breaks_ps38_is_not_written(pdu: Pdu) -> None:
    with pytest.raises(ValueError, match=r"."):
        writer.write(pdu)


def proper(*items: UserItem) -> AssociateRequest:
    user = (MaximumLength(16384), ImplementationClassUid("1.2.3"), *items)
    return AssociateRequest("WORKLIST", "CT", "1.2.3", (ProposedContext(1, "1.2", ("1.2.4",)),), user)


def test_lenient_takes_what_strict_refuses() -> None:
    written = writer.write(proper(ImplementationVersionName("odd")))
    unknown = written[:2] + (len(written) - 6 + 5).to_bytes(4, "big") + written[6:] + b"\x99\0\0\1x"
    assert reader.read(unknown, strict=True) == reader.read(written)  # PS3.8 9.3.1: ignored
    identity = writer.write(proper(UserIdentity(1, False, b"name", b"")))
    broken = identity.replace(b"\0\4name", b"\0\x09name")
    assert reader.read(broken) == proper()
    with pytest.raises(InvalidPdu):
        reader.read(broken, strict=True)


def test_items_of_unknown_types_do_not_end_an_association() -> None:
    """PS3.8 9.3.1, PS3.7 D.3.3: they are ignored; pynetdicom's reader refused the whole request."""
    data = request(("1.2.840.10008.1.1", ["1.2.840.10008.1.2"]))
    at = data.index(b"\x50\0")
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    longer = data[: at + 2] + (length + 6).to_bytes(2, "big") + data[at + 4 :] + b"\x5f\0\0\2ab"
    longer = longer[:2] + (len(longer) - 6).to_bytes(4, "big") + longer[6:]
    with pytest.raises(KeyError):
        by_pynetdicom(longer)
    assert negotiator().answer(longer).reply == negotiator().answer(data).reply


@pytest.mark.parametrize("name", [b"OF MORE THAN 16 CHARACTERS", b"NAME\0\0\0", b"", b"\xd0\x98\xd0\xbc\xd1\x8f"])
def test_an_odd_implementation_version_name_ends_no_association(name: bytes) -> None:
    data = request(("1.2.840.10008.1.1", ["1.2.840.10008.1.2"]))
    at = data.index(b"\x50\0")
    (length,) = struct.unpack_from(">H", data, at + 2)
    body = data[6:at] + struct.pack(">BxH", 0x50, length + 4 + len(name)) + data[at + 4 :]
    odd = data[:2] + struct.pack(">L", len(body) + 4 + len(name)) + body + struct.pack(">BxH", 0x55, len(name)) + name
    assert negotiator().answer(odd).reply == negotiator().answer(data).reply


@law
@given(
    contexts=PROPOSED,
    roles=st.lists(UIDS, max_size=2),
    calling=AE_TITLES,
    called=AE_TITLES,
    more=st.booleans(),
)
def test_requests_are_negotiated_as_pynetdicom_wrote_them(
    contexts: tuple[ProposedContext, ...], roles: list[str], calling: str, called: str, more: bool
) -> None:
    items: list[Any] = []
    for uid in dict.fromkeys(roles):
        role = SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid, role.scu_role, role.scp_role = uid, True, False
        items.append(role)
    if more:
        extended = SOPClassExtendedNegotiation()
        extended.sop_class_uid, extended.service_class_application_information = "1.2.3", b"\1\0"
        identity = UserIdentityNegotiation()
        identity.user_identity_type, identity.primary_field = 1, b"name"
        items += [extended, identity]
    proposed = [(each.abstract_syntax, list(dict.fromkeys(each.transfer_syntaxes))) for each in contexts]
    data = request(*proposed, calling=calling, called=called, more=items)
    read = reader.read(data, strict=True)
    assert isinstance(read, AssociateRequest)
    assert (read.calling_ae_title, read.called_ae_title) == (calling, called)
    assert [(each.abstract_syntax, list(each.transfer_syntaxes)) for each in read.contexts] == proposed
    assert len([each for each in read.user_items if isinstance(each, RoleSelection)]) == len(set(roles))
    assert writer.write(read) == data
    result = negotiator().answer(data)
    assert by_pynetdicom(result.reply) == result.reply


# ---- command sets ----

TAGS = st.lists(UINT32.map(BaseTag), min_size=1, max_size=4).map(tuple)
COMMENTS = st.from_regex(r"\A[!-\[\]-~]([ -\[\]-~]{0,62}[!-\[\]-~])?\Z")
ELEMENTS: dict[str, st.SearchStrategy[Any]] = {
    "sop_class_uid": UIDS,
    "sop_instance_uid": UIDS,
    "attributes": TAGS,
    "priority": st.integers(0, 2),
    "status": UINT16,
    "offending_elements": TAGS,
    "error_comment": COMMENTS,
    "error_id": UINT16,
}
WITHOUT_DATASET = {command_set.C_ECHO, command_set.C_ECHO | RESPONSE, command_set.C_CANCEL, command_set.N_GET}


@st.composite
def commands(draw: st.DrawFn, field: int) -> CommandSet:
    """Draw a command set that conforms, with any of what it may leave out."""
    has_dataset = field not in WITHOUT_DATASET and draw(st.booleans())
    values = {
        name.removesuffix("?"): draw(ELEMENTS[name.removesuffix("?")])
        for name in FORMS[field]
        if not name.endswith("?") or draw(st.booleans())
    }
    return CommandSet(field, draw(UINT16), has_dataset, **values)


@pytest.mark.parametrize("field", FORMS, ids=lambda field: f"{field:04X}")
@law
@given(data=st.data())
def test_a_command_set_that_was_written_is_read_as_the_same(field: int, data: st.DataObject) -> None:
    command = data.draw(commands(field))
    written = command_set.write(command)
    assert command_set.read(written, strict=True) == command
    assert command_set.read(written) == command
    assert command_set.write(command_set.read(written)) == written


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("field", FORMS, ids=lambda field: f"{field:04X}")
@law
@given(data=st.data())
def test_whatever_command_set_is_read_is_written_and_read_as_the_same(
    field: int, strict: bool, data: st.DataObject
) -> None:
    raw = data.draw(mutated(commands(field).map(command_set.write)))
    try:
        command = command_set.read(raw, strict=strict)
    except InvalidPdu:
        return
    written = command_set.write(command, strict=strict)
    assert command_set.read(written, strict=strict) == command


@law
@given(field=st.sampled_from(REQUESTS), id=UINT16, uid=UIDS, has_dataset=st.booleans())
def test_requests_of_services_that_are_not_offered_are_read_as_well(
    field: int, id: int, uid: str, has_dataset: bool
) -> None:
    command = CommandSet(field, id, has_dataset, uid, uid)
    assert command_set.read(command_set.write(command, strict=False)) == command


@pytest.mark.parametrize(
    "command",
    [
        CommandSet(command_set.C_ECHO, 1, True, "1.2"),
        CommandSet(command_set.C_ECHO, 1, False),
        CommandSet(command_set.C_FIND, 1, True, "1.2"),
        CommandSet(command_set.C_FIND, 1, True, "1.2", priority=3),
        CommandSet(command_set.C_FIND, 1, True, "1.02", priority=0),
        CommandSet(command_set.N_SET, 1, True, "1.2"),
        CommandSet(command_set.N_SET, 1, True, "1.2", "1.3", status=0),
        CommandSet(command_set.N_SET | RESPONSE, 1, False, "1.2"),
        CommandSet(command_set.N_SET | RESPONSE, 1, False, status=0, error_comment="x" * 65),
        CommandSet(command_set.C_STORE, 1, True, "1.2", priority=0),
        CommandSet(0x0021, 1, True, "1.2", "1.3", priority=0),  # C-MOVE, which is not spoken here
    ],
)
def test_what_breaks_ps37_is_not_written(command: CommandSet) -> None:
    with pytest.raises(ValueError, match="a command set"):
        command_set.write(command)


@pytest.mark.parametrize(
    "broken",
    [
        lambda raw: raw[:8] + b"\0\0\0\0" + raw[12:],  # group length
        lambda raw: raw[:12] + raw[30:] + raw[12:30],  # order
        lambda raw: raw + b"\0\0\x10\x50\2\0\0\0ab",  # an unknown element
    ],
)
def test_a_command_set_out_of_form_is_read_unless_strictly(broken: Any) -> None:
    command = CommandSet(command_set.C_FIND, 7, True, "1.2.840.10", priority=0)
    raw = broken(command_set.write(command))
    read = command_set.read(raw)
    assert read._replace(priority=0) == command
    with pytest.raises(InvalidPdu):
        command_set.read(raw, strict=True)
