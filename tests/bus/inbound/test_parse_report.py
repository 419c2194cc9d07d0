"""What another clinic's report is read as, and that nothing that it may hold breaks the reading."""

from __future__ import annotations

import base64
import json
from copy import deepcopy
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.bus.fhir import Resource, reference_to
from broker.bus.inbound.parse_report import (
    MAX_LINE,
    MAX_TEXT,
    ReportGraph,
    external_study,
    millisieverts,
    read_text,
    version_of,
)
from broker.bus.inbound.resolver import Unusable
from broker.domain.reading.reports import ExternalStudy
from tests.bus.samples import PROFILE

N3 = "urn:oid:1.2.643.2.69.1.1.1."
NSI = "urn:oid:1.2.643.5.1.13.13.11."
STRANGER = "c84e7f12-0d39-4b6e-9c7a-5f6e7d8c9b02"


def concept(system: str, code: str, text: str = "") -> Resource:
    return {"coding": [{"system": system, "version": "1", "code": code}]} | ({"text": text} if text else {})


def observation(code: str, **value: Any) -> Resource:
    return {
        "resourceType": "Observation",
        "id": f"o{code}",
        "status": "final",
        "code": concept(N3 + "119", code),
    } | value


def report(**changes: Any) -> Resource:
    base = {
        "resourceType": "DiagnosticReport",
        "id": "r1",
        "meta": {"versionId": "2", "lastUpdated": "2026-11-20T10:00:00Z"},
        "status": "final",
        "category": [concept(NSI + "1472", "1")],
        "code": concept(NSI + "1471", "7003087", "КТ органов грудной клетки"),
        "effectiveDateTime": "2026-11-19T23:30:00Z",
        "issued": "2026-11-20T09:00:00.000+03:00",
        "performer": [{"reference": f"Organization/{STRANGER}"}, {"reference": "PractitionerRole/pr1"}],
        "presentedForm": [{"contentType": "application/pdf", "url": "Binary/b1"}],
    }
    return {name: value for name, value in (base | changes).items() if value is not None}


STUDY = {
    "resourceType": "ImagingStudy",
    "id": "s1",
    "identifier": [
        {"type": concept(N3 + "122", "ACSN"), "value": "ODII0000000001"},
        {"system": "urn:dicom:uid", "value": "urn:oid:1.2.643.7.8"},
    ],
    "modality": [{"code": "SR"}, {"system": "urn:oid:1.2.840.10008.2.16.4", "code": "CT"}],
    "started": "2026-11-19T20:00:00+03:00",
}
OTHERS: list[Resource] = [
    STUDY,
    {"resourceType": "Endpoint", "id": "e1", "address": "https://pacs.example.org/wado?studyUID=1.2.643.7.8"},
    observation("1", valueString="Очаги\r\nв лёгких"),
    observation("2", valueString="Пневмония"),
    observation("3", valueString="Контроль через месяц"),
    observation("5", valueQuantity={"value": 3.1, "unit": "мЗв", "code": "mSv"}),
    {"resourceType": "ServiceRequest", "id": "q1", "bodySite": [concept(NSI + "1477", "4")]},
    {"resourceType": "Practitioner", "id": "d1", "name": [{"family": "Рентгенова", "given": ["Анна", "Ильинична"]}]},
]
TASK: Resource = {"resourceType": "Task", "id": "t1", "owner": {"reference": f"Organization/{STRANGER}"}}


def read(*others: Resource, task: Resource | None = None, **changes: Any) -> ExternalStudy:
    return external_study(ReportGraph(report(**changes), task, others), PROFILE)


def test_everything_in_a_report_and_its_references_is_read() -> None:
    assert read(*OTHERS, task=TASK) == ExternalStudy(
        reference="DiagnosticReport/r1",
        status="final",
        organisation=STRANGER,
        studied_on=date(2026, 11, 20),  # 23:30 UTC is the next day in the clinic
        modality="CT",
        procedure_code="7003087",
        procedure_name="КТ органов грудной клетки",
        body_site="4",
        description="Очаги\nв лёгких",
        conclusion="Пневмония",
        recommendations="Контроль через месяц",
        effective_dose=3.1,
        study_instance_uid="1.2.643.7.8",
        images_url="https://pacs.example.org/wado?studyUID=1.2.643.7.8",
        accession_number="ODII0000000001",
        doctor="Рентгенова Анна Ильинична",
        documents=("Binary/b1",),
    )


def test_a_bare_report_is_a_study_and_anything_else_is_refused() -> None:
    assert external_study(ReportGraph({"resourceType": "DiagnosticReport", "id": "x"}), PROFILE) == ExternalStudy(
        "DiagnosticReport/x"
    )
    for wrong in ({"resourceType": "Task", "id": "x"}, {"resourceType": "DiagnosticReport", "id": "../x"}, {}):
        with pytest.raises(Unusable):
            external_study(ReportGraph(wrong), PROFILE)


def test_a_member_that_is_missing_is_taken_from_where_it_also_stands() -> None:
    assert read(performer=None, task=TASK).organisation == STRANGER
    assert read(effectiveDateTime=None).studied_on == date(2026, 11, 20)
    assert read(STUDY, effectiveDateTime="2026-11", issued=None).studied_on == date(2026, 11, 19)
    assert read(category=[concept(NSI + "1472", "4")]).modality == "RG"
    assert read(conclusion="Норма").conclusion == "Норма"
    assert read(STUDY | {"description": "https://viewer.example.org/1"}).images_url == "https://viewer.example.org/1"


def test_codes_of_other_systems_are_no_codes_of_ours() -> None:
    local = {"coding": [{"system": "urn:oid:1.2.3", "code": "KT1", "display": "КТ"}]}
    found = read(
        {"resourceType": "ServiceRequest", "bodySite": [concept("http://snomed.info/sct", "51185008")]}, code=local
    )
    assert (found.procedure_code, found.procedure_name, found.body_site) == ("", "КТ", "")


@pytest.mark.parametrize("address", ["javascript:alert(1)", "file:///etc/passwd", "https://a b", "http://x\n", 5])
def test_an_address_that_a_browser_must_not_be_sent_to_is_left_out(address: object) -> None:
    found = read({"resourceType": "Endpoint", "address": address})
    assert found.images_url in ("", "http://x")


@pytest.mark.parametrize(
    ("stated", "read_as"),
    [
        ("Без патологии", "Без патологии"),
        (base64.b64encode("Без патологии".encode()).decode(), "Без патологии"),
        (base64.encodebytes(("Очаги в лёгких.\n" * 20).encode()).decode(), "\n".join(["Очаги в лёгких."] * 20)),
        (base64.b64encode("Норма\u00a0–\tда".encode()).decode(), "Норма – да"),
        ("Normal12", "Normal12"),  # valid base64 of bytes that are no text
        ("abcdefghijkl", "abcdefghijkl"),
        (base64.b64encode(b"no findings!").decode(), base64.b64encode(b"no findings!").decode()),
        (
            base64.b64encode("Норма".encode("cp1251") * 4).decode(),
            base64.b64encode("Норма".encode("cp1251") * 4).decode(),
        ),
        (base64.b64encode("Нор\x00ма!".encode()).decode(), base64.b64encode("Нор\x00ма!".encode()).decode()),
        ("Нор\x00ма\ud800", "Норма"),
        (None, ""),
        (["Норма"], ""),
    ],
)
def test_a_text_is_read_plain_or_from_base64_of_cyrillic(stated: object, read_as: str) -> None:
    assert read_text(stated) == read_as


@given(st.text(st.characters(min_codepoint=0x410, max_codepoint=0x44F), min_size=3))
def test_every_cyrillic_text_reads_the_same_either_way(text: str) -> None:
    assert read_text(text) == text
    assert read_text(base64.b64encode(text.encode()).decode()) == text


def test_texts_and_lists_without_end_are_cut() -> None:
    found = read(
        observation("1", valueString="а" * 100_000),
        code={"text": "б" * 100_000},
        presentedForm=[{"url": f"Binary/{n}"} for n in range(1000)],
    )
    assert len(found.description) == MAX_TEXT
    assert len(found.procedure_name) == MAX_LINE
    assert len(found.documents) == 20


@pytest.mark.parametrize(
    ("quantity", "dose"),
    [
        ({"value": 3.1, "unit": "mSv"}, 3.1),
        ({"value": 0, "unit": "мЗв"}, 0.0),
        ({"value": 30, "unit": "мкЗв"}, 0.03),
        ({"value": 30, "code": "uSv"}, 0.03),
        ({"value": 30, "unit": "\u00b5Sv", "code": "uSv"}, 0.03),
        ({"value": 30, "unit": "\u03bcSv"}, 0.03),
        ({"value": 0.002, "unit": "Sv"}, 2.0),
        ({"value": 3.1, "unit": "mGy"}, None),
        ({"value": 3.1, "unit": "mGy.cm"}, None),
        ({"value": 3.1, "unit": "mSv", "code": "mGy"}, None),
        ({"value": 3.1, "unit": "mSv", "code": "uSv"}, None),
        ({"value": 3.1}, None),
        ({"value": "3,1", "unit": "mSv"}, None),
        ({"value": True, "unit": "mSv"}, None),
        ({"value": -1, "unit": "mSv"}, None),
        ({"value": 3100, "unit": "mSv"}, None),
        ({"value": float("nan"), "unit": "mSv"}, None),
        ({"value": 10**400, "unit": "uSv"}, None),
        ({"value": 1, "unit": ["mSv"]}, None),
        ("3.1 mSv", None),
    ],
)
def test_only_a_plain_effective_dose_is_one(quantity: object, dose: float | None) -> None:
    assert millisieverts(quantity) == dose


def test_of_several_doses_the_largest_counts_and_a_withdrawn_one_does_not() -> None:
    doses = [observation("5", valueQuantity={"value": value, "unit": "mSv"}) for value in (1, 4, 2)]
    assert read(*doses).effective_dose == 4
    assert read(doses[1] | {"status": "entered-in-error"}, doses[2]).effective_dose == 2


@pytest.mark.parametrize(
    ("quantity", "reported"),
    [
        ({"value": 3.1}, (3.1, "")),
        ({"value": 3.1, "unit": "mGy.cm"}, (3.1, "mGy.cm")),
        ({"value": 3.1, "code": "mGy"}, (3.1, "mGy")),
        ({"value": 3100, "unit": "mSv"}, (3100, "mSv")),
        ({"value": 1, "unit": ["mSv"]}, (1, "")),
        ({"value": 3.1, "unit": "mSv"}, (None, "")),
        ({"value": "3,1"}, (None, "")),
        ({"value": True}, (None, "")),
        ({"value": -1}, (None, "")),
        ({"value": float("nan")}, (None, "")),
        ({"value": 10**400}, (None, "")),
    ],
)
def test_a_dose_without_a_unit_of_one_is_kept_as_it_was_reported(
    quantity: object, reported: tuple[float | None, str]
) -> None:
    study = read(observation("5", valueQuantity=quantity))
    assert (study.unconverted_dose, study.unconverted_unit) == reported
    if reported[0] is not None:
        assert study.effective_dose is None


def test_a_dose_without_a_unit_is_left_out_beside_one_with_a_unit() -> None:
    study = read(*(observation("5", valueQuantity=each) for each in ({"value": 3.1}, {"value": 4, "unit": "mSv"})))
    assert (study.effective_dose, study.unconverted_dose) == (4, None)


def test_a_version_changes_with_every_change() -> None:
    assert version_of(report()) == "2 2026-11-20T10:00:00Z"
    assert version_of({"meta": {"versionId": 2}}) == version_of({}) == ""


def test_a_reference_is_read_relative_and_absolute() -> None:
    for text in ("Patient/a1", "http://bus/fhir/Patient/a1", "Patient/a1/_history/2"):
        assert reference_to("Patient", {"reference": text}) == "Patient/a1"
    pointless: list[object] = ["Patient/../a1", "Task/a1", "#a1", "", None, {}]
    for wrong in pointless:
        assert reference_to("Patient", {"reference": wrong}) == ""


# ---- anything may come ----

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["final", "Organization/1", "1", "mSv", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00"])
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner))


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the ways to everything in a JSON value."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else []
    return [path, *(way for name, value in inner for way in places(value, (*path, name)))]


WHOLE: dict[str, Any] = {"report": report(), "task": TASK, "others": OTHERS}
PLACES = [way for way in places(WHOLE) if way not in ((), ("report",), ("others",), ("report", "id"))]


def put(whole: Any, way: tuple[Any, ...], value: Any) -> None:
    """Put a value in a place, if that is still there."""
    *outer, last = way
    try:
        for name in outer:
            whole = whole[name]
        whole[last] = value
    except (KeyError, IndexError, TypeError):
        return


@pytest.mark.slow
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=4))
def test_whatever_stands_in_a_member_nothing_but_unusable_is_raised(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    whole: dict[str, Any] = deepcopy(WHOLE)
    for way, value in changes:
        put(whole, way, value)
    try:
        found = external_study(ReportGraph(whole["report"], whole["task"], whole["others"]), PROFILE)
    except Unusable:
        return
    members = {name: str(getattr(found, name)) for name in ExternalStudy.__dataclass_fields__}
    json.dumps(members, ensure_ascii=False).encode()
