"""What the n3 dialect leaves out, and how ids are read from answers that may hold anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from broker.bus.dialect import DIALECTS, bears_number, bundle_references, found_tasks, n3, task_references
from broker.bus.practice import PracticeBus
from broker.bus.profile import Resource
from broker.bus.resources import cancel_parameters, images_bundle, order_bundle
from broker.domain.model import BusReferences
from tests.bus.samples import AUTHORED, MIS, PROFILE, completed, of, order

REFERENCES = BusReferences(task="t-1", service_request="s-1", patient="p-1", acsn="ODII0000000001")


def leaves(node: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every (path, value), entries named by the type of their resource."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from leaves(value, f"{at}.{name}")
    elif isinstance(node, list):
        for number, item in enumerate(node):
            resource = item.get("resource", {}) if isinstance(item, dict) else {}
            yield from leaves(item, f"{at}[{resource.get('resourceType', number)}]")
    else:
        yield at, node


def left_out(bundle: Resource) -> set[str]:
    """Name the paths that the dialect takes away; fail where it adds or changes anything."""
    before, after = dict(leaves(bundle)), dict(leaves(n3(bundle)))
    assert after.items() <= before.items()
    return set(before) - set(after)


def test_of_an_order_only_requests_and_the_two_initial_statuses_are_left_out() -> None:
    bundle = order_bundle(order(), PROFILE)
    kinds = {entry["resource"]["resourceType"] for entry in bundle["entry"]}
    requests = {f".entry[{kind}].request.{member}" for kind in kinds for member in ("method", "url")}
    statuses = {f".entry[{kind}].resource.status" for kind in ("ServiceRequest", "Task")}
    assert left_out(bundle) == requests | statuses


def test_of_a_result_only_requests_are_left_out() -> None:
    bundle = images_bundle(order(), [completed()], REFERENCES, PROFILE, AUTHORED)
    assert all(".request." in path for path in left_out(bundle))
    assert of(n3(bundle), "Task")[0]["status"] == "in-progress"
    assert of(n3(bundle), "DiagnosticReport")[0]["status"] == "partial"


def test_what_was_made_is_not_changed_and_parameters_go_as_they_are() -> None:
    bundle = order_bundle(order(), PROFILE)
    before = json.dumps(bundle)
    n3(bundle)
    assert json.dumps(bundle) == before
    assert n3(cancel_parameters("t-1")) == cancel_parameters("t-1")
    assert DIALECTS["n3"] is n3


# ---- answers ----


@pytest.mark.parametrize("answer_urn", [False, True])
def test_ids_and_the_accession_number_are_read_from_both_kinds_of_answer(answer_urn: bool) -> None:
    bus = PracticeBus(answer_urn=answer_urn)
    read = bundle_references(bus.transaction(n3(order_bundle(order(), PROFILE))))
    [task] = bus.tasks()
    assert read.task == task["id"]
    assert read.service_request == bus.resources("ServiceRequest")[0]["id"]
    assert read.patient == bus.resources("Patient")[0]["id"]
    assert read.acsn == "ODII0000000001"
    assert read.extra["Encounter"] == bus.resources("Encounter")[0]["id"]
    assert task_references(task) == BusReferences(read.task, read.service_request, read.patient, read.acsn)


@pytest.mark.parametrize(
    "entry",
    [
        {"response": {"location": "Task/t-1/_history/3"}},
        {"response": {"location": "https://bus.example/fhir/Task/t-1/_history/3"}},
        {"fullUrl": "Task/t-1"},
        {"fullUrl": "http://bus.example/imaging/api/fhir/Task/t-1"},
        {"fullUrl": "urn:uuid:5", "resource": {"resourceType": "Task", "id": "t-1"}},
        {"fullUrl": "urn:uuid:5", "response": {"location": "Task/t-1"}},
    ],
)
def test_an_id_is_read_from_resource_location_or_full_url(entry: Resource) -> None:
    assert bundle_references({"resourceType": "Bundle", "entry": [entry]}) == BusReferences(task="t-1")


def test_a_urn_alone_is_no_id_for_it_may_be_our_own() -> None:
    entry = {"fullUrl": "urn:uuid:5b0c6c0e-3f7a-5d0b-9d53-6a1f4e0c8b27", "resource": {"resourceType": "Task"}}
    assert bundle_references({"entry": [entry]}) == BusReferences()


def test_a_task_tells_its_orders_and_patients_ids_where_their_entries_are_missing() -> None:
    task = {
        "resourceType": "Task",
        "id": "t-1",
        "focus": {"reference": "https://bus.example/fhir/ServiceRequest/s-1"},
        "for": {"reference": "Patient/p-1"},
        "identifier": [{"type": {"coding": [{"code": "OTHER"}, {"code": "ACSN"}]}, "value": " 77\n"}],
    }
    assert bundle_references({"entry": [{"resource": task}]}) == BusReferences("t-1", "s-1", "p-1", "77")
    result = task | {"focus": {"reference": "DiagnosticReport/r-1"}}
    assert task_references(result) == BusReferences("t-1", "", "p-1", "77", {"DiagnosticReport": "r-1"})


@pytest.mark.parametrize(
    "node", [None, 5, "x", [], [None], [[]], {}, {"reference": 5}, {"coding": "x"}, [{"type": []}]]
)
@pytest.mark.parametrize("member", ["entry", "resource", "response", "fullUrl", "id", "focus", "for", "identifier"])
def test_members_of_any_type_are_survived(member: str, node: Any) -> None:
    task = {"resourceType": "Task", "id": "t-1", member: node}
    task_references(task)
    found_tasks({"entry": [{"resource": task}, node]}, "1", PROFILE)
    bundle_references({"entry": [{"resource": task, member: node}, node]} | ({"entry": node} if node else {}))


@pytest.mark.parametrize("id", ["..", ".", "a/b", "a?b", "", "x" * 65, "ё", "a b", "a\n"])
def test_an_id_that_would_lead_a_path_astray_is_none(id: str) -> None:
    task = {"resourceType": "Task", "id": id, "focus": {"reference": f"ServiceRequest/{id}"}}
    assert task_references(task) == BusReferences()


def test_only_our_own_task_with_the_number_is_found() -> None:
    ours = {
        "resourceType": "Task",
        "id": "t-1",
        "identifier": [{"system": f"urn:oid:{MIS}", "value": "K2611-0001"}],
    }
    foreign = ours | {"id": "t-2", "identifier": [{"system": "urn:oid:1.2.3", "value": "K2611-0001"}]}
    other = ours | {"id": "t-3", "identifier": [{"system": f"urn:oid:{MIS}", "value": "K2611-00011"}]}
    report = ours | {"resourceType": "DiagnosticReport"}
    searchset = {"entry": [{"resource": one} for one in (foreign, other, report, ours)]}
    assert found_tasks(searchset, "K2611-0001", PROFILE) == [ours]
    assert [bears_number(one, "K2611-0001", PROFILE) for one in (ours, foreign, other)] == [True, False, False]
