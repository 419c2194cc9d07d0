"""What clients of live deployments send is accepted, and its deviations from the profile are shown; ours has none."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from broker.bus.fhir import Resource
from broker.bus.fhir_server.deviations import read_as_meant
from broker.bus.fhir_server.requests import deviations, strict_json
from broker.bus.outbound.orders import order_bundle
from broker.bus.outbound.results import images_bundle, report_bundle
from broker.bus.practice import PracticeServer
from broker.bus.practice import bus as practice_bus
from broker.bus.transport.dialect import DIALECTS
from broker.domain.messages import BusReferences
from tests.bus import samples
from tests.bus.bundles import N3, accepted, concept, id_of, of, order, part, post, result
from tests.bus.live_clients import CLIENTS
from tests.bus.practice.test_page import ask
from tests.bus.samples import AUTHORED, PROFILE

NOTED = {
    "S1": [
        "DiagnosticReport.meta.security: нет system",
        "DiagnosticReport.imagingStudy: нет у partial",
        "Task.basedOn: объект вместо массива",
        "DiagnosticReport.category: объект вместо массива",
    ],
    "S2": [
        "entry.request: нет url",
        "ServiceRequest.priority: нет, читается как routine",
        "DiagnosticReport.result: нет, протокол только документом",
    ],
    "S3": [
        "DiagnosticReport.meta.security: system urn:oud:…",
        "Observation.code: код N3.119 не 1, 2, 3 и не 5",
        "Observation.valueQuantity: нет единицы, мЗв",
    ],
}


@pytest.mark.parametrize("client", CLIENTS)
def test_a_live_clients_order_images_and_report_are_accepted_and_its_deviations_shown(
    server: PracticeServer, client: str
) -> None:
    write, number = CLIENTS[client], f"{client}/{uuid4()}"
    answered = accepted(server, write(order(number)))
    for status in ("in-progress", "completed"):
        accepted(server, write(result(number, answered, status)))
    accepted(server, write(result(f"{number}/walk-in", None, "completed")))
    original = part(answered, "Task")["id"]
    answers = [each for each in server.bus.tasks() if {"reference": f"Task/{original}"} in each.get("basedOn", [])]
    assert [each["status"] for each in answers] == ["in-progress", "completed"]
    page = ask(server, "/requests").text
    for words in NOTED[client]:
        assert words in page, words


def test_what_nobody_sends_is_refused_as_before(server: PracticeServer) -> None:
    wrong: list[tuple[str, str, Any]] = [
        ("Patient", "name", {"family": "Иванов", "given": ["Иван"]}),  # an object where no live client has one
        ("ServiceRequest", "priority", "stat"),
    ]
    for kind, member, value in wrong:
        sent = order()
        of(sent, kind)[member] = value
        assert post(server, sent).status_code == 422, (kind, member)
    number = str(uuid4())
    answered = accepted(server, order(number))
    sent = result(number, answered, "completed")
    del of(sent, "DiagnosticReport")["result"]  # and it has no document
    assert "DiagnosticReport.result: не заполнено" in post(server, sent).text
    for quantity in ({"value": 0.12, "unit": "мГр"}, {"value": "0.12"}, {}):
        sent = result(number, answered, "completed")
        observation = of(sent, "Observation")
        del observation["valueString"]
        observation |= {"code": concept(N3 + "119", "5"), "valueQuantity": quantity}
        assert post(server, sent).status_code == 422, quantity


def test_a_dose_without_a_unit_is_in_millisieverts_and_one_with_another_unit_is_not_touched() -> None:
    code = {"resourceType": "Observation", "code": concept(N3 + "119", "5")}
    meant, _ = read_as_meant(code | {"valueQuantity": {"value": 1}})
    assert meant["valueQuantity"] == {"value": 1, "unit": "mSv"}
    given = code | {"valueQuantity": {"value": 1, "unit": "мГр"}}
    assert read_as_meant(given) == (given, [])


REFERENCES = BusReferences(task="t-1", service_request="s-1", patient="p-1", acsn="ODII0000000001")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_our_own_bundles_deviate_in_nothing(dialect: str) -> None:
    sample, steps = samples.order(), [samples.completed()]
    made: list[Resource] = [
        order_bundle(sample, PROFILE),
        images_bundle(sample, steps, REFERENCES, PROFILE, AUTHORED),
        report_bundle(sample, samples.report(), steps, REFERENCES, PROFILE, b"%PDF-1.4", AUTHORED),
    ]
    for bundle in made:
        assert deviations(DIALECTS[dialect](bundle)) == []


@pytest.mark.parametrize("junk", [None, 7, [], {}, {"entry": 1}, {"entry": [None, {"resource": []}, {"resource": {}}]}])
def test_whatever_comes_instead_of_a_bundle_deviates_in_nothing(junk: object) -> None:
    assert deviations(junk) == []


def test_a_referral_may_be_supported_by_earlier_images_and_an_earlier_report_and_by_no_other_kind(
    server: PracticeServer,
) -> None:
    number = str(uuid4())
    answered = accepted(server, order(number))
    made = accepted(server, result(number, answered, "completed"))
    for kind in ("ImagingStudy", "DiagnosticReport"):
        sent = order()
        of(sent, "ServiceRequest").setdefault("supportingInfo", []).append({"reference": id_of(made, kind)})
        accepted(server, sent)
    sent = order()
    of(sent, "ServiceRequest")["supportingInfo"] = [{"reference": f"Task/{part(answered, 'Task')['id']}"}]
    assert "supportingInfo" in post(server, sent).text


def test_a_transaction_is_parsed_once(server: PracticeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[int] = []

    def counting(body: bytes) -> object:
        parsed.append(len(body))
        return strict_json(body)

    monkeypatch.setattr(practice_bus, "strict_json", counting)
    accepted(server, CLIENTS["S2"](order()))
    assert len(parsed) == 1
    assert "entry.request: нет url" in server.bus.requests[-1].reason
