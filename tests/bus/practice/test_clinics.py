"""Two clinics on one practice bus: referral, refusal to strangers, answers, what a patient has elsewhere, paging."""

import base64
import random
import socket
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
import requests

from broker.bus.fhir_server.requests import last_updated, search_values
from broker.bus.fhir_server.rules import OperationRefused
from broker.bus.practice import (
    PRACTICE_ORGANISATION,
    PRACTICE_ORGANISATION_2,
    PRACTICE_TOKEN,
    PRACTICE_TOKEN_2,
    PracticeServer,
)
from broker.bus.practice.index import Index
from tests.bus.bundles import (
    MIS,
    N3,
    OWN_ID,
    SNILS,
    Resource,
    accepted,
    accession_numbers,
    call,
    concept,
    id_of,
    of,
    order,
    organisation,
    own_id,
    part,
    patient,
    post,
    reference,
    result,
    search,
)
from tests.bus.clinic import practising
from tests.support.practice import practice_bus

Headers = dict[str, str]
FIRST, SECOND = f"Organization/{PRACTICE_ORGANISATION}", f"Organization/{PRACTICE_ORGANISATION_2}"
AS_SECOND = {"Authorization": f"N3 {PRACTICE_TOKEN_2}"}
STRANGER, STRANGERS_TOKEN = "0f0e0d0c-1111-4222-8333-444455556666", "aaaa0000-1111-4222-8333-444455556666"


@pytest.fixture
def server() -> Iterator[PracticeServer]:
    with practising(practice_bus(clinics={STRANGERS_TOKEN: STRANGER})) as running:
        yield running


def found(server: PracticeServer, kind: str, headers: Headers | None = None, **parameters: str) -> list[Resource]:
    """Search as the first clinic, or as the one whose headers are given."""
    named = [{"name": k[0] + k[1:].replace("_", "-"), "valueString": v} for k, v in parameters.items()]
    body = {"resourceType": "Parameters", "parameter": named}
    answer = call(server, "POST", f"/{kind}/_search", body, headers=headers or {})
    assert answer.status_code == 200, answer.text
    return [entry["resource"] for entry in answer.json().get("entry", [])]


def answer_of_second(number: str, answered: Resource, status: str) -> Resource:
    """Make the second clinic's result of an order of the first."""
    sent = result(number, answered, status)
    of(sent, "Task")["owner"] = reference(SECOND)
    of(sent, "DiagnosticReport")["performer"] = [reference(SECOND)]
    return sent


def test_a_referral_goes_to_another_clinic_and_its_report_comes_back(server: PracticeServer) -> None:
    answered = accepted(server, order("order-away"))
    original = part(answered, "Task")
    [seen] = found(server, "Task", AS_SECOND, intent="original-order", owner=SECOND, status="requested", _count="500")
    assert seen == original
    for name in ("focus", "for", "requester", "owner"):
        assert call(server, "GET", f"/{seen[name]['reference']}", headers=AS_SECOND).status_code == 200
    for status in ("in-progress", "completed"):
        sent = answer_of_second("order-away", answered, status)
        assert call(server, "POST", "?_format=json", sent, headers=AS_SECOND).status_code == 200
    reflex = found(server, "Task", intent="reflex-order", based_on=f"Task/{uuid4()},Task/{original['id']}")
    assert [task["status"] for task in reflex] == ["in-progress", "completed"]
    report = call(server, "GET", f"/{reflex[1]['focus']['reference']}").json()
    assert report["status"] == "final"
    text = call(server, "GET", f"/{report['result'][0]['reference']}").json()
    assert text["valueString"] == "Без патологии"


def test_either_side_may_cancel_and_the_other_sees_it(server: PracticeServer) -> None:
    for headers in ({}, AS_SECOND):
        task = part(accepted(server, order()), "Task")
        since = f"ge{task['meta']['lastUpdated']}"
        given = [{"name": "_id", "valueString": task["id"]}, {"name": "status", "valueString": "cancelled"}]
        body = {"resourceType": "Parameters", "parameter": given}
        assert call(server, "POST", "/$updatestatus", body, headers=headers).status_code == 200
        [seen] = found(server, "Task", AS_SECOND, owner=SECOND, status="cancelled", _lastUpdated=since)
        assert seen["id"] == task["id"]


def test_a_third_clinic_sees_nothing_of_it_but_the_results_of_the_patient(server: PracticeServer) -> None:
    stranger = {"Authorization": f"N3 {STRANGERS_TOKEN}"}
    answered = accepted(server, order("order-private"))
    accepted(server, result("order-private", answered, "completed"))
    task = id_of(answered, "Task")
    assert found(server, "Task", stranger, intent="original-order") == []
    assert found(server, "Task", stranger, based_on=task) == []
    assert found(server, "Task", stranger, identifier="order-private") == []
    assert call(server, "GET", f"/{task}", headers=stranger).status_code == 404
    given = [{"name": "_id", "valueString": task}, {"name": "status", "valueString": "cancelled"}]
    body = {"resourceType": "Parameters", "parameter": given}
    assert call(server, "POST", "/$updatestatus", body, headers=stranger).status_code == 404
    person = id_of(answered, "Patient")
    [report] = found(server, "DiagnosticReport", stranger, subject=person)
    for place in (report["subject"], report["result"][0], report["imagingStudy"][0], report["basedOn"][0]):
        assert call(server, "GET", f"/{place['reference']}", headers=stranger).status_code == 200


def test_orders_and_results_in_the_name_of_another_clinic_are_refused(server: PracticeServer) -> None:
    answer = call(server, "POST", "", order(), headers=AS_SECOND)
    assert answer.status_code == 422
    assert "Task.requester" in answer.text
    answered = accepted(server, order("order-named"))
    answer = call(server, "POST", "", result("order-named", answered), headers=AS_SECOND)
    assert answer.status_code == 422
    assert "Task.owner" in answer.text
    assert call(server, "POST", "", answer_of_second("order-named", answered, "completed"), headers=AS_SECOND).ok
    with pytest.raises(OperationRefused):
        server.bus.transaction(order(), PRACTICE_ORGANISATION_2)
    server.bus.transaction(order())  # without a name it is whoever may


def test_a_second_reading_by_another_clinic_is_one_more_answer(server: PracticeServer) -> None:
    answered = accepted(server, order("order-read-twice", owner=PRACTICE_ORGANISATION))
    accepted(server, result("order-read-twice", answered, "completed"))
    second = answer_of_second("order-read-twice/second", answered, "completed")
    assert call(server, "POST", "", second, headers=AS_SECOND).status_code == 200
    owners = [task["owner"]["reference"] for task in found(server, "Task", based_on=id_of(answered, "Task"))]
    assert owners == [FIRST, SECOND]


def test_two_organisations_cannot_have_one_token() -> None:
    with pytest.raises(ValueError, match="one token"):
        practice_bus(token=PRACTICE_TOKEN_2)
    with pytest.raises(ValueError, match="one token"):
        practice_bus(clinics={PRACTICE_TOKEN: STRANGER})


def test_the_requests_of_each_clinic_are_distinguished(server: PracticeServer) -> None:
    found(server, "Task", intent="original-order")
    found(server, "Task", AS_SECOND, intent="original-order")
    call(server, "GET", "/Task/1", headers={"Authorization": "N3 unknown"})
    callers = [request.organisation for request in server.bus.requests]
    assert callers == [PRACTICE_ORGANISATION, PRACTICE_ORGANISATION_2, ""]


# ---- by patient ----


def test_a_patient_is_found_by_any_number_bare_or_with_its_system(server: PracticeServer) -> None:
    sent = order()
    card = str(uuid4())
    of(sent, "Patient")["identifier"] = [own_id(card), {"system": SNILS, "value": "08765430300"}]
    accepted(server, order())
    person = part(accepted(server, sent), "Patient")
    for value in (card, f"{OWN_ID}|{card}", "08765430300", f"{SNILS}|08765430300", f"{uuid4()},{card}"):
        assert found(server, "Patient", AS_SECOND, identifier=value) == [person]
    assert found(server, "Patient", identifier=f"{OWN_ID}|08765430300") == []


def test_a_patients_results_of_every_clinic_are_found(server: PracticeServer) -> None:
    sent = order("order-one")
    answered = accepted(server, sent)
    number = part(answered, "Patient")["identifier"][0]
    accepted(server, result("order-one", answered, "completed"))
    other_server = result("walk-in-two", None)
    of(other_server, "Patient")["identifier"] = [number]
    of(other_server, "ImagingStudy")["identifier"][1]["value"] = "urn:oid:2.25.77"
    for kind, member in (("Task", "owner"), ("Patient", "managingOrganization")):
        of(other_server, kind)[member] = reference(SECOND)
    answer = call(server, "POST", "", other_server, headers=AS_SECOND)
    assert answer.status_code == 200, answer.text
    assert id_of(answer.json(), "Patient") == id_of(answered, "Patient")
    other = result("other-patient", None)
    of(other, "ImagingStudy")["identifier"][1]["value"] = "urn:oid:2.25.78"
    accepted(server, other)
    person = id_of(answered, "Patient")
    for subject in (person, person.partition("/")[2], f"Patient/{uuid4()},{person}"):
        reports = found(server, "DiagnosticReport", subject=subject)
        assert [report["status"] for report in reports] == ["final", "partial"]
        assert len(found(server, "ImagingStudy", subject=subject)) == 2
    last = reports[1]["meta"]["lastUpdated"]
    assert found(server, "DiagnosticReport", subject=person, _lastUpdated=f"ge{last}") == reports[1:]
    assert found(server, "DiagnosticReport", subject=person, _count="1") == reports[:1]
    assert found(server, "DiagnosticReport", subject=person, status="final") == reports[:1]


@pytest.mark.parametrize("kind", ["Patient", "DiagnosticReport", "ImagingStudy"])
def test_all_patients_of_a_region_cannot_be_listed(server: PracticeServer, kind: str) -> None:
    answer = call(server, "POST", f"/{kind}/_search", {"resourceType": "Parameters"})
    assert answer.status_code == 422
    assert answer.json()["issue"][0]["code"] == "required"


# ---- what a result may bring ----


def completed_with_everything(answered: Resource | None, number: str) -> Resource:
    """Make a result with every resource of the profile."""
    sent = result(number, answered, "completed")
    report = of(sent, "DiagnosticReport")
    urls = {}

    def add(name: str, resource: Resource) -> Resource:
        urls[name] = f"urn:uuid:{uuid4()}"
        sent["entry"].append({"fullUrl": urls[name], "resource": resource})
        return reference(urls[name])

    doctor = {
        "resourceType": "Practitioner",
        "active": True,
        "identifier": [own_id("radiologist")],
        "name": [{"family": "Зимин", "given": ["Андрей"]}],
    }
    role = {
        "resourceType": "PractitionerRole",
        "active": True,
        "practitioner": add("doctor", doctor),
        "organization": organisation(),
        "code": [concept("urn:oid:1.2.643.5.1.13.13.11.1002", "109")],
        "specialty": [concept("urn:oid:1.2.643.5.1.13.13.11.1066", "60")],
    }
    report["performer"] = [add("role", role)]
    for code, value in (
        ("2", {"valueString": base64.b64encode("Норма".encode()).decode()}),
        ("3", {"valueString": "Контроль через год"}),
        ("5", {"valueQuantity": {"value": 0.03, "unit": "мЗв", "code": "mSv"}}),
    ):
        observation = {"resourceType": "Observation", "status": "final", "code": concept(N3 + "119", code), **value}
        report["result"].append(add(f"observation {code}", observation))
    document = {
        "resourceType": "Binary",
        "contentType": "application/pdf",
        "data": base64.b64encode(b"%PDF-1.7").decode(),
    }
    signature = {"resourceType": "Binary", "contentType": "application/x-pkcs7-practitioner", "data": "MDA="}
    add("document", document)
    add("signature", signature)
    report["presentedForm"] = [
        {"contentType": resource["contentType"], "url": urls[name]}
        for name, resource in (("document", document), ("signature", signature))
    ]
    endpoint = {"resourceType": "Endpoint", "address": "https://pacs.example/wado"}
    of(sent, "ImagingStudy")["endpoint"] = [add("endpoint", endpoint)]
    return sent


@pytest.mark.parametrize("ordered", [True, False])
def test_a_result_brings_every_resource_and_each_can_be_read(server: PracticeServer, ordered: bool) -> None:
    number = str(uuid4())
    answered = accepted(server, order(number)) if ordered else None
    given = accepted(server, completed_with_everything(answered, number))
    report = part(given, "DiagnosticReport")
    document = call(server, "GET", f"/{report['presentedForm'][0]['url']}", headers=AS_SECOND).json()
    assert document["contentType"] == "application/pdf"
    assert base64.b64decode(document["data"]) == b"%PDF-1.7"
    study = call(server, "GET", f"/{report['imagingStudy'][0]['reference']}").json()
    assert call(server, "GET", f"/{study['endpoint'][0]['reference']}").json()["address"].startswith("https://")
    doses = [call(server, "GET", f"/{r['reference']}").json().get("valueQuantity") for r in report["result"]]
    assert doses[3]["value"] == 0.03
    role = call(server, "GET", f"/{report['performer'][0]['reference']}").json()
    assert call(server, "GET", f"/{role['practitioner']['reference']}").json()["name"][0]["family"] == "Зимин"


def test_a_walk_in_may_point_to_a_patient_who_is_known_already(server: PracticeServer) -> None:
    person = call(server, "POST", "/Patient", patient()).json()
    sent = result("walk-in-known", None)
    url = sent["entry"].pop(0)["fullUrl"]
    known = f"Patient/{person['id']}"
    for entry in sent["entry"]:
        for member in ("subject", "for"):
            if entry["resource"].get(member) == reference(url):
                entry["resource"][member] = reference(known)
    assert part(accepted(server, sent), "Task")["for"] == reference(known)


def test_statuses_that_the_region_may_know_are_configured() -> None:
    bus = practice_bus(statuses=("cancelled", "in-progress"))
    task = part(bus.transaction(order()), "Task")
    assert bus.update_status(task["id"], "in-progress")["status"] == "in-progress"
    assert bus.update_status(f"Task/{task['id']}", "cancelled", PRACTICE_ORGANISATION_2)["status"] == "cancelled"
    with pytest.raises(OperationRefused):
        bus.update_status(task["id"], "rejected")


# ---- many ----


def test_a_client_with_a_cursor_reads_everything_though_things_change_meanwhile() -> None:
    server = PracticeServer(practice_bus())
    server.start()
    made = [part(server.bus.transaction(order()), "Task")["id"] for _ in range(60)]
    cursor, seen = "ge2000-01-01", dict[str, str]()
    for round_ in range(100):
        page = search(server, intent="original-order", _lastUpdated=cursor, _count="7")
        stamps = [task["meta"]["lastUpdated"] for task in page]
        assert stamps == sorted(stamps)
        before = dict(seen)
        seen |= {task["id"]: task["status"] for task in page}
        cursor = f"ge{stamps[-1]}"
        if round_ == 3:  # one that was read, and one that was not yet
            for changed in (made[1], made[-1]):
                server.bus.update_status(changed, "cancelled")
        if len(page) < 7 and before == seen:
            break
    server.stop()
    assert list(seen) == [*made[:-1], made[-1]]
    assert (seen[made[1]], seen[made[-1]], seen[made[2]]) == ("cancelled", "cancelled", "requested")


def test_a_search_finds_what_looking_at_everything_finds() -> None:
    chance = random.Random(20261124)
    index, stored = Index(), dict[str, Resource]()
    owners = ["Organization/a", "Organization/b", "Organization/c"]
    for i in range(400):
        id = f"{chance.randrange(120)}"
        task: Resource = {
            "resourceType": "Task",
            "id": id,
            "intent": chance.choice(["original-order", "reflex-order"]),
            "status": chance.choice(["requested", "cancelled"]),
            "owner": reference(chance.choice(owners)),
            "requester": reference(chance.choice(owners)),
            "identifier": [{"system": "urn:oid:1.2", "value": f"n{i % 40}"}, {"value": f"a{i}"}],
            "basedOn": [reference(f"Task/{chance.randrange(20)}")],
            "meta": {"lastUpdated": f"2026-11-24T10:{i // 60:02d}:{i % 60:02d}.000+00:00"},
        }
        index.put(f"Task/{id}", task, stored.get(f"Task/{id}"))
        stored[f"Task/{id}"] = task
    values: dict[str, Callable[[], set[str]]] = {
        "owner": lambda: {chance.choice(owners)},
        "status": lambda: {"requested", "cancelled"},
        "intent": lambda: {"reflex-order"},
        "identifier": lambda: {f"urn:oid:1.2|n{chance.randrange(40)}", f"a{chance.randrange(400)}", f"n{1}"},
        "based-on": lambda: {f"Task/{chance.randrange(20)}", f"{chance.randrange(20)}"},
    }
    for _ in range(200):
        names = chance.sample(sorted(values), chance.randrange(4))
        filters = [(name, frozenset(values[name]())) for name in names]
        since = chance.choice([None, last_updated(chance.choice(list(stored.values())))])
        expected = [
            task
            for task in stored.values()
            if (since is None or last_updated(task) >= since)
            and all(wanted & search_values(task, name) for name, wanted in filters)
        ]
        assert index.search("Task", filters, since) == sorted(expected, key=last_updated)


def test_a_kept_connection_is_answered_without_delay(server: PracticeServer) -> None:
    headers = {"Authorization": f"N3 {PRACTICE_TOKEN}"}
    with requests.Session() as session:
        session.trust_env = False
        assert session.get(f"{server.url}/{FIRST}", headers=headers, timeout=5).status_code == 200
        assert server._server is not None
        [kept] = server._server.server_state.connections
        # Head and body are written apart; without this the body waits until the head is acknowledged.
        assert kept.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.slow
def test_the_log_of_requests_is_bounded_and_counted() -> None:
    server = PracticeServer(practice_bus())
    server.start()
    big = order()
    of(big, "Patient")["name"][0]["text"] = "х" * 2_500_000
    for _ in range(9):
        of(big, "Task")["identifier"][0]["value"] = str(uuid4())
        assert post(server, big).status_code == 200
    server.stop()
    assert server.bus.log.total == 9
    assert sum(len(request.body) for request in server.bus.requests) <= 32 * 1024 * 1024
    assert 5 <= len(server.bus.requests) < 9
    assert accession_numbers(server.bus.tasks()[-1])
    assert MIS in server.bus.tasks()[-1]["identifier"][0]["system"]
