"""A worklist file becomes an item with everything that its script wrote, or is refused with the reason."""

from __future__ import annotations

import json
import subprocess
from copy import deepcopy
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from broker.dicom.files import worklist_file
from broker.dicom.files.worklist_file import BadWorklistFile, Unreadable
from broker.domain.orders import ImportedItem, Priority
from broker.domain.patients.people import PersonName, Sex
from tests.peers.dcmtk import tool
from tests.support.worklist_file import dataset, wl, written


def read(**changes: Any) -> ImportedItem:
    return worklist_file.read(wl(**changes))[0]


def kept(item: ImportedItem, level: str = "top") -> dict[str, Any]:
    return {tag: entry.get("Value") for tag, entry in item.attributes[level].items()}


NOTHING_TOP = {"RequestedProcedureCodeSequence": None}  # there is no procedure code, and none is made up
NOTHING_STEP = {"ScheduledProtocolCodeSequence": None}


def test_what_the_model_has_a_field_for_is_in_the_field() -> None:
    item = read(ReferringPhysicianName="Зимин^Андрей", RequestingPhysician="Зимин^Андрей", PatientWeight="70.5")
    assert item.patient.name == PersonName("Кузнецова", "Марина", "Петровна")
    assert (item.patient.birth_date, item.patient.sex, item.patient.patient_id) == (date(1961, 3, 12), Sex.FEMALE, "P1")
    assert item.patient.weight == 70.5
    assert (item.accession_number, item.study_instance_uid) == ("A1", "1.2.3.1")
    assert (item.requested_procedure_id, item.sps_id) == ("R1", "S1")
    assert (item.start, item.station_ae_titles, item.modality) == (datetime(2026, 11, 24, 10, 15), ("XRAY_14",), "DX")
    assert (item.procedure_name, item.referrer) == ("Рентгенография кисти", PersonName("Зимин", "Андрей"))
    assert kept(item) == NOTHING_TOP
    assert kept(item, "step") == NOTHING_STEP


@pytest.mark.parametrize(
    ("term", "codec"),
    [
        ("ISO_IR 192", "utf-8"),
        ("ISO_IR 144", "iso8859_5"),
        ("ISO IR 144", "iso8859_5"),
        ("ISO_IR_192", "utf-8"),
        ("UTF-8", "utf-8"),
        ("windows-1251", "cp1251"),
        ("", "utf-8"),
    ],
)
def test_cyrillic_is_read_in_every_character_set_that_is_declared_or_meant(term: str, codec: str) -> None:
    ds = dataset(
        SpecificCharacterSet=None,
        PatientName="X",
        RequestedProcedureDescription="Y",
        ScheduledProcedureStepDescription="Y",
    )
    plain = written(ds)
    # Written byte by byte: no library would write some of these.
    at = plain.index(b"\x10\x00\x10\x00PN")
    name = "Кузнецова^Марина".encode(codec)
    name += b" " * (len(name) % 2)
    data = plain[:at] + b"\x10\x00\x10\x00PN" + len(name).to_bytes(2, "little") + name + plain[at + 10 :]
    if term:
        value = term.encode() + b" " * (len(term) % 2)
        element = b"\x08\x00\x05\x00CS" + len(value).to_bytes(2, "little") + value
        at = data.index(b"\x08\x00\x50\x00SH")
        data = data[:at] + element + data[at:]
    assert worklist_file.read(data)[0].patient.name == PersonName("Кузнецова", "Марина")


@pytest.mark.parametrize(
    ("term", "codec"), [(None, "cp1251"), ("ISO_IR 192", "cp1251"), ("ISO_IR 100", "utf-8"), ("ISO_IR 144", "utf-8")]
)
def test_characters_outside_the_declared_character_set_are_refused_rather_than_garbled(
    term: str | None, codec: str
) -> None:
    ds = dataset(
        SpecificCharacterSet=term,
        PatientName="X" * 12,
        RequestedProcedureDescription="Y",
        ScheduledProcedureStepDescription="Y",
    )
    data = written(ds).replace(b"X" * 12, "Иванов".encode(codec).ljust(12))
    with pytest.raises(BadWorklistFile, match="Specific Character Set"):
        worklist_file.read(data)


@pytest.mark.parametrize("implicit", [True, False])
def test_files_without_preamble_and_meta_information_are_read(implicit: bool) -> None:
    whole = written(dataset(), implicit)
    assert whole[128:132] == b"DICM"
    length = int.from_bytes(whole[140:144], "little")
    body = whole[144 + length :]
    assert worklist_file.read(body)[0] == worklist_file.read(whole)[0] == read()


def test_the_digest_stays_when_a_script_merely_writes_the_file_again() -> None:
    one, again, implicit = (worklist_file.read(data)[1] for data in (wl(), wl(), written(dataset(), implicit=True)))
    assert one == again == implicit
    assert one != worklist_file.read(wl(PatientSex="M"))[1]
    assert one != worklist_file.read(wl(MedicalAlerts="X"))[1]


def test_a_truncated_file_is_distinguished_from_a_whole_one() -> None:
    data = wl()
    whole = worklist_file.read(data)[0]
    unreadable = 0
    for length in range(len(data)):
        try:
            item, _ = worklist_file.read(data[:length])
        except Unreadable:
            unreadable += 1
        except BadWorklistFile:
            pass
        else:  # it ends where an element of the outermost level ends: the last one is missing
            assert (item.requested_procedure_id, item.patient) == ("", whole.patient)
    assert unreadable > len(data) - 30


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"PatientName": ""}, "names no patient"),
        ({"PatientName": "^^"}, "names no patient"),
        ({"ScheduledProcedureStepStartDate": ""}, "Start Date is missing"),
        ({"ScheduledProcedureStepStartDate": "20260230"}, "Start Date is not a date"),
        ({"ScheduledProcedureStepStartTime": "9"}, "Start Time is not a time"),
        ({"AccessionNumber": "A" * 17}, "Accession Number is longer than 16"),
        ({"PatientID": "1" * 65}, "Patient ID is longer than 64"),
        ({"PatientID": "12*"}, r"Patient ID contains \*"),
        ({"PatientID": "1?2"}, r"Patient ID contains \?"),
        ({"PatientID": ["1", "2"]}, r"Patient ID contains \\"),
        ({"AccessionNumber": ["A1", "A2"]}, r"Accession Number contains \\"),
        ({"AccessionNumber": "A*"}, r"Accession Number contains \*"),
        ({"ScheduledStationAETitle": "A" * 17}, "AE Title is longer than 16"),
        ({"StudyInstanceUID": "none"}, "Study Instance UID is not a UID"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadWorklistFile, match=reason):
        read(**changes)


def test_a_file_without_scheduled_steps_or_with_such_that_cannot_be_told_apart_is_refused() -> None:
    ds = dataset()
    step = ds.ScheduledProcedureStepSequence[0]
    del ds.ScheduledProcedureStepSequence
    with pytest.raises(BadWorklistFile, match="no Scheduled Procedure Step Sequence"):
        worklist_file.read(written(ds))
    ds.ScheduledProcedureStepSequence = []
    with pytest.raises(BadWorklistFile, match="no Scheduled Procedure Step Sequence"):
        worklist_file.read(written(ds))
    ds.ScheduledProcedureStepSequence = [step, step]
    with pytest.raises(BadWorklistFile, match="the same Scheduled Procedure Step ID"):
        worklist_file.read(written(ds))
    other = deepcopy(step)
    other.ScheduledProcedureStepID, other.Modality = "S2", "CT"
    ds.ScheduledProcedureStepSequence = [step, other]
    assert len(worklist_file.read_all(written(ds))[0]) == 2
    for keyword in ("Modality", "ScheduledStationAETitle"):  # where is it to be made?
        lacking = deepcopy(other)
        delattr(lacking, keyword)
        ds.ScheduledProcedureStepSequence = [step, lacking]
        with pytest.raises(BadWorklistFile, match="several modalities"):
            worklist_file.read(written(ds))


def test_a_file_has_an_item_for_each_scheduled_step() -> None:
    ds = dataset(RequestedProcedureDescription=None)
    first = ds.ScheduledProcedureStepSequence[0]
    second = deepcopy(first)
    second.ScheduledProcedureStepID, second.ScheduledProcedureStepDescription = "S2", "Боковая"
    ds.ScheduledProcedureStepSequence = [first, second]
    items, digest = worklist_file.read_all(written(ds))
    assert [each.sps_id for each in items] == ["S1", "S2"]
    assert {each.procedure_name for each in items} == {"Рентгенография кисти"}  # one requested procedure
    assert worklist_file.read_all(written(ds))[1] == digest


def test_steps_of_a_file_may_be_of_several_modalities() -> None:
    ds = dataset(Modality="PT")
    first = ds.ScheduledProcedureStepSequence[0]
    second = deepcopy(first)
    second.ScheduledProcedureStepID, second.Modality, second.ScheduledStationAETitle = "S2", "CT", "CT_1"
    ds.ScheduledProcedureStepSequence = [first, second]
    items, _ = worklist_file.read_all(written(ds))
    assert [each.modality for each in items] == ["PT", "PT"]  # one order
    assert [kept(each, "step").get("Modality") for each in items] == [None, ["CT"]]


@pytest.mark.parametrize(
    ("written", "family", "alone"),
    [
        ("Иванов^Иван^Иванович", "Иванов", True),
        ("Иванов^Иван^Иванович^^", "Иванов", True),
        ("Иванов Иван Иванович", "Иванов", False),
        ("Иванов^Иван^^д-р^мл.", "Иванов", False),
        ("Wang^XiaoDong=王^小東", "Wang", False),
        ("=王^小東", "王", False),
        ("^Иван", "Иван", False),
        ("ИВАНОВ ^ИВАН", "ИВАНОВ", False),
    ],
)
def test_a_name_that_three_components_cannot_express_is_stored_as_it_was_written(
    written: str, family: str, alone: bool
) -> None:
    item = read(PatientName=written)
    assert item.patient.name.family == family
    if alone:
        assert "PatientName" not in item.attributes["top"]
    else:
        [value] = item.attributes["top"]["PatientName"]["Value"]
        groups = [value.get(group, "") for group in ("Alphabetic", "Ideographic", "Phonetic")]
        assert "=".join(groups).rstrip("=") == written


def test_what_differs_from_the_model_is_stored() -> None:
    item = read(
        RequestedProcedurePriority="LOW",
        RequestingPhysician="SMITH",
        MedicalAlerts="METASTASIS",
        Allergies="TANTAL",
        ScheduledProcedureStepDescription="Кисть, две проекции",
        ScheduledStationName="STN1",
        ScheduledProcedureStepStartTime="1015",
        PatientSex="",
        PatientWeight="070.50",
        PregnancyStatus=4,
        PreMedication="",
    )
    assert (item.priority, item.referrer, item.patient.sex) == (Priority.ROUTINE, PersonName("SMITH"), Sex.OTHER)
    assert (item.patient.weight, item.patient.allergies) == (70.5, "TANTAL")
    assert kept(item) == {
        **NOTHING_TOP,
        "RequestedProcedurePriority": ["LOW"],
        "ReferringPhysicianName": None,  # the referring physician is not the requesting one
        "MedicalAlerts": ["METASTASIS"],
        "Allergies": ["TANTAL"],
        "PatientSex": None,
        "PatientWeight": ["070.50"],
        "PregnancyStatus": [4],
    }
    assert kept(item, "step") == {
        **NOTHING_STEP,
        "ScheduledProcedureStepDescription": ["Кисть, две проекции"],
        "ScheduledStationName": ["STN1"],
        "ScheduledProcedureStepStartTime": ["1015"],
        "PreMedication": None,
    }


def test_urgent_words_make_an_urgent_order() -> None:
    assert read(RequestedProcedurePriority="STAT").priority is Priority.URGENT
    assert read(RequestedProcedurePriority="HIGH").priority is Priority.URGENT


@pytest.mark.parametrize(
    ("birth", "day", "stays"),
    [("", None, False), ("1961.03.12", date(1961, 3, 12), True), ("1961", None, True), ("16780304", None, False)],
)
def test_a_date_of_birth_may_be_missing_or_odd(birth: str, day: date | None, stays: bool) -> None:
    item = read(PatientBirthDate=birth)
    assert item.patient.birth_date == (date(1678, 3, 4) if birth == "16780304" else day)
    assert ("PatientBirthDate" in item.attributes["top"]) is stays


def test_a_weight_with_a_comma_is_understood() -> None:
    data = wl(PatientWeight="70.5").replace(b"70.5", b"70,5")
    item = worklist_file.read(data)[0]
    assert item.patient.weight == 70.5
    assert "PatientWeight" not in item.attributes["top"]


def test_a_procedure_code_is_taken_and_answered_as_it_is() -> None:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "X1", "99OWN", "Кисть"
    item = read(
        RequestedProcedureCodeSequence=[code],
        RequestedProcedureDescription=None,
        ScheduledProcedureStepDescription=None,
    )
    assert (item.procedure_code, item.procedure_local, item.procedure_name) == ("X1", True, "Кисть")
    [answered] = item.attributes["top"]["RequestedProcedureCodeSequence"]["Value"]
    assert answered["00080104"]["Value"] == ["Кисть"]


def test_everything_beyond_the_model_is_kept_and_can_be_written_again() -> None:
    ds = dataset(
        IssuerOfPatientID="CLINIC",
        OtherPatientIDs=["1", "2"],
        EthnicGroup="X",
        AdmittingDiagnosesDescription="Перелом",
        ReferencedStudySequence=[dataset()],
    )
    ds.add_new(0x00090010, "LO", "ACME")
    ds.add_new(0x00091001, "OB", b"\x01\x02")
    ds.add_new(0x00186011, "SQ", [])
    item, _ = worklist_file.read(written(ds))
    text = json.dumps(item.attributes, allow_nan=False)
    again = Dataset.from_json(json.loads(text)["top"])
    for keyword in ("IssuerOfPatientID", "OtherPatientIDs", "EthnicGroup", "AdmittingDiagnosesDescription"):
        assert again[keyword].value == ds[keyword].value
    assert again[0x00091001].value == b"\x01\x02"
    assert again.ReferencedStudySequence[0].PatientName == "Кузнецова^Марина^Петровна"
    assert "SpecificCharacterSet" not in again.ReferencedStudySequence[0]


def test_a_value_that_json_does_not_have_is_refused() -> None:
    ds = dataset()
    ds.add_new(0x00189073, "FD", float("nan"))
    with pytest.raises(BadWorklistFile, match="cannot be stored"):
        worklist_file.read(written(ds))


def test_other_transfer_syntaxes_and_large_files_are_refused() -> None:
    deflated = wl().replace(b"1.2.840.10008.1.2.1\x00", b"1.2.840.10008.1.2.2\x00", 1)
    with pytest.raises(BadWorklistFile, match="transfer syntax"):
        worklist_file.read(deflated)
    with pytest.raises(BadWorklistFile, match="more than"):
        worklist_file.read(wl() + b"\0" * worklist_file.MOST_BYTES)


@given(st.binary(max_size=300), st.booleans())
def test_random_bytes_are_refused_and_nothing_else_happens(data: bytes, with_preamble: bool) -> None:
    with pytest.raises(BadWorklistFile):
        worklist_file.read(b"\0" * 128 + b"DICM" + data if with_preamble else data)


_WHOLE = wl(MedicalAlerts="X", PregnancyStatus=4, PatientWeight="70")


@given(st.integers(132, len(_WHOLE) - 1), st.integers(0, 255))
def test_a_damaged_byte_is_refused_or_read_but_never_crashes(at: int, byte: int) -> None:
    damaged = _WHOLE[:at] + bytes([byte]) + _WHOLE[at + 1 :]
    try:
        item, _ = worklist_file.read(damaged)
    except BadWorklistFile:
        return
    json.dumps(item.attributes, allow_nan=False)


def test_what_private_elements_are_taken_for_is_not_in_the_digest() -> None:
    item = dataset()
    item.add_new(0x80010010, "LO", "ACME")
    item.add_new(0x80011001, "LO", "Особое")
    item.add_new(0x80011002, "US", 7)
    found, digest = worklist_file.read(written(item, implicit=True))
    assert found.attributes["top"]["80011001"] == {"vr": "LO", "Value": ["Особое"]}
    # As it was before anything was made of them: files that were imported then are not new.
    assert digest == "58313da19557b46c66d1082499864c54fba71f7d1517be658fe8ec8904913be6"


EXAMPLES = sorted(Path("/usr/share/doc/dcmtk/examples/wlistdb/OFFIS").glob("*.dump"))


@pytest.mark.skipif(not EXAMPLES, reason="the documentation of the package dcmtk is not installed")
def test_dcmtks_ten_examples_are_read(tmp_path: Path) -> None:
    assert len(EXAMPLES) == 10
    for dump in EXAMPLES:
        target = tmp_path / f"{dump.stem}.wl"
        subprocess.run([tool("dump2dcm"), "-g", "-q", str(dump), str(target)], check=True, timeout=20)
        item, _ = worklist_file.read(target.read_bytes())
        assert item.patient.birth_date is not None
        assert item.patient.birth_date.year < 1850  # the great dead
        assert item.requested_procedure_id.startswith("RP")
        assert item.start.year in range(1993, 1997)
