"""A declined referral is told to the region: once, in order, and seen by whoever sent it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from broker.bus.inbound.referrals import ReferralPoll
from broker.bus.outbound.delivery import DeliverySummary
from broker.bus.practice import PRACTICE_ORGANISATION, PRACTICE_ORGANISATION_2, PracticeServer
from broker.bus.transport.client import BusClient
from broker.bus.transport.dialect import n3, r4
from broker.bus.transport.rate_limit import RateLimiter
from broker.bus.transport.session import BusSession, SessionPriority
from broker.domain.incoming import IncomingReferral, IncomingState
from broker.domain.messages import OutboxKind, OutboxRow
from broker.domain.orders import OrderState
from broker.store.database import Store, Tx
from broker.store.queries import exchange_state, inbox
from broker.store.tables import incoming, orders, outbox
from broker.workflow import outbox as exchange
from broker.workflow.referrals import incoming_referrals, referrals
from tests.bus import bundles
from tests.bus.clinic import ADMINISTRATOR, Clinic, practising
from tests.bus.samples import PROFILE
from tests.support import factory
from tests.support.clock import Clock
from tests.support.factory import CLINIC, REGISTRAR, draft, soon
from tests.support.practice import practice_bus

WHY = "нет такого аппарата"


class Decliner(Clinic):
    """The clinic that declines, and its poll for referrals."""

    def place(self) -> str:
        """Let the other clinic order something of this one; return the Task's id."""
        order = bundles.order(owner=PRACTICE_ORGANISATION)
        bundles.of(order, "Task")["requester"] = bundles.organisation(PRACTICE_ORGANISATION_2)
        return str(bundles.part(self.bus.transaction(order), "Task")["id"])

    def poll(self) -> None:
        session = BusSession(self.store, self.clients[-1], self.limiter, SessionPriority.POLLING)
        ReferralPoll(self.store, session, n3, PROFILE, CLINIC, {}).run()

    def received(self) -> IncomingReferral:
        """Let the other clinic order something, and receive it."""
        task = self.place()
        self.poll()
        return self.referral(task)

    def referral(self, task: str) -> IncomingReferral:
        with self.store.read() as reader:
            found = incoming.by_task(reader, "bus", task)
        assert found is not None
        return found

    def decline(self, referral: IncomingReferral) -> None:
        self.store.write(incoming_referrals.decline, referral.stored_id, WHY, REGISTRAR, CLINIC)

    def row(self) -> OutboxRow:
        with self.store.read() as reader:
            [row] = reader.rows("SELECT * FROM outbox WHERE kind = 'decline'")
        return outbox.from_row(row)

    def status(self, task: str) -> str:
        return next(str(each["status"]) for each in self.bus.tasks() if each["id"] == task)


@pytest.fixture
def practice() -> Iterator[PracticeServer]:
    with practising(practice_bus(lenient=True)) as running:
        yield running


@pytest.fixture
def clinic(store: Store, practice: PracticeServer) -> Iterator[Decliner]:
    opened = Decliner(store, practice.bus, practice)
    yield opened
    opened.close()


def test_the_region_is_told_once_that_a_referral_is_declined(clinic: Decliner) -> None:
    referral = clinic.received()
    clinic.decline(referral)
    clinic.decline(referral)
    assert clinic.deliver() == DeliverySummary(delivered=1)
    assert clinic.status(referral.task) == "cancelled"
    assert clinic.deliver() == DeliverySummary()


def test_the_region_may_want_to_hear_that_it_is_rejected(clinic: Decliner) -> None:
    clinic.server.bus = clinic.bus = practice_bus(lenient=True, statuses=("cancelled", "rejected"))
    referral = clinic.received()
    clinic.delivery.set_profile(replace(PROFILE, declined_status="rejected"))
    clinic.decline(referral)
    assert clinic.deliver() == DeliverySummary(delivered=1)
    assert clinic.status(referral.task) == "rejected"


def test_a_status_that_the_region_does_not_know_waits_for_a_person_and_is_sent_again(clinic: Decliner) -> None:
    referral = clinic.received()
    clinic.delivery.set_profile(replace(PROFILE, declined_status="rejected"))
    clinic.decline(referral)
    assert clinic.deliver() == DeliverySummary(needs_attention=1)
    [line] = clinic.shown().needs_attention
    assert (line.accession_number, line.patient, line.state) == ("", "Ёлкина А. С.", None)
    assert "Недопустимый статус rejected" in line.row.reason
    clinic.delivery.set_profile(PROFILE)
    assert clinic.store.write(exchange.resend_message, line.row.seq, ADMINISTRATOR) == 1
    assert clinic.deliver() == DeliverySummary(delivered=1)
    with clinic.store.read() as reader:
        found = exchange_state.line(reader, line.row.seq)
        assert [each.outcome for each in exchange_state.attempts(reader, line.row.seq)] == [
            "needs_attention",
            "delivered",
        ]
    assert found is not None
    assert found.row.reason == ""


def test_what_this_clinic_has_told_does_not_come_back_as_news(clinic: Decliner) -> None:
    referral = clinic.received()
    clinic.decline(referral)
    clinic.deliver()
    clinic.poll()
    assert clinic.referral(referral.task).state is IncomingState.DECLINED
    with clinic.store.read() as reader:
        assert reader.value("SELECT count(*) FROM audit WHERE action = 'incoming_cancelled'") == 0
        assert inbox.waiting(reader) == []


def test_a_sender_who_has_cancelled_meanwhile_needs_no_answer(clinic: Decliner) -> None:
    referral = clinic.received()
    clinic.decline(referral)
    clinic.bus.update_status(referral.task, "cancelled")
    clinic.poll()
    assert clinic.row().state == "dropped"
    assert clinic.deliver() == DeliverySummary()


@pytest.mark.slow
def test_a_lost_answer_is_looked_up_and_not_sent_twice(clinic: Decliner) -> None:
    referral = clinic.received()
    clinic.decline(referral)
    clinic.deliver_and_lose_the_answer()
    assert clinic.row().uncertain
    assert clinic.deliver_later() == DeliverySummary(delivered=1)
    assert sum(call.startswith("/$updatestatus") for call in clinic.calls()) == 1


def test_a_referral_that_waits_again_after_it_may_have_been_sent_is_not_declined_any_more(clinic: Decliner) -> None:
    referral = clinic.received()
    clinic.decline(referral)
    clinic.store.write(outbox.mark_uncertain, clinic.row().seq)
    clinic.store.write(lambda tx: incoming.update(tx, replace(referral, comment="другое")))
    assert clinic.deliver() == DeliverySummary()
    assert (clinic.row().state, clinic.row().reason) == ("unsupported", "the referral is not declined any more")
    assert clinic.status(referral.task) == "requested"


def test_a_declined_referral_keeps_no_order_back_and_none_keeps_it(clinic: Decliner) -> None:
    referrals_of_two = [clinic.received(), clinic.received()]
    for each in referrals_of_two:
        clinic.decline(each)
    clinic.register()
    clinic.store.write(lambda tx: tx.run("UPDATE patient SET birth_date = ''"))
    assert clinic.deliver() == DeliverySummary(delivered=2, needs_attention=1)
    assert {clinic.status(each.task) for each in referrals_of_two} == {"cancelled"}


def test_the_sender_sees_it_under_what_needs_attention_with_the_reason(clinic: Decliner) -> None:
    other_store = factory.open_store(clinic.store.path.parent / "other.sqlite", Clock())
    profile = replace(PROFILE, organisation=PRACTICE_ORGANISATION_2, mis_oid=f"{PROFILE.mis_oid}.2")
    client = BusClient(clinic.server.url, lambda: "d27a94b1-83c6-4f5e-a0b9-6e3f1c8d7720", 5.0)
    limiter = RateLimiter(6000)
    sent = draft(owner=PRACTICE_ORGANISATION, station_ae_titles=(), start=soon(days=1))
    order = other_store.write(referrals.register, sent, REGISTRAR, CLINIC)
    sender = Clinic(other_store, clinic.bus, clinic.server)
    sender.token = "d27a94b1-83c6-4f5e-a0b9-6e3f1c8d7720"
    sender.delivery.set_profile(profile)
    assert sender.deliver() == DeliverySummary(delivered=1)
    clinic.poll()
    [referral] = _waiting(clinic.store)
    clinic.decline(referral)
    clinic.deliver()
    session = BusSession(other_store, client, limiter, SessionPriority.POLLING)
    assert ReferralPoll(other_store, session, n3, profile, CLINIC, {}).run().cancelled == 1
    with other_store.read() as reader:
        [late] = inbox.too_late(reader)
        assert orders.require(reader, order.id).state is OrderState.CANCELLED
    assert (late.accession_number, late.reason) == (order.accession_number, "cancelled")
    sender.close()
    client.close()
    other_store.close()


def test_a_strict_server_gets_the_reason_too() -> None:
    call = r4.set_status("t1", "rejected", WHY)
    assert json.loads(call.body) == [
        {"op": "replace", "path": "/status", "value": "rejected"},
        {"op": "add", "path": "/statusReason", "value": {"text": WHY}},
    ]
    # No public client has sent a reason to n3: an unknown parameter could be refused.
    assert [each["name"] for each in json.loads(n3.set_status("t1", "cancelled", WHY).body)["parameter"]] == [
        "_id",
        "status",
    ]


def test_without_a_bus_nobody_is_told(clinic: Decliner) -> None:
    referral = clinic.received()
    quiet = replace(CLINIC, sends_to_bus=False)
    clinic.store.write(incoming_referrals.decline, referral.stored_id, WHY, REGISTRAR, quiet)
    assert clinic.deliver() == DeliverySummary()
    assert clinic.referral(referral.task).decline_reason == WHY


def test_a_message_is_about_an_order_or_a_referral_never_both_or_neither(clinic: Decliner) -> None:
    order = clinic.register()
    referral = clinic.received()
    add = "INSERT INTO outbox (order_id, incoming_id, kind, state, created_at) VALUES (?, ?, ?, 'pending', '')"
    wrong = [(None, None, OutboxKind.ORDER), (order.id, referral.id, OutboxKind.ORDER), (order.id, None, "decline")]
    for values in wrong:
        with pytest.raises(Exception, match="CHECK constraint failed"):
            clinic.store.write(_run, add, list(values))


def _run(tx: Tx, sql: str, values: list[object]) -> None:
    tx.run(sql, values)


def _waiting(store: Store) -> list[IncomingReferral]:
    with store.read() as reader:
        return inbox.waiting(reader)
