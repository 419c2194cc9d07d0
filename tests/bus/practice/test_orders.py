"""The practice bus over real HTTP: orders, results, searches, single creates, changes of status.

What the endpoint for a local МИС has to answer alike is asked of both in `tests/bus/endpoint/test_same.py`.
"""

import json
from copy import deepcopy
from uuid import uuid4

import pytest

from broker.bus.fhir import Resource
from broker.bus.practice import (
    PRACTICE_ORGANISATION,
    PRACTICE_ORGANISATION_2,
    PracticeBus,
    PracticeServer,
)
from tests.bus.bundles import (
    MIS,
    N3,
    OWN_ID,
    SNILS,
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
    update,
)
from tests.support.clock import Clock
from tests.support.practice import practice_bus

# ---- orders ----


def test_an_order_is_answered_with_ids_locations_statuses_and_an_accession_number(server: PracticeServer) -> None:
    sent = order("order-1")
    answered = accepted(server, sent)
    assert answered["type"] == "transaction-response"
    assert len(answered["entry"]) == len(sent["entry"])
    for before, entry in zip(sent["entry"], answered["entry"], strict=True):
        name = f"{before['resource']['resourceType']}/{entry['resource']['id']}"
        assert entry["fullUrl"] == name
        assert entry["response"]["location"].startswith(f"{name}/_history/")
    task = part(answered, "Task")
    assert task["status"] == "requested"
    assert part(answered, "ServiceRequest")["status"] == "active"
    [number] = accession_numbers(task)
    assert 0 < len(number) <= 16
    assert next(e for e in answered["entry"] if e["resource"] is task)["response"] == {
        "status": "201 Created",
        "location": f"Task/{task['id']}/_history/1",
    }


def test_references_lead_to_stored_resources_that_can_be_read(server: PracticeServer) -> None:
    answered = accepted(server, order())
    assert "urn:uuid:" not in json.dumps(answered)
    task = call(server, "GET", f"/{id_of(answered, 'Task')}").json()
    assert task["for"]["reference"] == id_of(answered, "Patient")
    request = call(server, "GET", f"/{task['focus']['reference']}").json()
    role = call(server, "GET", f"/{request['requester']['reference']}").json()
    assert call(server, "GET", f"/{role['practitioner']['reference']}").json()["name"][0]["family"] == "Петров"
    assert call(server, "GET", f"/{task['owner']['reference']}").json()["resourceType"] == "Organization"


def test_request_members_are_taken_or_left(server: PracticeServer) -> None:
    sent = order()
    for entry in sent["entry"]:
        entry["request"] = {"method": "POST", "url": entry["resource"]["resourceType"]}
    accepted(server, sent)
    sent = order()
    sent["entry"][0]["request"] = {"method": "PUT", "url": "Patient/1"}
    assert post(server, sent).status_code == 422


def test_one_doctor_named_twice_in_a_bundle_is_one_doctor() -> None:
    sent = order()
    again = deepcopy(of(sent, "Practitioner"))
    sent["entry"].insert(0, {"fullUrl": f"urn:uuid:{uuid4()}", "resource": again})
    bus = practice_bus()
    bus.transaction(sent)
    assert len(bus.resources("Practitioner")) == 1


def test_a_corrected_snils_no_longer_leads_to_the_patient() -> None:
    bus = practice_bus()
    ids = []
    for numbers in (
        [own_id("card-1"), {"system": SNILS, "value": "08765430300"}],
        [own_id("card-1"), {"system": SNILS, "value": "11223344595"}],
        [own_id("card-2"), {"system": SNILS, "value": "08765430300"}],
    ):
        sent = order()
        of(sent, "Patient")["identifier"] = numbers
        ids.append(id_of(bus.transaction(sent), "Patient"))
    assert ids[0] == ids[1] != ids[2]


def bear(bus: PracticeBus, *numbers: Resource) -> str:
    """Send an order of a patient with these numbers; return the Patient that the bus made or recognised."""
    sent = order()
    of(sent, "Patient")["identifier"] = list(numbers)
    return id_of(bus.transaction(sent), "Patient")


@pytest.mark.parametrize("end", ["2025-12-31", "2025", "2025-12-31T10:00:00+03:00"])
@pytest.mark.parametrize("system", [SNILS, OWN_ID])
def test_a_number_whose_period_has_ended_leads_to_its_former_bearer_no_more(system: str, end: str) -> None:
    bus = practice_bus()

    def numbered(**more: object) -> Resource:
        kept = own_id("card-1") if system == OWN_ID else {"system": SNILS, "value": "11223344595"}
        return kept | more

    first = bear(bus, own_id("card-7"), numbered(period={"end": end}))
    second = bear(bus, own_id("card-8"), numbered())
    assert second != first
    assert bear(bus, own_id("card-9"), numbered()) == second
    # The former bearer, sent again, takes the number from nobody.
    assert bear(bus, own_id("card-7"), numbered(period={"end": end})) == first
    assert bear(bus, own_id("card-9"), numbered()) == second


def test_a_number_leads_to_its_bearer_until_its_period_has_ended() -> None:
    clock = Clock()
    bus = practice_bus(clock=clock)
    last_day = f"{clock():%Y-%m-%d}"
    snils = {"system": SNILS, "value": "11223344595"}
    first = bear(bus, own_id("card-1"), snils | {"period": {"end": last_day}})
    assert bear(bus, own_id("card-2"), snils | {"period": {"end": last_day}}) == first  # the end is inclusive
    clock.advance(days=1)
    assert bear(bus, own_id("card-3"), snils) != first


def test_some_deployments_answer_urns_and_long_numbers() -> None:
    bus = practice_bus(answer_urn=True, accession_format="REGION-NUMBER-{:08d}")
    answered = bus.transaction(order())
    task = part(answered, "Task")
    assert f"urn:uuid:{task['id']}" in {entry["fullUrl"] for entry in answered["entry"]}
    assert accession_numbers(task) == ["REGION-NUMBER-00000001"]


# ---- results ----


def test_images_then_a_report_join_the_order_and_share_one_study(server: PracticeServer) -> None:
    answered = accepted(server, order("order-result"))
    images = accepted(server, result("order-result", answered))
    report = accepted(server, result("order-result", answered, "completed"))
    assert id_of(images, "Patient") == id_of(answered, "Patient")
    assert id_of(images, "ImagingStudy") == id_of(report, "ImagingStudy")
    found = search(server, intent="reflex-order", based_on=id_of(answered, "Task"))
    assert [task["status"] for task in found] == ["in-progress", "completed"]
    assert accession_numbers(found[0]) == []
    again = post(server, result("order-result", answered, "completed"))
    assert again.json()["issue"][0]["diagnostics"].endswith(id_of(report, "Task"))


def test_a_walk_in_needs_no_order(server: PracticeServer) -> None:
    answered = accepted(server, result("walk-in", None))
    assert part(answered, "Task")["status"] == "in-progress"


def test_a_second_result_of_a_result_is_refused(server: PracticeServer) -> None:
    answered = accepted(server, order("order-chain"))
    images = accepted(server, result("order-chain", answered))
    sent = result("order-chain-2", answered)
    of(sent, "Task")["basedOn"] = [reference(id_of(images, "Task"))]
    assert "не исходный Task" in post(server, sent).text


# ---- search, status, single creates ----


def test_tasks_are_found_by_every_parameter_of_the_profile(server: PracticeServer) -> None:
    first = accepted(server, order("order-search-1", owner=PRACTICE_ORGANISATION))
    second = accepted(server, order("order-search-2", owner=PRACTICE_ORGANISATION_2))
    since = part(second, "Task")["meta"]["lastUpdated"]
    images = accepted(server, result("order-search-1", first))
    original, reflex = part(first, "Task"), part(images, "Task")
    assert search(server, identifier="order-search-1") == [original]
    assert search(server, identifier=accession_numbers(original)[0]) == [original]
    assert original in search(server, intent="original-order", owner=f"Organization/{PRACTICE_ORGANISATION}")
    assert part(second, "Task") not in search(server, owner=f"Organization/{PRACTICE_ORGANISATION}")
    assert search(server, requester=f"Organization/{PRACTICE_ORGANISATION_2}") == []
    assert reflex in search(server, status="in-progress,completed")
    assert search(server, based_on=original["id"]) == [reflex]
    assert search(server, based_on=f"{id_of(second, 'Task')},{id_of(first, 'Task')}") == [reflex]
    assert search(server, _lastUpdated=f"ge{since}") == [part(second, "Task"), reflex]
    assert search(server, _lastUpdated=f"ge{since}", _count="1") == [part(second, "Task")]
    assert search(server, _lastUpdated="ge2999-01-01") == []


@pytest.mark.parametrize(
    "parameter",
    [
        {"name": "_count", "valueString": "501"},
        {"name": "_count", "valueString": "x"},
        {"name": "_lastUpdated", "valueString": "yesterday"},
        {"name": "patient", "valueString": "1"},
        {"name": "status", "valueCode": "requested"},
        {"name": "status"},
        "status",
    ],
)
def test_a_search_it_does_not_understand_is_refused(server: PracticeServer, parameter: object) -> None:
    sent = {"resourceType": "Parameters", "parameter": [parameter]}
    assert call(server, "POST", "/Task/_search", sent).status_code == 422


def test_an_order_is_cancelled_once_however_often_that_is_sent(server: PracticeServer) -> None:
    earlier = part(accepted(server, order()), "Task")
    task = part(accepted(server, order("order-cancel")), "Task")
    assert update(server, task["id"], "cancelled").json()["status"] == "cancelled"
    assert update(server, task["id"], "cancelled").status_code == 200
    [found] = search(server, identifier="order-cancel")
    assert (found["status"], found["meta"]["versionId"]) == ("cancelled", "2")
    assert accession_numbers(found) == accession_numbers(task)
    update(server, earlier["id"], "cancelled")
    since = f"ge{task['meta']['lastUpdated']}"
    last_changed_last = [found["id"] for found in search(server, status="cancelled", _lastUpdated=since)]
    assert last_changed_last[-2:] == [task["id"], earlier["id"]]


def test_what_cannot_be_cancelled_is_refused(server: PracticeServer) -> None:
    answered = accepted(server, order("order-done"))
    task = part(answered, "Task")
    report = accepted(server, result("order-done", answered, "completed"))
    assert update(server, task["id"], "cancelled").status_code == 422
    assert update(server, part(report, "Task")["id"], "cancelled").status_code == 422
    assert update(server, str(uuid4()), "cancelled").status_code == 404
    assert update(server, task["id"], "in-progress").status_code == 422
    assert call(server, "POST", "/$updatestatus", {"resourceType": "Parameters"}).status_code == 422


def test_devices_and_schedules_are_created_read_and_found(server: PracticeServer) -> None:
    device = {
        "resourceType": "Device",
        "identifier": [{"system": f"urn:oid:{MIS}", "value": "FLG-12"}],
        "type": concept(N3 + "121", "RF"),
        "status": "active",
        "owner": organisation(),
    }
    answer = call(server, "POST", "/Device?_format=json", device)
    created = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/imaging/api/fhir/Device/{created['id']}"
    assert call(server, "POST", "/Device", device).json()["id"] == created["id"]
    schedule = {
        "resourceType": "Schedule",
        "identifier": [{"type": concept(N3 + "122", "ACSN"), "value": "ODII0000000001"}],
        "active": True,
        "serviceType": [concept(N3 + "121", "RF")],
        "actor": [reference(f"Device/{created['id']}")],
        "planningHorizon": {"start": "2026-11-24T09:00:00+03:00"},
    }
    assert call(server, "POST", "/Schedule", schedule).status_code == 201
    for kind, name, value in (("Device", "identifier", "FLG-12"), ("Schedule", "actor", f"Device/{created['id']}")):
        sent = {"resourceType": "Parameters", "parameter": [{"name": name, "valueString": value}]}
        assert call(server, "POST", f"/{kind}/_search", sent).json()["total"] == 1
    assert call(server, "POST", "/Device", device | {"status": ""}).status_code == 422
    assert call(server, "POST", "/Device", patient()).status_code == 400
