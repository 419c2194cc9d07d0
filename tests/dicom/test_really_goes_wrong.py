"""What really goes wrong with worklists, collected from public issue threads of other programs.

Each case keeps its number in that collection. Those about performed steps (13 to 17, 21, 22) are in
`test_mpps_goes_wrong.py`, those about connections (8, 10, 25) in `test_port_goes_wrong.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pynetdicom.sop_class import ModalityWorklistInformationFind  # type: ignore[attr-defined]

from broker.dicom.codec import decoding
from broker.dicom.devices.registry import Caller
from broker.dicom.server import DicomServer
from broker.dicom.statuses import Status
from broker.dicom.worklist import response
from broker.dicom.worklist.attributes import STEP, TOP, Attribute, Match
from broker.domain.orders import Order
from broker.domain.patients.people import Patient, PersonName
from broker.store.database import Store
from broker.store.tables import devices, orders
from broker.workflow.referrals import referrals
from tests.dicom.codec.encoding import element, encoded
from tests.peers.dcmtk import EVERYTHING, findscu
from tests.peers.dcmtk import STEP as STEP_PATH
from tests.support import factory
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, draft
from tests.support.port import associated, serving
from tests.support.waiting import at_most
from tests.support.worklist_query import code, find, identifier

IVANOV = Patient(PersonName("Иванов", "Пётр", "Ильич"), KUZNETSOVA.birth_date, KUZNETSOVA.sex)
REFUSED = (Status.IDENTIFIER_DOES_NOT_MATCH, Status.UNABLE_TO_PROCESS)


@pytest.fixture
def server(store: Store) -> Iterator[DicomServer]:
    with serving(store) as started:
        yield started


def register(store: Store, patient: Patient = KUZNETSOVA, **changes: Any) -> Order:
    return store.write(referrals.register, draft(patient=patient, **changes), REGISTRAR, CLINIC)


def setting(store: Store, **changes: Any) -> None:
    device = replace(factory.DEVICES[0], **changes)
    store.write(lambda tx: devices.put(tx, device))


def ask(store: Store, ds: Dataset, ae_title: str = "XRAY_14") -> tuple[list[Dataset], int]:
    """Ask the worklist; give the matches and the last status."""
    reported = list(find(ds, Caller(ae_title, "10.0.0.1"), store, CLINIC))
    found = [each.identifier for each in reported if each.identifier is not None]
    return found, int(reported[-1].status.Status)


# 1. A required key ignored, so other patients come back.
@pytest.mark.parametrize(
    ("keys", "step"),
    [
        ({"PatientName": "Петров^*"}, {}),
        ({"PatientID": "999999"}, {}),
        ({"AccessionNumber": "K0000-0000"}, {}),
        ({"RequestedProcedureID": "RP0"}, {}),
        ({"StudyInstanceUID": "1.2.3"}, {}),
        ({}, {"Modality": "MR"}),
        ({}, {"ScheduledStationAETitle": "OTHER"}),
        ({}, {"ScheduledProcedureStepStartDate": "19991231"}),
        ({}, {"ScheduledProcedureStepStartTime": f"{factory.soon(hours=5):%H}"}),
        ({}, {"ScheduledPerformingPhysicianName": "Юдин*"}),
    ],
)
def test_an_answer_is_never_wider_than_the_question(store: Store, keys: dict[str, str], step: dict[str, str]) -> None:
    register(store)
    register(store, IVANOV)
    assert ask(store, identifier(step, **keys)) == ([], Status.SUCCESS)


# 1. And so for every key that is matched at all, the optional ones too.
@pytest.mark.parametrize(
    "attribute",
    [each for each in (*TOP, *STEP) if each.match not in (Match.NONE, Match.IGNORED, Match.SEQUENCE)],
    ids=lambda each: each.keyword,
)
def test_no_item_is_returned_that_fails_any_key(store: Store, attribute: Attribute) -> None:
    register(store)
    foreign: dict[Match, Any] = {Match.UID: "1.2.3", Match.DATE: "19000101", Match.CODE: [code(CodeValue="ZZZ")]}
    value = foreign.get(attribute.match, "ZZZ")
    if attribute.match is Match.WINDOW:
        value = "19000101" if attribute.vr == "DA" else f"{factory.soon(hours=5):%H}"
    key = {attribute.keyword: value}
    assert ask(store, identifier(key) if attribute in STEP else identifier(**key)) == ([], Status.SUCCESS)


# 2. A malformed date or time dropped in silence, so every item comes back.
@pytest.mark.parametrize("date", ["20260230", "2026", "today", "-", "20261124T", "2026*", "20261124-20261399"])
def test_a_date_that_is_none_is_refused_and_brings_nothing(store: Store, date: str) -> None:
    register(store)
    found, status = ask(store, identifier({"ScheduledProcedureStepStartDate": date}))
    assert (found, status) == ([], Status.IDENTIFIER_DOES_NOT_MATCH)


@pytest.mark.parametrize("time_key", ["08:7", "25", "noon", "-", "08*", "1000-2560"])
def test_a_time_that_is_none_is_refused_and_brings_nothing(store: Store, time_key: str) -> None:
    register(store)
    found, status = ask(store, identifier({"ScheduledProcedureStepStartTime": time_key}))
    assert (found, status) == ([], Status.IDENTIFIER_DOES_NOT_MATCH)


def test_the_answer_to_the_device_names_the_offending_key(server: DicomServer, store: Store) -> None:
    register(store)
    query = identifier({"ScheduledProcedureStepStartDate": "20260230"})
    with associated(server.port, ModalityWorklistInformationFind) as assoc:
        [(status, found)] = assoc.send_c_find(query, ModalityWorklistInformationFind)
    assert (status.Status, found) == (Status.IDENTIFIER_DOES_NOT_MATCH, None)
    assert status.OffendingElement == Tag("ScheduledProcedureStepStartDate")
    assert "not a date" in status.ErrorComment


@pytest.mark.parametrize("form", ["%Y%m%d", "%Y.%m.%d", " %Y%m%d", "%Y%m%d ", "%Y%m%d-", "%Y-%m-%d"])
def test_a_date_that_can_be_understood_is(store: Store, form: str) -> None:
    start = factory.soon()
    order = register(store, start=start)
    found, _ = ask(store, identifier({"ScheduledProcedureStepStartDate": f"{start:{form}}"}, AccessionNumber=""))
    assert [ds.AccessionNumber for ds in found] == [order.accession_number]


# 3. Cyrillic sent as question marks: six of them match every name of six letters.
def test_question_marks_are_not_every_name_of_that_length(server: DicomServer, store: Store, tmp_path: Path) -> None:
    register(store, IVANOV)
    for name in ("??????", "??????^????", "??????*", "??????=??????"):
        found = findscu(server.port, *EVERYTHING, f"PatientName={name}", directory=tmp_path)
        assert (found.status, found.matches) == (0, [])
    assert len(findscu(server.port, *EVERYTHING, "PatientName=*", directory=tmp_path).matches) == 1


# 4. A query without Specific Character Set that holds 8-bit letters.
@pytest.mark.parametrize(
    ("codec", "fallback"), [("iso8859_5", "ISO_IR 144"), ("utf-8", "ISO_IR 144"), ("cp1251", "windows-1251")]
)
def test_characters_without_a_character_set_are_decoded_by_the_devices_fallback(
    server: DicomServer, store: Store, codec: str, fallback: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = register(store, IVANOV)
    register(store)
    setting(store, fallback_charset=fallback)
    data = element((8, 0x50), b"") + element((0x10, 0x10), "Иванов*".encode(codec))
    found = _ask_bytes(server, data, monkeypatch)
    assert [ds.AccessionNumber for ds in found] == [order.accession_number]


# 5. Terms for character sets that there are none of.
@pytest.mark.parametrize("term", ["Not Supplied", "ISO IR 192", "ISO_IR_192", "ISO 2022 IR 6", "UTF-8"])
def test_an_invented_character_set_is_taken_as_meant(
    server: DicomServer, store: Store, term: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(store, IVANOV)
    data = element((8, 5), term.encode()) + element((0x10, 0x10), "Иванов*".encode())
    found = _ask_bytes(server, data, monkeypatch)
    assert [str(ds.PatientName) for ds in found] == ["Иванов^Пётр^Ильич"]


# 6. The device needs ISO_IR 144 or Latin letters, the server answers UTF-8; or drops what it cannot encode.
@pytest.mark.parametrize(
    ("policy", "reported"), [("ISO_IR 144", "Касымова^А?"), ("latin", "Kasymova^A?"), ("ISO_IR 192", "Қасымова^А日")]
)
def test_a_device_gets_names_in_its_character_set_and_no_character_is_lost(
    server: DicomServer, store: Store, tmp_path: Path, policy: str, reported: str
) -> None:
    register(store, replace(IVANOV, name=PersonName("Қасымова", "А日")))
    setting(store, charset=policy)
    found = findscu(server.port, "PatientName", directory=tmp_path)
    assert [str(ds.PatientName) for ds in found.matches] == [reported]
    store.write(lambda tx: None)
    with store.read() as reader:
        notes = devices.notes(reader).get("XRAY_14", [])
    assert [note.kind for note in notes] == ([] if policy == "ISO_IR 192" else ["charset"])


# 7. Mixed character sets: whatever comes in, goes out as the asker needs it.
def test_a_name_typed_in_one_character_set_is_found_and_sent_in_another(
    server: DicomServer, store: Store, tmp_path: Path
) -> None:
    register(store, IVANOV)
    register(store)
    name = "Иванов^Пётр^Ильич"
    for asked, codec in (("ISO_IR 192", "utf-8"), ("ISO_IR 144", "iso8859_5")):
        typed = "иванов*".encode(codec).decode("utf-8", "surrogateescape")  # the very bytes, as an argument
        keys = [*EVERYTHING, f"SpecificCharacterSet={asked}", f"PatientName={typed}"]
        found = findscu(server.port, *keys, directory=tmp_path)
        assert name.encode(codec) in found.raw[0]
        assert [str(ds.PatientName) for ds in found.matches] == [name]


# 7. And where one value holds letters of several.
def test_a_name_in_several_character_sets_at_once_is_read(
    server: DicomServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(store, IVANOV)
    register(store)
    data = element((8, 5), rb"\ISO 2022 IR 144") + element((0x10, 0x10), b"\x1b-L" + "Иванов*".encode("iso8859_5"))
    assert [str(ds.PatientName) for ds in _ask_bytes(server, data, monkeypatch)] == ["Иванов^Пётр^Ильич"]


# 9. The device leaves without C-CANCEL and the generator runs on: see test_worklist_server.py, too.
def test_nothing_is_written_for_a_device_that_has_left(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        register(store)
    written: list[Dataset] = []
    write = response.identifier

    def writing(*args: Any) -> Dataset:
        written.append(write(*args))
        return written[-1]

    monkeypatch.setattr(response, "identifier", writing)
    reported = find(identifier(), Caller("XRAY_14", "10.0.0.1"), store, CLINIC)
    next(reported)
    reported.close()
    assert len(written) == 1


# 11. Answers sent, the device's list stays empty: type 1 return keys missing.
# 13. An empty Study Instance UID in an answer broke the performed step that followed.
def test_type_1_return_keys_always_have_a_value(store: Store) -> None:
    bare = register(store, replace(IVANOV, name=PersonName("Ли", "Ен")), referrer=PersonName("Ли"))
    store.write(lambda tx: tx.run("DELETE FROM scheduled_step_station WHERE step_id = ?", [bare.steps[0].id]))
    setting(store, own_only=False, charset="latin", longest=8)
    query, step = Dataset(), Dataset()
    for ds, table in ((query, TOP), (step, STEP)):
        for each in table:
            ds.add(DataElement(each.tag, each.vr, [] if each.vr == "SQ" else None))
    step.ScheduledProcedureStepID = None
    query.ScheduledProcedureStepSequence = [step]
    [found], _ = ask(store, query)
    for ds, table in ((found, TOP), (found.ScheduledProcedureStepSequence[0], STEP)):
        for each in table:
            assert each.tag in ds, each.keyword
            if each.type in ("1", "1C"):
                assert not ds[each.tag].is_empty, each.keyword
    # Whatever our table says: the type 1 keys of PS3.4 table K.6-1.
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "RequestedProcedureID"):
        assert found.get(keyword), keyword
    for keyword in (
        "ScheduledStationAETitle",
        "ScheduledProcedureStepStartDate",
        "ScheduledProcedureStepStartTime",
        "Modality",
        "ScheduledProcedureStepID",
        "ScheduledProcedureStepDescription",
    ):
        assert found.ScheduledProcedureStepSequence[0].get(keyword), keyword


# 12. Logging an odd dataset crashed the answer.
def test_an_odd_dataset_is_answered_and_kept_out_of_the_log(
    server: DicomServer, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    register(store, IVANOV)
    data = element((0x09, 0x10), b"\xff\xfe") + element((0x10, 0x10), b"") + element((0x10, 0x1030), b"7O kg")
    data += element((0x10, 0x21C0), b"\x01\x02\x03\x04\x05") + element((0x7FE0, 0x10), bytes(range(256)))
    found = _ask_bytes(server, data, monkeypatch)
    assert [str(ds.PatientName) for ds in found] == ["Иванов^Пётр^Ильич"]
    assert "Иванов" not in caplog.text


# 18. Items never closed: hidden from the device after a time, not from people.
def test_an_item_that_was_not_closed_is_hidden_after_the_configured_days(store: Store) -> None:
    order = register(store)
    tomorrow, later = (store.clock() + timedelta(days=days) for days in (1, 3))
    store.clock = lambda: tomorrow
    assert len(ask(store, identifier())[0]) == 1
    store.clock = lambda: later
    assert ask(store, identifier())[0] == []
    with store.read() as reader:
        assert orders.get(reader, order.id) is not None


# 19. The station left empty, so every device sees everybody.
def test_a_query_without_a_station_is_about_the_asker(store: Store) -> None:
    register(store)
    register(store, IVANOV, station_ae_titles=("FLG_12",))
    for query in (identifier(), identifier({"ScheduledStationAETitle": ""}), identifier({"Modality": "DX"})):
        assert [str(ds.PatientName) for ds in ask(store, query, "FLG_12")[0]] == ["Иванов^Пётр^Ильич"]


# 20. Two steps of one study overwritten.
def test_two_steps_of_one_study_are_two_items(store: Store) -> None:
    order = register(store)
    second = replace(order.steps[0], start=order.steps[0].start + timedelta(minutes=1), sps_id="SECOND")

    def add(tx: Any) -> None:
        id = tx.run(
            "INSERT INTO scheduled_step (order_id, sps_id, start, state, state_since) VALUES (?, ?, ?, ?, ?)",
            [order.id, second.sps_id, second.start.isoformat(), second.state, tx.now.isoformat()],
        )
        tx.run("INSERT INTO scheduled_step_station VALUES (?, 'XRAY_14', 0)", [id])

    store.write(add)
    found, _ = ask(store, identifier({"ScheduledProcedureStepID": ""}, StudyInstanceUID=""))
    assert {ds.StudyInstanceUID for ds in found} == {order.study_instance_uid}
    reported = [ds.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID for ds in found]
    assert reported == [order.steps[0].sps_id, "SECOND"]
    assert len(ask(store, identifier({"ScheduledProcedureStepID": "SECOND"}))[0]) == 1


# 20. Dates kept in UTC, so a night shift sees yesterday.
def test_a_night_shift_sees_its_own_day(store: Store) -> None:
    night = datetime(2026, 11, 24, 22, 30, tzinfo=UTC)  # half past one of the 25th in the clinic
    store.clock = lambda: night
    order = register(store, start=datetime(2026, 11, 25, 1, 45))
    late = register(store, start=datetime(2026, 11, 25, 23, 45))
    for date in ("20261125", "20261125-20261125"):
        query = identifier(
            {"ScheduledProcedureStepStartDate": date, "ScheduledProcedureStepStartTime": ""}, AccessionNumber=""
        )
        found = ask(store, query)[0]
        assert [ds.AccessionNumber for ds in found] == [order.accession_number, late.accession_number]
        step = found[0].ScheduledProcedureStepSequence[0]
        reported = (step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime)
        assert reported == ("20261125", "014500")
    assert ask(store, identifier({"ScheduledProcedureStepStartDate": "20261124"}))[0] == []


# 22. `%` and `_` unescaped in LIKE.
@pytest.mark.parametrize(
    "name",
    [
        *("%", "_%", "%*", "Иванов_", "Ивано_", "И_анов*", "Иван%", "______", "0000__", "0000%"),
        *("'", '"', "Иванов' OR '1'='1", "[И]*", "*[в]*", "*\\*"),
    ],
)
def test_signs_that_mean_something_to_sql_mean_nothing_here(store: Store, name: str) -> None:
    register(store, IVANOV)
    assert ask(store, identifier(PatientName=name))[0] == []
    assert ask(store, identifier(PatientID=name))[0] == []
    assert ask(store, identifier(RequestedProcedureDescription=name))[0] == []
    if "\\" not in name:  # there it stands between the values of a list
        assert ask(store, identifier({"ScheduledStationAETitle": name[:16]}))[0] == []


# 22. UPPER and LIKE fold ASCII only, so that Cyrillic names never match case-insensitively.
@pytest.mark.parametrize("name", ["ИВАНОВ^ПЁТР", "иванов", "иВаНоВ*", "ИВАНОВ^ПЕТР", "*пётр*", "IVANOV", "ivanov^petr"])
def test_names_match_whatever_their_case(store: Store, name: str) -> None:
    register(store, IVANOV)
    assert len(ask(store, identifier(PatientName=name))[0]) == 1


# 23. An item on several stations lost the whole answer.
def test_an_item_on_several_stations_is_sent_to_each_with_its_own_station_first(
    server: DicomServer, store: Store, tmp_path: Path
) -> None:
    register(store, station_ae_titles=("XRAY_14", "FLG_12"))
    for ae_title in ("XRAY_14", "FLG_12"):
        for key in ("", f"={ae_title}"):
            station = f"{STEP_PATH}ScheduledStationAETitle{key}"
            found = findscu(server.port, *EVERYTHING, station, directory=tmp_path, calling=ae_title)
            [ds] = found.matches
            titles = list(ds.ScheduledProcedureStepSequence[0].ScheduledStationAETitle)
            assert (titles[0], set(titles)) == (ae_title, {"XRAY_14", "FLG_12"})


# 24. `**а*а*а*!` keeps wlmscpfs busy for minutes.
@pytest.mark.parametrize("pattern", ["**а*а*а*!", "*а" * 31 + "!", "?*" * 32, "**********************Ъ"])
def test_wildcards_take_linear_time(store: Store, pattern: str) -> None:
    for _ in range(20):
        register(store, replace(IVANOV, name=PersonName("А" * 60, "а", "а")))
    with at_most():
        ask(store, identifier(PatientName=pattern))
        ask(store, identifier(PatientID=pattern.replace("а", "0").replace("Ъ", "1").replace("!", "2")))


# 24. A lone `-` taken as "everything"; `a-b` ends with a dash at b 00:00; 30 February accepted.
def test_ranges_mean_what_they_say(store: Store) -> None:
    start = factory.soon().replace(hour=23, minute=58) + timedelta(days=1)
    register(store, start=start)
    day = f"{start:%Y%m%d}"
    for date, time_key, count in (
        (f"{day}-{day}", "", 1),
        (f"{day}-{day}", "2300-", 1),
        (f"{day}-{day}", "-2300", 0),
        (day, "235800", 1),
        (f"-{start - timedelta(days=1):%Y%m%d}", "", 0),
    ):
        step = {"ScheduledProcedureStepStartDate": date, "ScheduledProcedureStepStartTime": time_key}
        assert len(ask(store, identifier(step))[0]) == count, step
    for step in ({"ScheduledProcedureStepStartDate": "-"}, {"ScheduledProcedureStepStartTime": "-"}):
        assert ask(store, identifier(step)) == ([], Status.IDENTIFIER_DOES_NOT_MATCH)


# 24. Every item returned for a truncated identifier.
def test_a_truncated_identifier_brings_nothing(
    server: DicomServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(store)
    query = identifier({"ScheduledProcedureStepStartDate": "19990101", "Modality": "CT"}, PatientID="9", PatientSex="O")
    whole = encoded(query)
    for end in range(1, len(whole)):
        try:
            ds = decoding.decode(whole[:end], True)
        except decoding.Undecodable:
            continue
        # What still reads as a dataset ends where a key ends; nothing behind that is passed over.
        assert encoded(ds) == whole[:end]
    for end in (len(whole) - 1, len(whole) - 5, len(whole) // 2 + 1, 3):
        reported = _answers(server, whole[:end], monkeypatch)
        assert [status in REFUSED for status, _ in reported] == [True]


def _answers(server: DicomServer, data: bytes, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Dataset | None]]:
    """Send an identifier's very bytes."""
    monkeypatch.setattr("pynetdicom.association.encode", lambda *_, **__: data)  # the client's encoder
    with associated(server.port, ModalityWorklistInformationFind) as assoc:
        sent = assoc.send_c_find(Dataset(), ModalityWorklistInformationFind)
        return [(int(status.Status), found) for status, found in sent]


def _ask_bytes(server: DicomServer, data: bytes, monkeypatch: pytest.MonkeyPatch) -> list[Dataset]:
    return [found for _, found in _answers(server, data, monkeypatch) if found is not None]
