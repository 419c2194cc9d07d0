"""The rows of "Bus" among the faults that are feared, each against the practice bus that shows it; then it is whole.

What a fault means is judged row by row in `test_client`; here stands what becomes of the clinic's messages.
"""

from __future__ import annotations

import pytest

from broker.bus.outbound.delivery import DeliverySummary
from broker.bus.transport.rate_limit import MAX_WAIT
from broker.domain.messages import OutboxState
from broker.workflow import outbox
from tests.bus.clinic import ADMINISTRATOR, Clinic, numbers

# fault of the practice bus -> the reason that people are shown
ROWS = {
    "slow=2": "time-out",
    "endless=0.2": "time-out",
    "timeout-after-commit": "time-out",
    "503": "HTTP 503",
    "504": "HTTP 504",
    "408": "HTTP 408",
    "429": "HTTP 429",
    "html": "not a FHIR answer: no JSON",
    "huge": "not a FHIR answer: longer than 10485760 bytes",
    "deep": "not a FHIR answer: nested too deep",
    "double-keys": "not a FHIR answer: a member comes twice",
    "cp1251": "not a FHIR answer: not UTF-8",
    "redirect": "redirect refused (HTTP 307)",
    "drop": "cannot connect: the connection broke",
}


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=pytest.mark.slow if ROWS[fault] == "time-out" else ()) for fault in ROWS]
)
def test_a_fault_of_the_line_keeps_the_message_and_afterwards_the_bus_has_it_once(clinic: Clinic, fault: str) -> None:
    order = clinic.register()
    other = clinic.register()
    clinic.restarted(timeout=1.0)
    clinic.bus.fail_next(fault)
    assert clinic.deliver() == DeliverySummary(stopped="waiting")
    [row, waits] = clinic.rows()
    assert (row.state, row.reason) == (OutboxState.PENDING, ROWS[fault])
    assert (waits.attempts, clinic.shown().channel) == (0, "waiting")
    clinic.restarted()
    assert clinic.deliver_later(MAX_WAIT) == DeliverySummary(delivered=2)
    assert numbers(clinic.bus.tasks()) == [order.accession_number, other.accession_number]
    assert clinic.shown().channel == "ok"


def test_a_nul_in_the_texts_of_an_answer_harms_nothing(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.bus.fail_next("nul")
    clinic.deliver()
    clinic.deliver_later()
    assert clinic.states(order) == ["delivered"]
    assert len(clinic.bus.tasks()) == 1
    clinic.shown()


def test_a_bus_that_reports_a_known_order_is_believed_after_a_look(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.bus.fail_next("duplicates")
    assert clinic.deliver() == DeliverySummary(delivered=1)
    assert clinic.states(order) == ["delivered"]
    assert len(clinic.bus.tasks()) == 1


def test_a_refused_token_pauses_the_channel_with_an_alarm(clinic: Clinic) -> None:
    clinic.register()
    clinic.bus.fail_next("401")
    assert clinic.deliver() == DeliverySummary(stopped="waiting")
    assert clinic.shown().channel == "paused"
    clinic.store.write(outbox.resume_exchange, ADMINISTRATOR)
    assert clinic.deliver() == DeliverySummary(delivered=1)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [fault for fault in ROWS if fault not in ("429", "slow=2", "endless=0.2", "huge")])
def test_a_fault_of_the_look_up_leaves_the_outcome_unknown_and_nothing_doubled(clinic: Clinic, fault: str) -> None:
    order = clinic.register()
    clinic.deliver_and_lose_the_answer()
    clinic.restarted(timeout=1.0)
    clinic.bus.fail_next(fault, path="/Task/_search")
    clinic.deliver_later()
    assert clinic.rows()[0].uncertain
    clinic.restarted()
    assert clinic.deliver_later() == DeliverySummary(delivered=1)
    assert numbers(clinic.bus.tasks()) == [order.accession_number]


def test_workers_beside_each_other_share_one_wait_when_the_line_breaks(clinic: Clinic) -> None:
    made = [clinic.register() for _ in range(12)]
    clinic.workers = 4
    clinic.restarted()
    clinic.deliver_later(0)
    assert clinic.states() == ["delivered"] * 12
    more = [clinic.register() for _ in range(12)]
    clinic.bus.fail_next("503", times=4, path="/")
    summary = clinic.deliver()
    assert summary.stopped == "waiting"
    assert clinic.shown().channel == "waiting"
    while clinic.deliver_later(MAX_WAIT).stopped:
        pass
    held = numbers(clinic.bus.tasks())
    assert sorted(held) == sorted(order.accession_number for order in (*made, *more))
