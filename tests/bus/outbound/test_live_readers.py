"""What a report is to those who read it: as the public programs of other clinics and the region's portal read it.

Each reader below goes the way that its program goes, from the bus alone, and knows nothing of how we write.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import requests

from broker.bus.fhir import Resource
from broker.bus.practice import PRACTICE_TOKEN
from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.orders import Order
from broker.domain.studies.performed import PerformedChange, PerformedSeries, PerformedState, StepReference
from broker.workflow import accounts
from broker.workflow.reading import reports
from broker.workflow.reading.reports import ReportText
from broker.workflow.studies import performed_steps
from tests.bus.clinic import Clinic
from tests.bus.samples import MIS, PROFILE
from tests.support import factory
from tests.support.factory import CLINIC, XRAY, message, performed

N3 = "1.2.643.2.69.1.1.1"
DOCTOR = Actor(ActorKind.PERSON, "volskaya", "Вольская Татьяна Андреевна", frozenset({Role.RADIOLOGIST}))
PARTS = {"1": "protocol", "2": "conclusion", "3": "recommendations"}


@dataclass
class Bus:
    """The bus as a reader asks it: searches and single resources."""

    url: str

    def get(self, reference: str) -> Resource:
        answer = requests.get(f"{self.url}/{reference}", headers=self._headers, timeout=10)
        assert answer.ok, answer.text
        found: Resource = answer.json()
        return found

    def search(self, kind: str, **values: str) -> list[Resource]:
        parameters = [{"name": name.replace("_", "-"), "valueString": value} for name, value in values.items()]
        body = {"resourceType": "Parameters", "parameter": parameters}
        answer = requests.post(f"{self.url}/{kind}/_search", json=body, headers=self._headers, timeout=10)
        assert answer.ok, answer.text
        return [entry["resource"] for entry in answer.json().get("entry", [])]

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"N3 {PRACTICE_TOKEN}", "Content-Type": "application/json"}


def report_on(bus: Bus, task: str) -> Resource:
    """Return the report that the newest completed Task on an order leads to."""
    found = bus.search("Task", intent="reflex-order", based_on=task)
    reflex = [each for each in found if each["status"] == "completed"][-1]
    return bus.get(reflex["focus"]["reference"])


def information_system(bus: Bus, task: str) -> dict[str, Any]:
    """Read a result as the МИС among the three does: the doctor before anything else, else nothing is saved."""
    report = report_on(bus, task)
    assert report["status"] in ("final", "appended")
    role = bus.get(report["performer"][0]["reference"])
    doctor = bus.get(role["practitioner"]["reference"])
    texts = {}
    for reference in report["result"]:
        observation = bus.get(reference["reference"])
        code = observation["code"]["coding"][0]
        if code["system"] == f"urn:oid:{N3}.119" and code["code"] in PARTS:
            texts[PARTS[code["code"]]] = observation["valueString"]
    document = bus.get(report["presentedForm"][0]["url"])
    return {
        "doctor": " ".join([doctor["name"][0]["family"], *doctor["name"][0]["given"]]),
        "organisation": role["organization"]["reference"],
        "texts": texts,
        "document": document["contentType"],
    }


def portal(bus: Bus, task: str) -> dict[str, Any]:
    """Read a result as the region's portal stores it: the date by the Observation, the doctor by the role."""
    report = report_on(bus, task)
    observations = [bus.get(each["reference"]) for each in report["result"]]
    roles = [bus.get(each["reference"]) for each in report["performer"]]
    return {
        "issued": {each["issued"] for each in observations},
        "by": {each["performer"][0]["reference"] for each in observations},
        "doctors": [each["practitioner"]["reference"] for each in roles],
        "positions": [each["code"][0].get("text") for each in roles],
        "organisations": [each["organization"]["reference"] for each in roles],
    }


def images(bus: Bus, task: str) -> dict[str, Any]:
    """Read where the images are, as the clients with a viewer do: numbers by their systems, then series."""
    report = report_on(bus, task)
    study = bus.get(report["imagingStudy"][0]["reference"])
    by_system = {each["system"]: each["value"] for each in study["identifier"]}
    return {
        "accession": by_system[f"urn:oid:{MIS}"],
        "uid": by_system["urn:dicom:uid"].removeprefix("urn:oid:"),
        "series": {each["uid"]: each.get("numberOfInstances") for each in study.get("series", [])},
        "instances": study.get("numberOfInstances"),
    }


@pytest.fixture
def result(clinic: Clinic) -> tuple[Bus, str, Order]:
    """A study that was ordered, performed, reported and delivered; the bus, its Task, the order."""
    order = clinic.register()
    clinic.deliver()
    series = (PerformedSeries("1.9.9.1", "AP", images=1), PerformedSeries("1.9.9.2", "LAT", images=1))
    step = performed("1.2.3.4", StepReference(order.study_instance_uid), series=series)
    clinic.store.write(performed_steps.start, step, message("begins"), XRAY, CLINIC)
    done = PerformedChange(PerformedState.COMPLETED, images=2)
    ending = performed_steps.ChangeRequest("1.2.3.4", done, message("ends"))
    clinic.store.write(performed_steps.change, ending, XRAY, CLINIC)
    clinic.deliver()
    account = accounts.new_account(
        "volskaya",
        "Вольская Татьяна Андреевна",
        frozenset({Role.RADIOLOGIST}),
        "practice-2026",
        position="Врач-рентгенолог",
    )
    clinic.store.write(accounts.add_account, account, factory.SYSTEM)
    text = ReportText("Описание", "Артроз II ст.")
    clinic.store.write(reports.sign, order.id, 0, text, DOCTOR, CLINIC)
    clinic.deliver()
    task = clinic.references(order).task
    return Bus(clinic.server.url), task, order


def test_the_information_system_finds_the_doctor_first_and_then_the_texts(result: tuple[Bus, str, Order]) -> None:
    bus, task, _ = result
    assert information_system(bus, task) == {
        "doctor": "Вольская Татьяна Андреевна",
        "organisation": f"Organization/{PROFILE.organisation}",
        "texts": {"protocol": "Описание", "conclusion": "Артроз II ст."},
        "document": "application/pdf",
    }


def test_the_portal_has_a_date_a_doctor_and_a_clinic(result: tuple[Bus, str, Order]) -> None:
    bus, task, _ = result
    read = portal(bus, task)
    assert len(read["issued"]) == 1
    assert len(read["doctors"]) == 1
    assert read["positions"] == ["Врач-рентгенолог"]
    assert read["organisations"] == [f"Organization/{PROFILE.organisation}"]


def test_a_viewer_finds_the_study_its_number_and_its_series(result: tuple[Bus, str, Order]) -> None:
    bus, task, order = result
    read = images(bus, task)
    assert read["uid"] == order.study_instance_uid
    assert read["accession"].startswith("ODII")
    assert read["series"] == {"1.9.9.1": 1, "1.9.9.2": 1}
    assert read["instances"] == 2
