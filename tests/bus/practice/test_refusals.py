"""What the practice bus refuses and where it says the fault is: fields, results, headers, bodies."""

import json
import random
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from typing import Any
from uuid import uuid4

import pytest

from broker.bus.fhir_server.rules import OperationRefused, snils_valid
from broker.bus.practice import (
    PRACTICE_ORGANISATION,
    PRACTICE_TOKEN,
    PracticeServer,
)
from tests.bus.bundles import (
    MIS,
    Resource,
    accepted,
    call,
    concept,
    of,
    order,
    organisation,
    patient,
    post,
    reference,
    result,
)
from tests.bus.faulty import JUNK, ORDER_FAULTS, with_value, without
from tests.support.practice import practice_bus

# ---- refusals ----


@pytest.mark.parametrize(("change", "place"), ORDER_FAULTS)
def test_a_faulty_order_is_refused_at_its_place_and_nothing_is_stored(
    server: PracticeServer, change: Callable[[Resource], None], place: str
) -> None:
    before = {kind: len(server.bus.resources(kind)) for kind in ("Task", "Patient", "Condition", "Encounter")}
    sent = order()
    change(sent)
    answer = post(server, sent)
    assert answer.status_code == 422, answer.text
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome"
    assert all(issue["severity"] == "error" and issue["diagnostics"] for issue in outcome["issue"])
    assert any(where.endswith(f".resource.{place}") for i in outcome["issue"] for where in i["location"]), outcome
    assert before == {kind: len(server.bus.resources(kind)) for kind in before}


def test_all_errors_of_a_bundle_are_reported_together(server: PracticeServer) -> None:
    sent = order()
    for change in (without("Patient.birthDate"), without("Task.owner"), without("Encounter.type")):
        change(sent)
    texts = [issue["diagnostics"] for issue in post(server, sent).json()["issue"]]
    assert texts == [
        "Patient.birthDate: не заполнено обязательное поле",
        "Encounter.type: не заполнено обязательное поле",
        "Task.owner: не заполнено обязательное поле",
    ]


def test_a_bundle_about_two_patients_or_without_a_task_is_refused(server: PracticeServer) -> None:
    sent = order()
    url = f"urn:uuid:{uuid4()}"
    sent["entry"].append({"fullUrl": url, "resource": patient()})
    of(sent, "Condition")["subject"]["reference"] = url
    assert "разным пациентам" in post(server, sent).text
    sent = order()
    sent["entry"].pop()
    assert "Task" in post(server, sent).json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize("entry", [None, [], [None], [{"resource": {}}], [{"fullUrl": "1", "resource": patient()}]])
def test_a_bundle_with_broken_entries_is_refused(server: PracticeServer, entry: object) -> None:
    sent = {"resourceType": "Bundle", "type": "transaction", "entry": entry}
    assert post(server, sent).status_code == 422


def test_snils_check_digits_follow_the_rule() -> None:
    assert snils_valid("11223344595")
    assert snils_valid("08765430300")  # the sum is 202: the remainder is 0
    assert snils_valid("10020789900")  # the sum is 100: the check number is 00
    assert not snils_valid("10020789901")
    assert not snils_valid("11223344559")
    assert not snils_valid("1122334459")
    assert not snils_valid("١١٢٢٣٣٤٤٥٩٥")


RESULT_FAULTS = [
    (with_value("Task.basedOn", [reference(f"Task/{uuid4()}")]), "ни в Bundle, ни в сервисе"),
    (with_value("Task.status", "requested"), "Task.status"),
    (with_value("DiagnosticReport.status", "final"), "не соответствует"),
    (without("DiagnosticReport.basedOn"), "basedOn"),
    (without("DiagnosticReport.effectiveDateTime"), "effectiveDateTime"),
    (without("DiagnosticReport.meta"), "meta"),
    (with_value("ImagingStudy.identifier.1.value", "urn:oid:1.02.3"), "StudyInstanceUID"),
    (with_value("ImagingStudy.identifier.0.value", "12345678901234567"), "длиннее 16"),
    (with_value("ImagingStudy.identifier", [{"system": "urn:dicom:uid", "value": "urn:oid:2.25.1"}]), "ACSN"),
    (without("Observation.valueString"), "Observation.value"),
    (with_value("Observation.code.coding.0.code", "5"), "в мЗв"),
]


@pytest.mark.parametrize(("change", "words"), RESULT_FAULTS)
def test_a_faulty_result_is_refused(server: PracticeServer, change: Callable[[Resource], None], words: str) -> None:
    number = str(uuid4())
    answered = accepted(server, order(number))
    sent = result(number, answered)
    change(sent)
    answer = post(server, sent)
    assert answer.status_code == 422
    assert words in answer.json()["issue"][0]["diagnostics"]


def test_a_lenient_bus_takes_what_a_clinic_without_dictionaries_knows() -> None:
    sent = order()
    for change in (
        without("ServiceRequest.bodySite"),
        without("Encounter.diagnosis"),
        without("PractitionerRole.code"),
        with_value("PractitionerRole.specialty", [{"text": "терапия"}]),
        with_value("Condition.code", {"text": "Пневмония"}),
        with_value("ServiceRequest.code", concept(f"urn:oid:{MIS}", "FLG")),
        with_value("ServiceRequest.requester", organisation()),
    ):
        change(sent)
    with pytest.raises(OperationRefused):
        practice_bus().transaction(sent)
    bus = practice_bus(lenient=True)
    bus.transaction(sent)
    for change in (without("ServiceRequest.code"), without("Patient.birthDate")):
        faulty = order()
        change(faulty)
        with pytest.raises(OperationRefused):
            bus.transaction(faulty)


JUNK += [
    {"reference": ["x"]},
    {"coding": "x"},
    {"coding": ["x"]},
    [{"coding": [1]}],
    [{"reference": "x"}],
    "urn:uuid:1",
]


@pytest.mark.slow
@pytest.mark.parametrize("lenient", [False, True])
def test_no_mutilated_bundle_does_worse_than_to_be_refused(lenient: bool) -> None:
    chance = random.Random(20261124)
    bus = practice_bus(lenient=lenient)
    base = bus.transaction(order("base"))

    def places(node: Any) -> list[tuple[Any, Any]]:
        pairs = list(node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ())
        return [(node, key) for key, _ in pairs] + [place for _, child in pairs for place in places(child)]

    for i in range(400):
        sent = order() if i % 2 else result(str(i), base, "completed" if i % 4 else "in-progress")
        node, key = chance.choice(places(sent))
        if isinstance(node, dict) and chance.random() < 0.3:
            key = chance.choice(["basedOn", "subject", "identifier", "for", "meta", "intent", "status", "url"])
        node[key] = deepcopy(chance.choice(JUNK))
        with suppress(OperationRefused):  # anything else is a fault of the bus
            bus.transaction(sent)
    assert json.dumps(bus.tasks())


# ---- the frame: who calls, what a body is ----


@pytest.mark.parametrize("given", ["", PRACTICE_TOKEN, f"Bearer {PRACTICE_TOKEN}", "N3 0", "N3 ключ"])
def test_without_the_right_token_nothing_is_answered(server: PracticeServer, given: str) -> None:
    headers = {"Authorization": given.encode()}
    for method, path in (("GET", "/Task/1"), ("POST", ""), ("POST", "/Task/_search")):
        answer = call(server, method, path, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    "media", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=cp1251"]
)
def test_another_content_type_is_refused(server: PracticeServer, media: str) -> None:
    assert call(server, "POST", "", order(), headers={"Content-Type": media}).status_code == 415


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        '{"resourceType": "Пациент"}'.encode("cp1251"),
        b'{"resourceType": "Bundle", "resourceType": "Bundle"}',
        b'{"resourceType": "Bundle", "total": NaN}',
        b'{"resourceType": "Bundle", "total": 1e999}',
        b'{"resourceType": "Bundle", "id": "\\ud800"}',
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"a":' * 100 + b"1" + b"}" * 100,
    ],
)
def test_a_body_that_is_not_strict_json_is_refused(server: PracticeServer, body: bytes) -> None:
    answer = call(server, "POST", "", body)
    assert answer.status_code == 400
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_a_body_over_ten_megabytes_is_refused(server: PracticeServer) -> None:
    assert call(server, "POST", "", b" " * (10 * 1024 * 1024 + 1)).status_code == 413


def test_unknown_places_and_methods_are_refused_as_outcomes(server: PracticeServer) -> None:
    for method, path, status in (
        ("GET", "/Task/1", 404),
        ("GET", "/Task/1/2/3", 404),
        ("POST", "/Observation", 404),
        ("POST", "/Practitioner/_search", 404),
        ("POST", "x", 404),
        ("PUT", "/Task/1", 405),
    ):
        answer = call(server, method, path, {"resourceType": "Parameters"})
        assert (answer.status_code, answer.json()["resourceType"]) == (status, "OperationOutcome")


def test_requests_are_remembered_with_their_bytes(server: PracticeServer) -> None:
    call(server, "POST", "?_format=json", b'{"resourceType": "Bundle"}')
    last = server.bus.requests[-1]
    assert last[:5] == ("POST", "/?_format=json", 422, b'{"resourceType": "Bundle"}', PRACTICE_ORGANISATION)
    assert last.reason == "Bundle.type: ожидается transaction"
    assert server.bus.log.get(server.bus.log.total) == last
    assert server.bus.log.get(server.bus.log.total + 1) is None
    assert server.bus.log.get(0) is None
    assert sum(server.bus.log.per_second().values()) == server.bus.log.total
