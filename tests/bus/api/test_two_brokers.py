"""Two brokers without a bus between them: the one's bus is the other's `/fhir`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.bus.inbound.history import History
from broker.bus.inbound.referrals import ReferralPoll
from broker.bus.inbound.results import ResultPoll, ResultPollSummary
from broker.bus.outbound.delivery import Delivery, DeliverySummary
from broker.bus.practice import PRACTICE_ORGANISATION_2, PRACTICE_TOKEN
from broker.bus.transport.client import BusClient
from broker.bus.transport.dialect import n3
from broker.bus.transport.rate_limit import RateLimiter
from broker.bus.transport.session import BusSession, SessionPriority
from broker.domain.messages import BusReferences, OutboxRow
from broker.domain.orders import Order, OrderState
from broker.domain.reading.reports import ExternalStudy
from broker.store.database import Store
from broker.store.queries import inbox
from broker.store.queries.patients import patient_history
from broker.store.tables import bus_channel, clients, orders, outbox
from broker.store.tables.studies import external_studies
from broker.workflow.referrals import incoming_referrals
from broker.workflow.referrals import referrals as referral
from tests.bus.api.clinic import NAME, ApiClinic, make_pdf
from tests.bus.samples import PROFILE
from tests.support import factory
from tests.support.factory import CLINIC, REGISTRAR, draft, soon


class Referrer:
    """The first clinic: it refers to the second, whose endpoint is its bus."""

    def __init__(self, store: Store, url: str) -> None:
        self.store, self.now = store, 5000.0
        self.clients = [BusClient(url, lambda: PRACTICE_TOKEN, 5.0) for _ in range(3)]
        limiter = RateLimiter(6000, lambda: self.now)

        def session(client: BusClient, priority: SessionPriority) -> BusSession:
            return BusSession(store, client, limiter, priority)

        self.exchange = Delivery(store, session(self.clients[0], SessionPriority.DELIVERY), PROFILE, make_pdf)
        self.referral_poll = ReferralPoll(
            store, session(self.clients[1], SessionPriority.POLLING), n3, PROFILE, CLINIC, {}
        )
        self.result_poll = ResultPoll(store, session(self.clients[1], SessionPriority.BACKGROUND), n3, PROFILE)
        self.history = History(store, session(self.clients[2], SessionPriority.BACKGROUND), n3, PROFILE)

    def refer(self, **changes: Any) -> Order:
        given = {"owner": PRACTICE_ORGANISATION_2, "station_ae_titles": (), "start": soon(days=1)} | changes
        return self.store.write(referral.register, draft(**given), REGISTRAR, CLINIC)

    def deliver(self) -> DeliverySummary:
        self.now += 3600
        return self.exchange.deliver()

    def order(self, order: Order) -> Order:
        with self.store.read() as reader:
            found = orders.get(reader, order.id)
        assert found is not None
        return found

    def references(self, order: Order) -> BusReferences:
        with self.store.read() as reader:
            return outbox.references(reader, order.id)

    def rows(self) -> list[OutboxRow]:
        with self.store.read() as reader:
            return [outbox.from_row(row) for row in reader.rows("SELECT * FROM outbox ORDER BY seq")]

    def results(self, order: Order) -> list[ExternalStudy]:
        with self.store.read() as reader:
            return external_studies.of_order(reader, order.id)

    def close(self) -> None:
        self.history.stop()
        for client in self.clients:
            client.close()


@pytest.fixture
def referrer(clinic: ApiClinic, tmp_path: Path) -> Iterator[Referrer]:
    store = factory.open_store(tmp_path / "referrer.sqlite")
    opened = Referrer(store, clinic.server.url)
    yield opened
    opened.close()
    store.close()


def test_a_referral_goes_over_and_its_report_comes_back(clinic: ApiClinic, referrer: Referrer) -> None:
    sent = referrer.refer()
    assert referrer.deliver() == DeliverySummary(delivered=1)
    known = referrer.references(sent)
    [came] = clinic.waiting()
    assert (known.task, known.acsn) == (came.task, came.bus_accession_number)
    assert (came.patient.snils, came.diagnosis_code, came.referrer.family) == ("11223344595", "M17.1", "Зимин")
    made = clinic.accept()
    assert referrer.order(sent).bus_accession_number == made.accession_number
    assert referrer.result_poll.run() == ResultPollSummary()
    clinic.perform(made)
    assert referrer.result_poll.run() == ResultPollSummary(taken=1)
    assert referrer.order(sent).state is OrderState.REFERRED
    clinic.sign(made)
    assert referrer.result_poll.run() == ResultPollSummary(completed=1)
    assert referrer.order(sent).state is OrderState.COMPLETED
    [study] = referrer.results(sent)
    assert (study.conclusion, study.effective_dose) == ("Артроз II ст.", 0.12)
    assert (study.organisation, study.study_instance_uid) == (PRACTICE_ORGANISATION_2, made.study_instance_uid)
    assert (study.accession_number, study.images_url) == (
        made.accession_number,
        f"https://pacs.example/{made.study_instance_uid}",
    )
    assert study.doctor == "Вольская Т. А."
    assert referrer.result_poll.run() == ResultPollSummary()
    assert referrer.referral_poll.run().stopped == ""


def test_what_was_done_there_is_found_by_the_patient(clinic: ApiClinic, referrer: Referrer) -> None:
    sent = referrer.refer()
    referrer.deliver()
    made = clinic.accept()
    clinic.perform(made)
    clinic.sign(made)
    referrer.history.ask(referrer.order(sent).patient.stored_id)
    with referrer.store.read() as reader:
        reported = patient_history.external(reader, referrer.order(sent).patient.stored_id)
    assert (reported.reason, [study.conclusion for study in reported.studies]) == ("", ["Артроз II ст."])


def test_a_cancellation_goes_over(clinic: ApiClinic, referrer: Referrer) -> None:
    sent = referrer.refer()
    referrer.deliver()
    made = clinic.accept()
    now = referrer.order(sent)
    referrer.store.write(referral.cancel, now.id, now.revision, "передумал", REGISTRAR, CLINIC)
    assert referrer.deliver() == DeliverySummary(delivered=1)
    assert clinic.order(made).state is OrderState.CANCELLED


def test_a_cancellation_that_comes_too_late_is_shown_on_both_sides(clinic: ApiClinic, referrer: Referrer) -> None:
    sent = referrer.refer()
    referrer.deliver()
    clinic.begin(clinic.accept())
    now = referrer.order(sent)
    referrer.store.write(referral.cancel, now.id, now.revision, "передумал", REGISTRAR, CLINIC)
    assert referrer.deliver() == DeliverySummary(needs_attention=1)
    assert "уже выполняется" in referrer.rows()[-1].reason
    with clinic.store.read() as reader:
        assert len(inbox.too_late(reader)) == 1


def test_what_the_other_clinic_cancels_is_seen(clinic: ApiClinic, referrer: Referrer) -> None:
    first, second = referrer.refer(), referrer.refer()
    assert referrer.deliver() == DeliverySummary(delivered=2)
    assert referrer.referral_poll.run().cancelled == 0
    tasks = {referrer.references(each).task: each for each in (first, second)}
    [refused] = [came for came in clinic.waiting() if tasks[came.task].id == first.id]
    clinic.store.write(incoming_referrals.decline, refused.stored_id, "нет аппарата", REGISTRAR, CLINIC)
    clinic.cancel(clinic.accept())
    assert referrer.referral_poll.run().cancelled == 2
    assert {referrer.order(each).state for each in (first, second)} == {OrderState.CANCELLED}
    assert referrer.referral_poll.run().cancelled == 0


def test_an_order_whose_answer_was_lost_is_looked_up_and_not_doubled(clinic: ApiClinic, referrer: Referrer) -> None:
    sent = referrer.refer()
    seq = referrer.rows()[0].seq
    referrer.deliver()
    known = referrer.references(sent)
    forget = "UPDATE outbox SET state = 'pending', uncertain = ?, delivered_at = NULL WHERE seq = ?"
    for uncertain in (1, 0):  # looked up first; or sent again, and refused as one that is there
        referrer.store.write(lambda tx, uncertain=uncertain: tx.run(forget, [uncertain, seq]))  # type: ignore[misc]
        assert referrer.deliver() == DeliverySummary(delivered=1)
        assert referrer.references(sent) == known
    assert len(clinic.waiting()) == 1


def test_what_the_first_clinic_does_itself_is_refused_with_the_reason_and_holds_nothing_back(
    clinic: ApiClinic, referrer: Referrer
) -> None:
    referrer.store.write(referral.register, draft(), REGISTRAR, CLINIC)
    referrer.refer()
    assert referrer.deliver() == DeliverySummary(delivered=1, needs_attention=1)
    assert "только направления в эту клинику" in referrer.rows()[0].reason
    assert len(clinic.waiting()) == 1


def test_a_disabled_client_pauses_the_channel(clinic: ApiClinic, referrer: Referrer) -> None:
    clinic.store.write(lambda tx: clients.set_disabled(tx, NAME, True))
    referrer.refer()
    referrer.deliver()
    with referrer.store.read() as reader:
        assert bus_channel.state(reader) == "paused"
