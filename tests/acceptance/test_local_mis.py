"""A МИС that is pointed at the running program: its order is on the modality's list, on the bus, and answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests

from broker.bus.practice import PRACTICE_ORGANISATION
from tests.acceptance.devices import send
from tests.bus.bundles import Resource, accession_numbers, concept, id_of, of, order, part
from tests.peers.dcmtk import EVERYTHING, STEP, findscu
from tests.support.clinic import Installation
from tests.support.modality import creation, ending

pytestmark = pytest.mark.slow


class Mis:
    """The МИС: nothing but HTTP."""

    def __init__(self, installation: Installation, token: str) -> None:
        self.url = f"{installation.url}/fhir"
        self.headers = {"Authorization": f"N3 {token}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: object = None) -> requests.Response:
        return requests.request(method, self.url + path, json=body, headers=self.headers, timeout=10)

    def answers(self, task: str) -> list[Resource]:
        parameters = [{"name": "intent", "valueString": "reflex-order"}, {"name": "based-on", "valueString": task}]
        body = {"resourceType": "Parameters", "parameter": parameters}
        found: dict[str, Any] = self.call("POST", "/Task/_search", body).json()
        return [entry["resource"] for entry in found.get("entry", [])]


def test_an_order_of_a_mis_is_performed_sent_and_answered(installation: Installation, tmp_path: Path) -> None:
    config = installation.config.read_text("utf-8")
    installation.config.write_text(config.replace("fetch_every:", "auto_accept: {DX: XRAY_14}, fetch_every:"), "utf-8")
    token = installation.command("client", "add", "mis", "--send-to-bus").split()[-1]
    installation.start()
    mis = Mis(installation, token)
    sent = order("mis-1", owner=PRACTICE_ORGANISATION)
    of(sent, "ServiceRequest")["code"] = concept("urn:oid:1.2.643.2.69.1.2.900", "KNEE") | {
        "text": "Рентгенография коленного сустава"
    }
    answer = mis.call("POST", "?_format=json", sent)
    assert answer.status_code == 200, answer.text
    answered = answer.json()
    [number] = accession_numbers(part(answered, "Task"))

    [own] = installation.orders()
    day = own["start"][:10].replace("-", "")
    found = findscu(
        installation.dicom_port,
        *EVERYTHING,
        f"{STEP}ScheduledStationAETitle=XRAY_14",
        f"{STEP}ScheduledProcedureStepStartDate={day}",
        directory=tmp_path / "found",
    )
    [match] = found.matches
    assert match.AccessionNumber == number
    installation.wait_for(lambda: installation.orders_on_bus() == {number: ["requested"]})

    person = {"PatientName": str(match.PatientName), "PatientID": str(match.PatientID)}
    assert send(installation.dicom_port, "1.2.3", create=creation(str(match.StudyInstanceUID), **person)) == 0
    assert send(installation.dicom_port, "1.2.3", change=ending()) == 0
    [images] = mis.answers(id_of(answered, "Task"))
    assert images["status"] == "in-progress"
    assert mis.call("GET", f"/{images['focus']['reference']}").json()["status"] == "partial"
    installation.wait_for(lambda: list(installation.results_on_bus().values()) == [["in-progress"]])

    # The gates of the screens do not stand before it, and it opens none of them.
    mis.headers["Origin"] = "http://mis.example"
    assert mis.call("GET", "/Task/none").status_code == 404
    mis.headers["Authorization"] = "N3 none"
    answer = mis.call("POST", "", sent)
    assert (answer.status_code, answer.json()["resourceType"]) == (401, "OperationOutcome")
    for path in ("/board", "/fhirs"):
        assert requests.get(installation.url + path, allow_redirects=False, timeout=10).status_code == 303
    assert requests.post(f"{installation.url}/signin", data={}, timeout=10).status_code == 403
    assert "mis" in installation.command("client", "list")
    assert installation.stop() == 0
    assert "Ёлкина" not in installation.log.read_text()
