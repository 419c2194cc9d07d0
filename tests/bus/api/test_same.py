"""Our own endpoint and the practice bus are asked the same things, and have to answer the same."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any
from uuid import uuid4

import pytest

from broker.bus.practice import (
    PRACTICE_ORGANISATION,
    PRACTICE_ORGANISATION_2,
    PRACTICE_TOKEN,
    PracticeServer,
)
from tests.bus.api.clinic import ApiClinic
from tests.bus.bundles import (
    SNILS,
    Resource,
    accepted,
    accession_numbers,
    call,
    id_of,
    of,
    order,
    part,
    patient,
    post,
    reference,
    search,
    update,
)
from tests.bus.clinic import practising
from tests.bus.faulty import EMPTY_GIVEN, JUNK, ORDER_FAULTS, UNKNOWN_PEOPLE
from tests.support import factory
from tests.support.practice import practice_bus

SOMETHING = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def practice() -> Iterator[PracticeServer]:
    with practising(practice_bus(lenient=True)) as running:
        yield running


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiClinic]:
    store = factory.open_store(tmp_path_factory.mktemp("endpoint") / "worklist.sqlite")
    opened = ApiClinic(store)
    yield opened
    opened.close()
    store.close()


@pytest.fixture(params=["the practice bus", "our endpoint"])
def server(request: pytest.FixtureRequest, practice: PracticeServer, clinic: ApiClinic) -> PracticeServer:
    return practice if request.param == "the practice bus" else clinic.server


def reported(server: PracticeServer, method: str, path: str, body: object = None, **options: Any) -> tuple[int, str]:
    """Return status and outcome of a call, with every GUID made the same."""
    answer = call(server, method, path, body, **options)
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.json()["resourceType"] == "OperationOutcome", answer.text
    return answer.status_code, SOMETHING.sub("<guid>", json.dumps(answer.json(), ensure_ascii=False, sort_keys=True))


# ---- one after the other ----


@pytest.mark.parametrize(("change", "place"), UNKNOWN_PEOPLE)
def test_only_the_region_refuses_somebody_who_is_not_fully_known(
    practice: PracticeServer, clinic: ApiClinic, change: Callable[[Resource], None], place: str
) -> None:
    sent = order()
    change(sent)
    assert [post(each, sent).status_code for each in (practice, clinic.server)] == [422, 200]


@pytest.mark.parametrize(
    ("change", "place"), [each for each in ORDER_FAULTS if each not in (*UNKNOWN_PEOPLE, EMPTY_GIVEN)]
)
def test_a_faulty_order_is_refused_in_the_same_words(
    practice: PracticeServer, clinic: ApiClinic, change: Callable[[Resource], None], place: str
) -> None:
    sent = order()
    change(sent)
    before = clinic.count("client_resource"), clinic.count("incoming_referral")
    answers = [post(each, sent) for each in (practice, clinic.server)]
    assert answers[0].status_code == answers[1].status_code
    if answers[0].status_code != 200:  # a lenient bus takes some of them
        assert answers[0].json() == answers[1].json()
        assert before == (clinic.count("client_resource"), clinic.count("incoming_referral"))


@pytest.mark.slow
def test_whatever_is_mutilated_is_judged_alike(practice: PracticeServer, clinic: ApiClinic) -> None:
    chance = random.Random(20261124)

    def places(node: Any) -> list[tuple[Any, Any]]:
        pairs = list(node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ())
        return [(node, key) for key, _ in pairs] + [place for _, child in pairs for place in places(child)]

    refused = 0
    for _ in range(150):
        sent = order()
        node, key = chance.choice(places(sent))
        node[key] = deepcopy(chance.choice(JUNK))
        one, other = post(practice, sent), post(clinic.server, sent)
        assert one.status_code == other.status_code, (sent, one.text, other.text)
        if one.status_code != 200:
            refused += 1
            assert one.json() == other.json()
    assert refused > 75


BODIES = [
    b"",
    b"{",
    b"[]",
    '{"resourceType": "Пациент"}'.encode("cp1251"),
    b'{"resourceType": "Bundle", "resourceType": "Bundle"}',
    b'{"resourceType": "Bundle", "id": "\\ud800"}',
    b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    b'{"resourceType": "Bundle", "type": "batch"}',
    b'{"resourceType": "Bundle", "type": "transaction", "entry": []}',
    b'{"resourceType": "Bundle", "type": "transaction", "entry": [{}, 1]}',
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("path", ["", "/$updatestatus", "/Task/_search", "/Patient"])
def test_a_body_that_is_none_is_refused_in_the_same_words(
    practice: PracticeServer, clinic: ApiClinic, path: str, body: bytes
) -> None:
    assert reported(practice, "POST", path, body) == reported(clinic.server, "POST", path, body)


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/Task/1", {}),
        ("GET", "/Task/1/2/3", {}),
        ("GET", "", {}),
        ("POST", "/Observation", {}),
        ("POST", "/Practitioner/_search", {}),
        ("PUT", "/Task/1", {}),
        ("DELETE", "/Task/1", {}),
        ("GET", "/Organization/none", {}),
        ("GET", "/Task/1", {"Authorization": ""}),
        ("GET", "/Task/1", {"Authorization": PRACTICE_TOKEN}),
        ("POST", "", {"Authorization": f"N3 {uuid4()}"}),
        ("POST", "", {"Authorization": "N3 ключ".encode()}),
        ("POST", "", {"Content-Type": "text/plain"}),
        ("POST", "/Task/_search", {"Content-Type": "application/json; charset=cp1251"}),
    ],
)
def test_calls_that_are_none_are_refused_in_the_same_words(
    practice: PracticeServer, clinic: ApiClinic, method: str, path: str, headers: dict[str, str]
) -> None:
    body = {"resourceType": "Parameters"}
    assert reported(practice, method, path, body, headers=headers) == reported(
        clinic.server, method, path, body, headers=headers
    )


@pytest.mark.parametrize(
    "parameter",
    [
        {"name": "_count", "valueString": "501"},
        {"name": "_lastUpdated", "valueString": "yesterday"},
        {"name": "patient", "valueString": "1"},
        {"name": "status", "valueCode": "requested"},
        {"name": "status"},
        "status",
    ],
)
@pytest.mark.parametrize("kind", ["Task", "Patient", "DiagnosticReport"])
def test_a_search_that_is_none_is_refused_in_the_same_words(
    practice: PracticeServer, clinic: ApiClinic, parameter: object, kind: str
) -> None:
    sent = {"resourceType": "Parameters", "parameter": [parameter]}
    assert reported(practice, "POST", f"/{kind}/_search", sent) == reported(
        clinic.server, "POST", f"/{kind}/_search", sent
    )


def test_orders_in_the_name_of_another_clinic_are_refused_and_statuses_are_those_of_the_bus(
    practice: PracticeServer, clinic: ApiClinic
) -> None:
    sent = order()
    of(sent, "Task")["requester"] = {"reference": f"Organization/{PRACTICE_ORGANISATION_2}"}
    assert reported(practice, "POST", "", sent) == reported(clinic.server, "POST", "", sent)
    for given in (
        {"_id": str(uuid4()), "status": "cancelled"},
        {"_id": "x", "status": "in-progress"},
        {"_id": "x"},
        {"status": "cancelled"},
    ):
        parameters = [{"name": name, "valueString": value} for name, value in given.items()]
        body = {"resourceType": "Parameters", "parameter": parameters}
        assert reported(practice, "POST", "/$updatestatus", body) == reported(
            clinic.server, "POST", "/$updatestatus", body
        )


# ---- each by itself ----


def test_an_order_is_answered_with_ids_locations_statuses_and_an_accession_number(server: PracticeServer) -> None:
    sent = order("order-1")
    answered = accepted(server, sent)
    assert answered["type"] == "transaction-response"
    assert "urn:uuid:" not in json.dumps(answered)
    for before, entry in zip(sent["entry"], answered["entry"], strict=True):
        name = f"{before['resource']['resourceType']}/{entry['resource']['id']}"
        assert entry["fullUrl"] == name
        assert entry["response"]["location"].startswith(f"{name}/_history/")
        assert call(server, "GET", f"/{name}").json() == entry["resource"]
    task = part(answered, "Task")
    assert (task["status"], part(answered, "ServiceRequest")["status"]) == ("requested", "active")
    [number] = accession_numbers(task)
    assert 0 < len(number) <= 16
    for organisation in (task["owner"], task["requester"]):
        assert call(server, "GET", f"/{organisation['reference']}").json()["resourceType"] == "Organization"


def test_a_repeated_order_is_refused_with_the_id_of_the_first(server: PracticeServer) -> None:
    first = accepted(server, order("order-twice"))
    answer = post(server, order("order-twice"))
    assert answer.status_code == 422
    [issue] = answer.json()["issue"]
    assert issue["diagnostics"].startswith("Попытка повторного добавления Task")
    assert issue["diagnostics"].endswith(id_of(first, "Task"))
    assert len(search(server, identifier="order-twice")) == 1


def test_the_same_people_keep_their_ids_and_are_not_doubled(server: PracticeServer) -> None:
    first, second, third = order(), order(), order()
    of(second, "Patient")["identifier"] = [
        *of(first, "Patient")["identifier"],
        {"system": SNILS, "value": "08765430300"},
    ]
    of(second, "Patient")["name"][0]["family"] = "Сосновская"
    of(third, "Patient")["identifier"] = [{"system": SNILS, "value": "08765430300"}]
    answers = [accepted(server, sent) for sent in (first, second, third)]
    for kind in ("Patient", "Practitioner", "PractitionerRole"):
        assert len({id_of(answer, kind) for answer in answers}) == 1
    stored = call(server, "GET", f"/{id_of(answers[2], 'Patient')}").json()
    assert stored["meta"]["versionId"] == "3"
    assert len(stored["identifier"]) == 2
    other = order()
    of(other, "Patient")["identifier"] = [
        of(first, "Patient")["identifier"][0] | {"assigner": {"display": "1.2.643.2.69.1.2.901"}}
    ]
    assert id_of(accepted(server, other), "Patient") != id_of(answers[0], "Patient")


def test_an_order_may_point_to_a_patient_who_was_created_before(server: PracticeServer) -> None:
    answer = call(server, "POST", "/Patient?_format=json", patient("card-before"))
    created = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Location"].endswith(f"/Patient/{created['id']}")
    assert call(server, "POST", "/Patient", patient("card-before")).json()["id"] == created["id"]
    sent = order()
    [at] = [i for i, each in enumerate(sent["entry"]) if each["resource"]["resourceType"] == "Patient"]
    url = sent["entry"].pop(at)["fullUrl"]
    sent = json.loads(json.dumps(sent).replace(url, f"Patient/{created['id']}"))
    assert part(accepted(server, sent), "Task")["for"] == reference(f"Patient/{created['id']}")
    found = call(
        server,
        "POST",
        "/Patient/_search",
        {"resourceType": "Parameters", "parameter": [{"name": "identifier", "valueString": "card-before"}]},
    ).json()
    assert (found["total"], found["entry"][0]["resource"]["id"]) == (1, created["id"])


def test_tasks_are_found_by_every_parameter_of_the_profile(server: PracticeServer) -> None:
    original = part(accepted(server, order("order-search-1")), "Task")
    second = part(accepted(server, order("order-search-2")), "Task")
    since = f"ge{second['meta']['lastUpdated']}"
    system = original["identifier"][0]["system"]
    assert search(server, identifier="order-search-1") == [original]
    assert search(server, identifier=f"{system}|order-search-1,order-search-none") == [original]
    assert search(server, identifier=accession_numbers(original)[0]) == [original]
    assert original in search(server, intent="original-order", owner=f"Organization/{PRACTICE_ORGANISATION_2}")
    assert original in search(server, status="requested,cancelled", requester=PRACTICE_ORGANISATION)
    assert search(server, requester=f"Organization/{PRACTICE_ORGANISATION_2}") == []
    assert search(server, based_on=original["id"]) == []
    assert search(server, intent="reflex-order", identifier="order-search-1") == []
    assert search(server, _lastUpdated=since) == [second]
    assert search(server, _lastUpdated=f"ge{original['meta']['lastUpdated']}", _count="1") == [original]
    assert search(server, _lastUpdated="ge2999-01-01") == []


def test_an_order_is_cancelled_once_however_often_that_is_sent(server: PracticeServer) -> None:
    earlier = part(accepted(server, order()), "Task")
    task = part(accepted(server, order("order-cancel")), "Task")
    assert update(server, task["id"], "cancelled").json()["status"] == "cancelled"
    assert update(server, task["id"], "cancelled").status_code == 200
    [found] = search(server, identifier="order-cancel")
    assert (found["status"], found["meta"]["versionId"]) == ("cancelled", "2")
    assert found["meta"]["lastUpdated"] > task["meta"]["lastUpdated"]
    assert accession_numbers(found) == accession_numbers(task)
    update(server, f"Task/{earlier['id']}", "cancelled")
    since = f"ge{task['meta']['lastUpdated']}"
    last_changed_last = [found["id"] for found in search(server, status="cancelled", _lastUpdated=since)]
    assert last_changed_last[-2:] == [task["id"], earlier["id"]]
