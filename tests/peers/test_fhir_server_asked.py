"""A FHIR server that was not written here is asked for a patient's studies, and for the results of our referrals."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.bus.fhir import Resource
from broker.bus.inbound.history import History
from broker.bus.inbound.results import ResultPoll, ResultPollSummary
from broker.bus.outbound.delivery import Delivery
from broker.bus.transport.client import BusClient
from broker.bus.transport.dialect import r4
from broker.bus.transport.rate_limit import RateLimiter
from broker.bus.transport.session import BusSession, SessionPriority
from broker.domain.orders import OrderState
from broker.store.database import Store
from broker.store.queries.patients import patient_history
from broker.store.tables import orders, outbox
from broker.store.tables.studies import external_studies
from broker.workflow.referrals import referrals
from tests.bus import strangers
from tests.bus.samples import PROFILE
from tests.bus.strangers import STRANGER
from tests.peers.fhir_server import FhirServer, fhir_server
from tests.support.factory import CLINIC, REGISTRAR, draft, soon

pytestmark = pytest.mark.slow  # starts the server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FhirServer]:
    with fhir_server(tmp_path_factory.mktemp("fhir")) as running:
        for guid in (STRANGER, PROFILE.organisation):
            known = {"resourceType": "Organization", "id": guid, "active": True, "name": "МО"}
            assert running.session.put(f"{running.url}/Organization/{guid}", json=known, timeout=60).ok
        yield running


@pytest.fixture
def client(server: FhirServer) -> Iterator[BusClient]:
    opened = BusClient(server.url, lambda: "token", 30.0)
    yield opened
    opened.close()


def session_of(store: Store, client: BusClient, priority: SessionPriority) -> BusSession:
    return BusSession(store, client, RateLimiter(6000), priority)


def post(server: FhirServer, bundle: Resource) -> None:
    """Send a bundle as another clinic's program does."""
    for entry in bundle["entry"]:
        entry["request"] = {"method": "POST", "url": entry["resource"]["resourceType"]}
    answer = server.session.post(server.url, json=bundle, timeout=60)
    assert answer.ok, answer.text


def test_what_another_clinic_reported_of_a_patient_is_found_and_read(
    store: Store, server: FhirServer, client: BusClient
) -> None:
    for number in range(3):
        post(server, strangers.result(days_ago=number, conclusion=f"Заключение {number}"))
    patient = store.write(referrals.register, draft(start=soon(days=1)), REGISTRAR, CLINIC).patient
    History(store, session_of(store, client, SessionPriority.BACKGROUND), r4, PROFILE, seconds=60).ask(
        patient.stored_id
    )
    with store.read() as reader:
        reported = patient_history.external(reader, patient.stored_id)
    assert reported.reason == ""
    assert [study.conclusion for study in reported.studies] == [f"Заключение {number}" for number in range(3)]
    assert {study.effective_dose for study in reported.studies} == {3.1}


def test_a_result_for_our_referral_is_found_and_completes_it(
    store: Store, server: FhirServer, client: BusClient
) -> None:
    given = draft(owner=STRANGER, station_ae_titles=(), start=soon(days=1))
    order = store.write(referrals.register, given, REGISTRAR, CLINIC)
    session = session_of(store, client, SessionPriority.DELIVERY)
    Delivery(store, session, PROFILE, lambda signed: b"", dialect=r4).deliver()
    with store.read() as reader:
        placed = server.get(f"Task/{outbox.references(reader, order.id).task}")
    post(server, strangers.result(of=placed, days_ago=0))
    poll = ResultPoll(store, session_of(store, client, SessionPriority.BACKGROUND), r4, PROFILE)
    assert poll.run() == ResultPollSummary(completed=1)
    assert poll.run() == ResultPollSummary()
    with store.read() as reader:
        done = orders.get(reader, order.id)
        assert done is not None
        assert done.state is OrderState.COMPLETED
        assert external_studies.of_order(reader, order.id)[0].conclusion == "Пневмония справа"
