"""People and modalities act while the sender has a message under way, and orders are cancelled and revived."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from broker.bus.outbound import messages
from broker.bus.transport.answers import Answer, Paused, Rejected
from broker.bus.transport.client import BusClient
from broker.bus.transport.dialect import Call
from broker.domain.actors import Role
from broker.domain.messages import OutboxKind
from broker.domain.orders import Order, OrderState
from broker.domain.studies.performed import WRONG_ENTRY, PerformedChange, PerformedState, StepReference
from broker.store.tables import orders
from broker.workflow import outbox
from broker.workflow.referrals import referrals
from broker.workflow.studies import performed_steps, step_links
from tests.bus.clinic import ADMINISTRATOR, Clinic
from tests.support.factory import CLINIC, REGISTRAR, XRAY, draft, message, performed

TECHNOLOGIST = replace(REGISTRAR, roles=frozenset({Role.TECHNOLOGIST}))


@pytest.fixture
def while_it_is_made(monkeypatch: pytest.MonkeyPatch) -> Callable[[OutboxKind, Callable[[], object]], None]:
    """Have something done once, after a message of a kind was read and before it is noted that it is sent."""

    def have(kind: OutboxKind, done: Callable[[], object]) -> None:
        made, waiting = messages.render, [done]

        def call(message: messages.OrderMessage, *rest: object) -> object:
            if message.row.kind is kind and waiting:
                waiting.pop()()
            return made(message, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(messages, "render", call)

    return have


def begin(clinic: Clinic, order: Order) -> None:
    step = performed("1.2.3.4", StepReference(study_instance_uid=order.study_instance_uid))
    clinic.store.write(performed_steps.start, step, message("create"), XRAY, CLINIC)


def call_it_a_wrong_entry(clinic: Clinic) -> None:
    stated = PerformedChange(PerformedState.DISCONTINUED, discontinuation_code=WRONG_ENTRY)
    clinic.store.write(
        performed_steps.change, performed_steps.ChangeRequest("1.2.3.4", stated, message("wrong")), XRAY, CLINIC
    )


def statuses(clinic: Clinic) -> list[str]:
    return [task["status"] for task in clinic.bus.tasks()]


def test_an_order_that_is_amended_while_its_message_is_made_goes_out_amended(
    clinic: Clinic, while_it_is_made: Callable[..., None]
) -> None:
    order = clinic.register()
    new = draft(comment="Новое")
    while_it_is_made(
        OutboxKind.ORDER, lambda: clinic.store.write(referrals.amend, order.id, order.revision, new, REGISTRAR, CLINIC)
    )
    clinic.deliver()
    assert clinic.bus.resources("ServiceRequest")[0]["note"][0] == {"text": "Новое"}
    assert clinic.states() == ["delivered"]


def test_an_amendment_that_went_within_the_order_is_dropped_though_a_modality_begins_meanwhile(clinic: Clinic) -> None:
    class Beginning(BusClient):
        def call(self, call: Call) -> Answer:
            if call.path.startswith("?"):
                begin(clinic, order)
            return super().call(call)

    order = clinic.register()
    clinic.bus.fail_next("drop")
    clinic.deliver()
    clinic.store.write(referrals.amend, order.id, order.revision, draft(comment="Новое"), REGISTRAR, CLINIC)
    assert clinic.states() == ["pending", "pending"]
    clinic.restarted(Beginning)
    clinic.deliver_later()
    assert clinic.bus.resources("ServiceRequest")[0]["note"][0] == {"text": "Новое"}
    assert clinic.states()[:2] == ["delivered", "dropped"]


def test_a_result_that_is_withdrawn_while_its_message_is_made_does_not_go(
    clinic: Clinic, while_it_is_made: Callable[..., None]
) -> None:
    order = clinic.register()
    clinic.perform(order)
    while_it_is_made(
        OutboxKind.IMAGES, lambda: clinic.store.write(step_links.unlink, "1.2.3.4", order.id, TECHNOLOGIST, CLINIC)
    )
    clinic.deliver()
    assert statuses(clinic) == ["requested"]
    assert clinic.states() == ["delivered", "dropped"]


def test_a_cancellation_that_a_modality_overtakes_does_not_go(
    clinic: Clinic, while_it_is_made: Callable[..., None]
) -> None:
    order = clinic.register()
    clinic.cancel(order)
    while_it_is_made(OutboxKind.CANCEL, lambda: begin(clinic, order))
    clinic.deliver()
    assert statuses(clinic) == ["requested"]


def test_a_cancellation_of_unknown_outcome_is_not_repeated_when_a_modality_has_taken_the_order_up(
    clinic: Clinic,
) -> None:
    order = clinic.register()
    clinic.deliver()
    clinic.cancel(order)
    clinic.bus.fail_next("503")
    clinic.deliver()
    clinic.perform(order)
    clinic.deliver_later()
    assert statuses(clinic) == ["requested", "in-progress"]
    assert [(row.kind, row.state, row.reason) for row in clinic.rows()][1] == (
        "cancel",
        "unsupported",
        messages.PERFORMED_AFTER_CANCEL,
    )


@pytest.mark.parametrize("fault", ["", "503"])
def test_an_order_that_is_cancelled_again_after_a_wrong_entry_is_cancelled_on_the_bus(
    clinic: Clinic, fault: str
) -> None:
    order = clinic.register()
    clinic.deliver()
    clinic.cancel(order)
    if fault:
        clinic.bus.fail_next(fault)
        clinic.deliver()
    begin(clinic, order)
    if fault:
        clinic.deliver_later()
    call_it_a_wrong_entry(clinic)
    clinic.deliver_later()
    with clinic.store.read() as reader:
        known = orders.get(reader, order.id)
    assert known is not None
    assert known.state is OrderState.CANCELLED
    assert statuses(clinic) == ["cancelled"]


def test_an_order_that_never_went_and_is_cancelled_again_need_not_go(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.cancel(order)
    begin(clinic, order)
    call_it_a_wrong_entry(clinic)
    clinic.deliver()
    assert clinic.bus.tasks() == []
    assert set(clinic.states()) == {"dropped"}


@pytest.mark.parametrize("workers", [1, 4])
def test_a_fault_of_ours_in_one_message_keeps_no_other_from_the_bus(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    orders_made = [clinic.register() for _ in range(6)]
    made = messages.render

    def call(message: messages.OrderMessage, *rest: object) -> object:
        if message.order.id == orders_made[2].id:
            raise ZeroDivisionError
        return made(message, *rest)  # type: ignore[arg-type]

    clinic.workers = workers
    clinic.restarted()
    with monkeypatch.context() as patch:
        patch.setattr(messages, "render", call)
        clinic.deliver()
    assert clinic.states() == ["delivered", "delivered", "needs_attention", "delivered", "delivered", "delivered"]
    assert clinic.rows()[2].reason == "the program failed at it, see the log"
    clinic.store.write(outbox.resend, orders_made[2].id, ADMINISTRATOR)
    clinic.deliver()
    assert len(clinic.bus.tasks()) == 6


def test_a_message_that_needs_attention_without_a_call_proves_nothing_about_the_connection(clinic: Clinic) -> None:
    clinic.register()
    clinic.store.write(lambda tx: tx.run("UPDATE patient SET birth_date = ''"))
    clinic.deliver()
    assert (clinic.states(), clinic.calls()) == (["needs_attention"], [])
    assert clinic.shown().answered_at is None


def test_a_message_that_alone_is_forbidden_lets_the_others_through(clinic: Clinic) -> None:
    class Forbidding(BusClient):
        def call(self, call: Call) -> Answer:
            forbidden = call.body.decode().count(first.accession_number)
            return Paused("token refused (HTTP 403)") if forbidden else super().call(call)

    first, second, third = (clinic.register() for _ in range(3))
    clinic.restarted(Forbidding)
    clinic.deliver()
    assert clinic.states() == ["pending", "pending", "pending"]
    clinic.deliver_later()
    assert clinic.states() == ["pending", "delivered", "delivered"]
    assert clinic.shown().channel == "paused"
    assert (clinic.states(second), clinic.states(third)) == (["delivered"], ["delivered"])


def test_an_order_that_was_refused_and_cancelled_is_sent_again_if_it_is_performed_nevertheless(clinic: Clinic) -> None:
    class Once(BusClient):
        refuse = True

        def call(self, call: Call) -> Answer:
            if Once.refuse:
                return Rejected("dictionary unknown")
            return super().call(call)

    clinic.restarted(Once)
    order = clinic.register()
    clinic.deliver()
    clinic.cancel(order)
    assert clinic.states() == ["dropped"]
    Once.refuse = False
    clinic.perform(order)
    clinic.deliver()
    assert statuses(clinic) == ["requested", "in-progress"]
