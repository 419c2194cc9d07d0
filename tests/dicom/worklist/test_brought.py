"""Whatever an imported item holds is answered and matched when a device asks for it; what it lacks is said by FF01."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmwrite
from pydicom.dataset import Dataset

from broker.dicom.files import worklist_file
from broker.dicom.server import DicomServer
from broker.dicom.statuses import Status
from broker.domain.clinic.devices import Device
from broker.domain.studies import passthrough
from broker.store.database import Store
from broker.store.tables import devices, orders
from broker.workflow.referrals import worklist_files
from tests.dicom.worklist.asked import ask, query, register
from tests.peers.dcmtk import findscu
from tests.support import worklist_file as made
from tests.support.factory import CLINIC, REGISTRAR
from tests.support.port import serving

PRIVATE = 0x80010010


@pytest.fixture(autouse=True)
def all_days(store: Store) -> None:
    store.write(
        lambda tx: devices.put(tx, Device("XRAY_14", "Рентген", "DX", own_only=False, days_before=365, days_after=365))
    )


def bring(store: Store, ds: Dataset, name: str = "a.wl", implicit: bool = False) -> None:
    item, digest = worklist_file.read(made.written(ds, implicit))
    store.write(worklist_files.sync, item, name, digest, REGISTRAR, CLINIC)


def private(
    ds: Dataset, values: dict[int, tuple[str, object]], block: int = 0x10, creator: str = "ACME", group: int = 0x8001
) -> Dataset:
    """Add private attributes to a dataset: the number within the block -> VR and value."""
    ds.add_new((group, block), "LO", creator)
    for number, (vr, value) in values.items():
        ds.add_new((group, block << 8 | number), vr, value)
    return ds


def asking(values: dict[int, tuple[str, object]], block: int = 0x10, creator: str = "ACME") -> Dataset:
    return private(query(), values, block, creator)


def answers(store: Store, ds: Dataset) -> list[tuple[int, Dataset]]:
    found = ask(store, ds)
    assert found[-1].status.Status == Status.SUCCESS
    return [(each.status.Status, each.identifier) for each in found if each.identifier is not None]


def test_a_private_attribute_is_answered_with_who_reserved_its_block(store: Store) -> None:
    bring(store, private(made.dataset(), {1: ("LO", "Особое"), 2: ("US", 7), 3: ("LO", "не спрошено")}))
    [(status, found)] = answers(store, asking({1: ("LO", ""), 2: ("US", None)}))
    assert status == Status.PENDING
    assert [each.value for each in found.group_dataset(0x8001)] == ["ACME", "Особое", 7]


def test_a_private_text_of_a_file_without_vrs_is_answered_as_a_text(store: Store) -> None:
    item = private(made.dataset(), {1: ("LO", "Особое"), 2: ("US", 7)})
    item.ScheduledProcedureStepSequence[0] = private(item.ScheduledProcedureStepSequence[0], {1: ("LO", "Стол 2")})
    bring(store, item, implicit=True)
    ds = asking({1: ("LO", ""), 2: ("US", None)})
    [(_, found)] = answers(store, private(ds, {}))
    assert [(each.VR, each.value) for each in found.group_dataset(0x8001)] == [
        ("LO", "ACME"),
        ("LO", "Особое"),
        ("UN", b"\x07\x00"),
    ]


@pytest.mark.parametrize(("asked", "found"), [("PT", ["S1"]), ("CT", ["S2"]), ("", ["S1", "S2"]), ("MR", [])])
def test_a_step_of_another_modality_is_found_and_answered_by_its_own(
    store: Store, asked: str, found: list[str]
) -> None:
    item = made.dataset(Modality="PT")
    first = item.ScheduledProcedureStepSequence[0]
    second = deepcopy(first)
    second.ScheduledProcedureStepID, second.Modality, second.ScheduledStationAETitle = "S2", "CT", "CT_1"
    item.ScheduledProcedureStepSequence = [first, second]
    for digest in ("1", "2"):  # new, then amended
        items, _ = worklist_file.read_all(made.written(item))
        store.write(worklist_files.sync_file, items, "a.wl", digest, REGISTRAR, CLINIC)
        first.ScheduledProcedureStepStartTime = "110000"
        steps = [
            each.ScheduledProcedureStepSequence[0]
            for _, each in answers(store, query({"Modality": asked, "ScheduledProcedureStepID": ""}))
        ]
        own = {"S1": "PT", "S2": "CT"}
        answered = sorted((each.ScheduledProcedureStepID, each.Modality) for each in steps)
        assert answered == [(each, own[each]) for each in found]
    with store.read() as reader:
        order = orders.by_accession_number(reader, items[0].accession_number)
    assert order is not None
    assert passthrough.modalities(order) == ("PT", "CT")


def test_a_private_attribute_is_found_in_another_block_of_the_same_creator(store: Store) -> None:
    item = private(private(made.dataset(), {1: ("LO", "чужое")}, creator="OTHER"), {1: ("LO", "наше")}, block=0x11)
    bring(store, item)
    [(status, found)] = answers(store, asking({1: ("LO", "")}, block=0x20))
    assert status == Status.PENDING
    assert {int(each.tag): each.value for each in found.group_dataset(0x8001)} == {
        PRIVATE + 0x10: "ACME",
        0x80012001: "наше",
    }
    # The same number of another creator is another attribute.
    [(status, found)] = answers(store, asking({1: ("LO", "")}, creator="THIRD"))
    assert status == Status.PENDING_WARNING
    assert not list(found.group_dataset(0x8001))


def test_a_private_attribute_without_its_creator_is_the_one_with_this_tag(store: Store) -> None:
    bring(store, private(made.dataset(), {1: ("LO", "Особое")}))
    ds = query()
    ds.add_new((0x8001, 0x1001), "LO", "")
    [(status, found)] = answers(store, ds)
    assert status == Status.PENDING
    assert [each.value for each in found.group_dataset(0x8001)] == ["ACME", "Особое"]


@pytest.mark.parametrize("item_implicit", [False, True])
@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize(
    ("key", "found"), [("ОСО-7", True), ("ОСО*", True), ("?СО-7", True), ("ОСО-8", False), ("*", True), ("", True)]
)
def test_a_private_key_is_matched_also_where_the_wire_has_no_vr(
    store: Store, key: str, found: bool, implicit: bool, item_implicit: bool
) -> None:
    bring(store, private(made.dataset(), {1: ("LO", "ОСО-7")}), implicit=item_implicit)
    ds = query(SpecificCharacterSet="ISO_IR 192")
    private(ds, {1: ("UN", key.encode()) if implicit else ("LO", key)})
    assert bool(answers(store, ds)) is found


def test_an_item_without_the_attribute_is_offered_with_the_warning(store: Store) -> None:
    bring(store, private(made.dataset(), {1: ("LO", "A")}))
    register(store)
    statuses = {str(found.AccessionNumber): status for status, found in answers(store, asking({1: ("LO", "A")}))}
    assert statuses.pop("A1") == Status.PENDING
    assert list(statuses.values()) == [Status.PENDING_WARNING]  # its key is not supported for this one: not matched
    [(status, found)] = answers(store, asking({1: ("LO", "B")}))
    assert status == Status.PENDING_WARNING
    assert found.AccessionNumber != "A1"


@pytest.mark.parametrize(
    ("keyword", "value", "key", "found"),
    [
        ("EthnicGroup", "Якут", "Як*", True),
        ("EthnicGroup", "Якут", "Чукча", False),
        ("EthnicGroup", "", "Якут", False),  # a stored empty value fails every key
        ("PatientMotherBirthName", "Иванова^Мария", "иванова", True),
        ("LastMenstrualDate", "20261101", "20261030-20261102", True),
        ("LastMenstrualDate", "20261101", "20261102-", False),
        ("LastMenstrualDate", "20261101", "-20261101", True),
        ("IssuerOfPatientID", "КЛИНИКА", "КЛИНИКА", True),
        ("NumberOfFrames", "7", "07", True),
        ("NumberOfFrames", "7", "8", False),
        ("MedicalAlerts", ["MRSA", "Stent"], "Stent", True),
        ("MedicalAlerts", ["MRSA", "Stent"], "Pacemaker", False),
    ],
)
def test_a_key_beyond_the_table_is_matched_where_an_import_brought_it(
    store: Store, keyword: str, value: object, key: str, found: bool
) -> None:
    ds = made.dataset()
    setattr(ds, keyword, value)
    bring(store, ds)
    sought: dict[str, Any] = {keyword: key}
    matched = answers(store, query(**sought))
    assert [status for status, _ in matched] == [Status.PENDING] * found
    sought[keyword] = ""
    [(status, shown)] = answers(store, query(**sought))
    assert status == Status.PENDING
    assert keyword in shown


def test_a_sequence_beyond_the_table_is_matched_by_any_of_its_items(store: Store) -> None:
    ds, one, two = made.dataset(), Dataset(), Dataset()
    one.TypeOfPatientID, one.PatientID = "TEXT", "X1"
    two.TypeOfPatientID, two.PatientID = "RFID", "X2"
    ds.OtherPatientIDsSequence = [one, private(two, {5: ("LO", "Z")})]
    bring(store, ds)

    def asked(**keys: Any) -> Dataset:
        within, whole = Dataset(), query()
        for keyword, value in keys.items():
            setattr(within, keyword, value)
        whole.OtherPatientIDsSequence = [within]
        return whole

    [(status, found)] = answers(store, asked(PatientID="X2"))
    assert status == Status.PENDING
    assert [item.PatientID for item in found.OtherPatientIDsSequence] == ["X1", "X2"]
    assert "TypeOfPatientID" not in found.OtherPatientIDsSequence[0]
    assert answers(store, asked(PatientID="X2", TypeOfPatientID="TEXT")) == []
    whole = asked(PatientID="")
    private(whole.OtherPatientIDsSequence[0], {5: ("LO", "Z")}, block=0x30)
    [(_, found)] = answers(store, whole)
    assert found.OtherPatientIDsSequence[1][0x8001, 0x3005].value == "Z"


@pytest.mark.parametrize(
    ("keys", "status"),
    [
        ({"EthnicGroup": ""}, Status.PENDING_WARNING),  # not supported for existence (PS3.4 K.4.1.1.4)
        ({"PatientWeight": "70"}, Status.PENDING_WARNING),  # … for matching
        ({"PatientWeight": "", "AdmissionID": "", "MedicalAlerts": "*"}, Status.PENDING),
        ({"ReferencedStudySequence": [], "PatientSex": "F"}, Status.PENDING),
        ({}, Status.PENDING),
    ],
)
def test_what_no_item_has_is_said_by_ff01_and_what_is_supported_by_ff00(
    store: Store, keys: dict[str, Any], status: Status
) -> None:
    register(store)
    assert [got for got, _ in answers(store, query(**keys))] == [status]


def test_what_is_to_be_returned_within_a_supported_sequence_without_items_is_supported(store: Store) -> None:
    register(store)
    reference, ds = Dataset(), query()
    reference.ReferencedSOPClassUID = reference.ReferencedSOPInstanceUID = ""
    ds.ReferencedStudySequence = [reference]
    assert [status for status, _ in answers(store, ds)] == [Status.PENDING]


def test_an_empty_step_asks_for_all_that_an_import_brought_of_it(store: Store) -> None:
    item = made.dataset(ScheduledProcedureStepExpirationDateTime="20261130", PreMedication="Нет")
    private(item.ScheduledProcedureStepSequence[0], {1: ("LO", "Стол 2")}, group=0x0041)
    bring(store, item)
    for items in ([], [Dataset()]):
        ds = query()
        ds.ScheduledProcedureStepSequence = items
        [(status, found)] = answers(store, ds)
        step = found.ScheduledProcedureStepSequence[0]
        assert status == Status.PENDING
        assert (step.PreMedication, step.ScheduledProcedureStepExpirationDateTime) == ("Нет", "20261130")
        assert [each.value for each in step.group_dataset(0x0041)] == ["ACME", "Стол 2"]
        assert step.ScheduledProcedureStepStatus == "SCHEDULED"


def test_an_empty_sequence_of_type_1c_is_left_out(store: Store) -> None:
    bring(store, made.dataset())
    [(_, found)] = answers(
        store,
        query({"ScheduledProtocolCodeSequence": [], "ScheduledProcedureStepID": ""}, RequestedProcedureCodeSequence=[]),
    )
    assert "RequestedProcedureCodeSequence" not in found  # PS3.5 7.4.2
    assert "ScheduledProtocolCodeSequence" not in found.ScheduledProcedureStepSequence[0]


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("101500", True),
        ("101500.5", True),
        ("101500.500000", True),
        ("101500.4", False),
        ("101500.5-101500.6", True),
        ("101500.6-", False),
        ("-101500.4", False),
        ("-101500", True),  # to the end of this second
        ("-1015", True),
        ("101459.9-101500.5", True),
    ],
)
def test_fractions_of_a_second_count(store: Store, key: str, found: bool) -> None:
    bring(store, made.dataset(ScheduledProcedureStepStartTime="101500.5"))
    for day in ("", "20261124"):
        step = {"ScheduledProcedureStepStartTime": key, "ScheduledProcedureStepStartDate": day}
        assert bool(answers(store, query(step))) is found
    [(_, shown)] = answers(store, query({"ScheduledProcedureStepStartTime": ""}))
    assert shown.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartTime == "101500.5"


# ---- over the wire, by a program that is not ours ----


@pytest.fixture
def server(store: Store) -> Iterator[DicomServer]:
    with serving(store) as started:
        yield started


def test_dcmtk_gets_a_private_attribute_and_the_status_that_is_due(
    store: Store, server: DicomServer, tmp_path: Path
) -> None:
    bring(store, private(made.dataset(), {1: ("LO", "STOL-2")}))
    register(store)
    both = ["0xff00", "0xff01"]
    for key, statuses in (("", both), ("STOL*", both), ("NOBODY", both[1:])):
        asked = tmp_path / "query.dcm"
        dcmwrite(asked, asking({1: ("LO", key)}), implicit_vr=False, little_endian=True)
        for _ in range(2):  # worked out, then from memory
            found = findscu(server.port, directory=tmp_path / "found", query=asked, options=("-d",))
            answered = [status for status in both if status in found.words.casefold()]
            assert (found.status, len(found.matches), answered) == (0, len(statuses), statuses)
            values = [each[0x8001, 0x1001].value for each in found.matches if (0x8001, 0x1001) in each]
            assert values == ([b"STOL-2"] if len(statuses) == 2 else [])  # on the wire without VR


# ---- a query that names nothing of the table ----


def test_a_query_of_unknown_keys_only_is_answered_with_all_that_the_device_sees(store: Store) -> None:
    bring(store, made.dataset(EthnicGroup="Якут"))
    register(store)
    ds = Dataset()
    ds.EthnicGroup = ""
    assert sorted((status, found.get("EthnicGroup")) for status, found in answers(store, ds)) == [
        (Status.PENDING, "Якут"),
        (Status.PENDING_WARNING, None),
    ]
    ds.EthnicGroup = "Чукча"  # matched where an import brought it only
    assert [(status, found.get("EthnicGroup")) for status, found in answers(store, ds)] == [
        (Status.PENDING_WARNING, None)
    ]


def test_a_query_of_private_keys_only_is_answered(store: Store) -> None:
    bring(store, private(made.dataset(), {1: ("LO", "A")}))
    register(store)
    for key, statuses in (("", [0xFF00, 0xFF01]), ("A", [0xFF00, 0xFF01]), ("B", [0xFF01])):
        assert sorted(status for status, _ in answers(store, private(Dataset(), {1: ("LO", key)}))) == statuses
    ds = Dataset()
    ds.add_new((0x8001, 0x1001), "LO", "")  # no creator
    assert sorted(status for status, _ in answers(store, ds)) == [0xFF00, 0xFF01]


def test_dcmtk_gets_a_match_that_has_nothing_of_what_was_asked(
    store: Store, server: DicomServer, tmp_path: Path
) -> None:
    register(store)
    bring(store, private(made.dataset(EthnicGroup="Yakut"), {1: ("LO", "STOL-2")}))
    for _ in range(2):  # worked out, then from memory
        found = findscu(server.port, "EthnicGroup", directory=tmp_path / "found", options=("-d",))
        assert (found.status, len(found.matches)) == (0, 2), found.words
        assert sorted(each.get("EthnicGroup", "") for each in found.matches) == ["", "Yakut"]
