"""What really goes wrong with performed steps, as public issue threads tell it; each number is the list's.

Those about worklists are in `test_really_goes_wrong.py`, those about connections in `test_port_goes_wrong.py`.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pynetdicom.sop_class import ModalityPerformedProcedureStep, Verification  # type: ignore[attr-defined]

from broker.dicom import learning
from broker.dicom.codec import json_model
from broker.dicom.devices.registry import Caller
from broker.dicom.mpps import rules, service
from broker.dicom.server import DicomServer
from broker.dicom.statuses import Status
from broker.domain.clinic.devices import Device
from broker.domain.messages import OutboxKind
from broker.domain.orders import Order, OrderState, StepState
from broker.domain.patients.identifiers import valid_uid
from broker.domain.studies import step_rules
from broker.domain.studies.performed import WRONG_ENTRY
from broker.store.database import Store, Tx
from broker.store.queries import board, device_registry, schedule
from broker.store.tables import devices, orders, outbox
from broker.store.tables.studies import performed
from broker.workflow.referrals import referrals
from broker.workflow.studies import step_links
from broker.workflow.studies.stale_steps import StaleStepJob
from tests.dicom.worklist.asked import ask, numbers, query
from tests.support.factory import CLINIC, REGISTRAR, draft
from tests.support.modality import (
    CALLER,
    change,
    code,
    create,
    creation,
    ending,
    on_the_wire,
    outcomes,
    registered,
    scheduled,
)
from tests.support.port import associated, serving
from tests.support.waiting import DEADLINE, at_most, wait_until

SECOND = Caller("XRAY_14B", "10.0.0.1")


@pytest.fixture
def server(store: Store) -> Iterator[DicomServer]:
    with serving(store) as started:
        yield started


@pytest.fixture
def order(store: Store) -> Order:
    return store.write(referrals.register, draft(), REGISTRAR, CLINIC)


def act_for_others(store: Store) -> None:
    """Let the other device end what the X-ray has begun."""
    store.write(lambda tx: devices.put(tx, Device(SECOND.ae_title, "Пульт", "DX", for_others=True)))


def now(store: Store, order: Order) -> Order:
    with store.read() as reader:
        found = orders.get(reader, order.id)
    assert found is not None
    return found


def trail(store: Store, order: Order) -> list[tuple[str, str]]:
    """Return what the audit trail tells of an order: (who, what)."""
    with store.read() as reader:
        rows = reader.rows("SELECT actor, action FROM audit WHERE order_id = ? ORDER BY seq", [order.id])
    return [(row["actor"], row["action"]) for row in rows]


# 13. An empty Study Instance UID in the worklist's answer broke the performed step that followed.
def test_the_study_uid_that_the_worklist_gave_leads_back_to_the_order(store: Store, order: Order) -> None:
    [item] = [answer.identifier for answer in ask(store, query(StudyInstanceUID="")) if answer.identifier]
    assert valid_uid(item.StudyInstanceUID)
    assert create(store, creation(str(item.StudyInstanceUID))).Status == Status.SUCCESS
    assert now(store, order).state is OrderState.IN_PROGRESS


# 13. And a device that leaves it empty nevertheless is understood by its other numbers.
@pytest.mark.parametrize("keyword", ["AccessionNumber", "RequestedProcedureID", "ScheduledProcedureStepID"])
def test_a_step_without_a_study_uid_is_linked_by_another_number(store: Store, order: Order, keyword: str) -> None:
    number = {
        "AccessionNumber": order.accession_number,
        "RequestedProcedureID": order.requested_procedure_id,
        "ScheduledProcedureStepID": order.steps[0].sps_id,
    }[keyword]
    item = scheduled("", **{keyword: number})
    assert create(store, creation(ScheduledStepAttributesSequence=[item])).Status == Status.SUCCESS
    assert now(store, order).state is OrderState.IN_PROGRESS


# 13. So is one that has no scheduled item, or an empty one, and writes its numbers beside the patient's data.
@pytest.mark.parametrize("items", [None, [], [scheduled("")]])
@pytest.mark.parametrize(
    "keyword", ["StudyInstanceUID", "AccessionNumber", "RequestedProcedureID", "ScheduledProcedureStepID"]
)
def test_a_step_without_a_scheduled_item_is_linked_by_its_own_numbers(
    store: Store, order: Order, keyword: str, items: list[Dataset] | None
) -> None:
    number = {
        "StudyInstanceUID": order.study_instance_uid,
        "AccessionNumber": order.accession_number,
        "RequestedProcedureID": order.requested_procedure_id,
        "ScheduledProcedureStepID": order.steps[0].sps_id,
    }[keyword]
    reported = creation(ScheduledStepAttributesSequence=items, **{keyword: number})
    assert create(store, reported).Status == Status.SUCCESS
    assert now(store, order).state is OrderState.IN_PROGRESS


def test_numbers_beside_a_scheduled_item_that_names_a_study_do_not_count(store: Store, order: Order) -> None:
    assert create(store, creation("1.9.9", AccessionNumber=order.accession_number)).Status == Status.SUCCESS
    assert now(store, order).state is OrderState.SCHEDULED  # it has said which study it is


# 14. No performed step ever comes from a device: another way to close, and the device's page says so.
def test_an_order_of_a_silent_device_is_closed_by_a_person_and_the_device_noted(store: Store, order: Order) -> None:
    store.write(lambda tx: devices.keep_sample(tx, "XRAY_14", "worklist", {}))
    with store.read() as reader:
        [received] = [each for each in device_registry.contacts(reader) if each.device.ae_title == "XRAY_14"]
    later = store.clock() + timedelta(days=365)
    assert "mpps_never" in [each.code for each in learning.suggest(received.device, received.samples, later)]
    store.write(step_links.close, order.id, order.revision, REGISTRAR, CLINIC)
    assert now(store, order).state is OrderState.COMPLETED
    assert trail(store, order)[-1] == ("orlova", "close")
    assert numbers(ask(store, query())) == []  # and it is off the list


# 15. An N-CREATE without an Affected SOP Instance UID.
def test_a_step_without_a_uid_gets_one_and_is_found_by_it(server: DicomServer, store: Store, order: Order) -> None:
    with associated(server.port, ModalityPerformedProcedureStep) as assoc:
        for _ in range(2):  # the same once more, as after a lost answer
            status, _ = assoc.send_n_create(creation(order.study_instance_uid), ModalityPerformedProcedureStep, None)
            assert status.Status == Status.SUCCESS
        with store.read() as reader:
            [row] = reader.rows("SELECT sop_instance_uid FROM performed_step")
        status, _ = assoc.send_n_set(ending(), ModalityPerformedProcedureStep, row["sop_instance_uid"])
        assert status.Status == Status.SUCCESS
    assert now(store, order).state is OrderState.COMPLETED


# 16. A duplicate N-CREATE closed the connection instead of being answered 0111.
def test_a_duplicate_is_answered_on_a_connection_that_stays_open(server: DicomServer, store: Store) -> None:
    with associated(server.port, ModalityPerformedProcedureStep) as assoc:
        answers = [
            assoc.send_n_create(ds, ModalityPerformedProcedureStep, "1.2.3")[0].Status
            for ds in (creation(), creation(), creation(PatientID="2"), creation())
        ]
        assert answers == [Status.SUCCESS, Status.SUCCESS, Status.DUPLICATE_SOP_INSTANCE, Status.SUCCESS]
        assert assoc.is_established
        assert assoc.send_n_set(ending(), ModalityPerformedProcedureStep, "1.2.3")[0].Status == Status.SUCCESS
    with store.read() as reader:
        [step] = reader.rows("SELECT patient_id FROM performed_step")
        kept = [row["outcome"] for row in reader.rows("SELECT outcome FROM performed_step_message ORDER BY id")]
    assert step["patient_id"] == "000001"
    assert kept == ["accepted", "repeated", "duplicate", "repeated", "accepted"]


# 17. The status of the performed step was not carried to the worklist item.
def test_the_item_follows_the_step_and_leaves_the_other_devices_lists(store: Store) -> None:
    order = store.write(referrals.register, draft(station_ae_titles=("XRAY_14", "FLG_12")), REGISTRAR, CLINIC)
    assert [numbers(ask(store, query(), each)) for each in ("XRAY_14", "FLG_12")] == [[order.accession_number]] * 2
    create(store, creation(order.study_instance_uid))
    assert now(store, order).steps[0].state is StepState.STARTED
    assert numbers(ask(store, query(), "FLG_12")) == []
    change(store, ending())
    assert now(store, order).steps[0].state is StepState.COMPLETED
    assert numbers(ask(store, query(), "XRAY_14")) == []


# 17. Only the first step of a group was updated.
@pytest.mark.parametrize("one_study", [False, True], ids=["each with its study", "one study for all"])
@pytest.mark.parametrize("end", ["COMPLETED", "DISCONTINUED"])
def test_every_order_of_a_group_follows(store: Store, order: Order, end: str, one_study: bool) -> None:
    group = [order, *(store.write(referrals.register, draft(), REGISTRAR, CLINIC) for _ in range(2))]
    items = [
        scheduled((order if one_study else each).study_instance_uid, AccessionNumber=each.accession_number)
        for each in group
    ]
    create(store, creation(ScheduledStepAttributesSequence=items))
    assert [now(store, each).steps[0].state for each in group] == [StepState.STARTED] * 3
    change(store, ending(end))
    assert [now(store, each).state for each in group] == [OrderState(end.lower())] * 3


# 17. A step that is never ended held its item for ever.
def test_a_step_that_its_device_never_ends_is_ended(store: Store, order: Order) -> None:
    create(store, creation(order.study_instance_uid))
    watch = StaleStepJob(store, CLINIC, lambda: 0)  # nobody sets the clock
    started = store.clock
    hours = Device("XRAY_14", "", "").mpps_hours
    store.clock = lambda: started() + timedelta(hours=hours)
    assert watch.run() == 1
    assert now(store, order).state is OrderState.DISCONTINUED


# 21. A study made without an item: a person says whose it is, and the trail says who that was.
def test_a_study_without_an_item_is_reconciled_by_a_person(store: Store, order: Order) -> None:
    create(store, creation("1.9.9"))
    change(store, ending())
    with store.read() as reader:
        [waiting] = board.unlinked(reader, order.authored_on)
    assert now(store, order).state is OrderState.SCHEDULED  # nothing is guessed, though the patient is the same
    store.write(step_links.link, waiting.step.sop_instance_uid, order.id, REGISTRAR, CLINIC)
    assert now(store, order).state is OrderState.COMPLETED
    assert trail(store, order)[-1] == ("orlova", "link")


# 21. A study made under the wrong item: told by the device, or found out by a person.
def test_a_study_under_the_wrong_item_gives_the_item_back(store: Store, order: Order) -> None:
    meant = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    reason = [code(WRONG_ENTRY, "Incorrect worklist entry selected")]
    create(store, creation(order.study_instance_uid))
    change(store, ending("DISCONTINUED", PerformedProcedureStepDiscontinuationReasonCodeSequence=reason))
    assert now(store, order).state is OrderState.SCHEDULED
    assert order.accession_number in numbers(ask(store, query()))  # on the list again
    assert trail(store, order)[-1] == ("XRAY_14", "wrong_entry")

    create(store, creation(order.study_instance_uid), "1.2.4")
    change(store, ending(), "1.2.4")
    store.write(step_links.unlink, "1.2.4", order.id, REGISTRAR, CLINIC)
    store.write(step_links.link, "1.2.4", meant.id, REGISTRAR, CLINIC)
    assert (now(store, order).state, now(store, meant).state) == (OrderState.SCHEDULED, OrderState.COMPLETED)
    assert trail(store, order)[-1] == ("orlova", "unlink")
    with store.read() as reader:
        assert [each.step.sop_instance_uid for each in board.unlinked(reader, order.authored_on)] == ["1.2.3"]


def test_later_reports_of_a_device_do_not_undo_a_persons_decision(store: Store, order: Order) -> None:
    meant = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    wrong = [code(WRONG_ENTRY, "Incorrect worklist entry selected")]
    act_for_others(store)
    create(store, creation(order.study_instance_uid))
    reported = ending("DISCONTINUED", PerformedProcedureStepDiscontinuationReasonCodeSequence=wrong)
    change(store, reported, caller=SECOND)
    store.write(step_links.link, "1.2.3", meant.id, REGISTRAR, CLINIC)
    remark = Dataset()
    remark.PerformedProcedureStepDescription = "колено"
    assert change(store, remark).Status == Status.SUCCESS  # the end that it did not tell itself is open to its word
    assert now(store, meant).state is OrderState.DISCONTINUED
    assert change(store, ending("DISCONTINUED")).Status == Status.SUCCESS  # for no such reason
    assert now(store, meant).state is OrderState.DISCONTINUED


# A workstation with two AE titles ends under the one what it began under the other; so may a stranger by mistake.
def test_what_another_device_ends_is_open_to_the_word_of_the_one_that_began(store: Store, order: Order) -> None:
    act_for_others(store)
    create(store, creation(order.study_instance_uid))
    assert change(store, ending(), caller=SECOND).Status == Status.SUCCESS
    assert now(store, order).state is OrderState.COMPLETED
    with store.read() as reader:
        assert outbox.has(reader, order.id, OutboxKind.IMAGES)

    running = Dataset()
    running.PerformedProcedureStepStatus = "IN PROGRESS"
    assert change(store, running).Status == Status.SUCCESS
    assert now(store, order).state is OrderState.IN_PROGRESS
    with store.read() as reader:
        assert not outbox.has(reader, order.id, OutboxKind.IMAGES)  # the region is not told what is not so

    assert change(store, ending()).Status == Status.SUCCESS
    assert now(store, order).state is OrderState.COMPLETED
    assert change(store, ending("DISCONTINUED"), caller=SECOND).Status == Status.PROCESSING_FAILURE
    assert now(store, order).state is OrderState.COMPLETED
    with store.read() as reader:
        assert outbox.has(reader, order.id, OutboxKind.IMAGES)


# 22. Read-then-insert races under parallel N-CREATE answered with an internal error.
def test_parallel_creates_are_each_answered_as_one_after_the_other(
    server: DicomServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    answers: list[int] = []
    ready, written = threading.Barrier(8), threading.Barrier(8)
    write = store.write

    def together(verb: Callable[[Tx], Any]) -> Any:
        written.wait(30)  # whatever is read before writing, all have read before any of them writes
        return write(verb)

    monkeypatch.setattr(store, "write", together)

    def report(number: int) -> None:
        with associated(server.port, ModalityPerformedProcedureStep) as assoc:
            ds = creation(order.study_instance_uid, PatientID=f"{number % 2}")
            ready.wait(30)
            status, _ = assoc.send_n_create(ds, ModalityPerformedProcedureStep, "1.2.3")
            answers.append(int(status.Status))

    threads = [threading.Thread(target=report, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(answers) == [Status.SUCCESS] * 4 + [Status.DUPLICATE_SOP_INSTANCE] * 4
    with store.read() as reader:
        assert reader.value("SELECT count(*) FROM performed_step") == 1
        assert reader.value("SELECT count(*) FROM audit WHERE action = 'start'") == 1


# 22. And so did parallel steps of one order: none of them may be lost.
def test_parallel_steps_of_one_order_are_all_kept(store: Store, order: Order) -> None:
    threads = [
        threading.Thread(target=create, args=(store, creation(order.study_instance_uid), f"1.2.{n}"))
        for n in range(1, 9)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    with store.read() as reader:
        assert len(schedule.performed_steps(reader, [order.id])[order.id]) == 8


# ApiMount the list: what cannot be encoded any more must not cost the rest of what is asked back.
def test_a_step_full_of_oddities_can_still_be_read_back(store: Store) -> None:
    odd = creation(PatientName="\\\\", Modality="D" * 40)
    odd.add_new(Tag("EntranceDoseInmGy"), "LO", "много")
    odd.add_new(0x00091001, "LO", "private")
    create(store, odd)
    status, ds = service.retrieve("1.2.3", [], CALLER, registered(store, CALLER), store)
    assert isinstance(ds, Dataset)
    assert (status.Status, ds.Modality) == (Status.SUCCESS, "D" * 40)
    with store.read() as reader:
        assert performed.get(reader, "1.2.3") is not None


@pytest.mark.slow
# A message goes to the store without a thread that waits for it; whoever hangs up meanwhile gets no answer, and the
# others are not in the way.
def test_a_device_that_closes_before_its_answer_does_not_affect_others(
    server: DicomServer, store: Store, order: Order
) -> None:
    message = (creation(order.study_instance_uid), ModalityPerformedProcedureStep, "1.2.3")
    entered, go_on = threading.Event(), threading.Event()

    def slow(tx: Tx) -> None:
        entered.set()
        go_on.wait(20)

    waiting = store.submit(slow)
    assert entered.wait(10)
    with associated(server.port, str(ModalityPerformedProcedureStep)) as assoc:
        assoc.dimse_timeout = 0.5
        answered, _ = assoc.send_n_create(*message)
        assert "Status" not in answered  # it has hung up
    with associated(server.port, str(Verification)) as other:
        assert other.send_c_echo().Status == Status.SUCCESS  # while the store is busy
    go_on.set()
    waiting.result(20)
    store.write(lambda tx: None)
    with store.read() as reader:
        assert performed.get(reader, "1.2.3") is not None  # taken all the same, and known when it is repeated
    with associated(server.port, str(ModalityPerformedProcedureStep)) as again:
        answered, _ = again.send_n_create(*message)
        assert answered.Status == Status.SUCCESS


# A dose of NaN made text that no SQL function reads, and one query of it took the whole board away.
def test_an_endless_number_in_a_message_takes_nothing_from_the_board(store: Store, order: Order) -> None:
    reported = on_the_wire(ending()) | json_model.read(struct.pack("<HHL", 0x0040, 0x8302, 4) + b"NaN ", True)
    for uid in ("8.8.8", "9.9.9"):
        pending = service.change(reported, uid, CALLER, registered(store, CALLER), CLINIC)
        assert pending.status(pending.submit(store)).Status == Status.NO_SUCH_SOP_INSTANCE
    old = """UPDATE performed_step_message SET attributes = '{"00408302": NaN}' WHERE sop_instance_uid = '8.8.8'"""
    with store.read() as reader:
        assert reader.value("SELECT min(json_valid(attributes)) FROM performed_step_message") == 1
    store.write(lambda tx: tx.run(old))
    with store.read() as reader:
        assert [each.sop_instance_uid for each in board.orphans(reader, order.authored_on)] == ["9.9.9", "8.8.8"]


def test_thousands_of_faults_in_a_message_are_a_few_words(store: Store) -> None:
    create(store, creation())
    reported = {"00400340": {"vr": "SQ", "Value": [{} for _ in range(29_000)]}}
    with at_most():
        problems = rules.TABLE.change_problems(reported, {}, rules.keywords(reported))
    assert len(problems) == step_rules.MAX_PROBLEMS


@pytest.mark.slow
# The store may hang on its disk: a device that learns nothing would wait for ever, and its place with it.
def test_an_answer_that_does_not_come_ends_the_association(store: Store, order: Order) -> None:
    message = (creation(order.study_instance_uid), ModalityPerformedProcedureStep, "1.2.3")
    go_on = threading.Event()
    waiting = store.submit(lambda tx: go_on.wait())
    with (
        serving(store, answer_timeout=0.5) as server,
        associated(server.port, str(ModalityPerformedProcedureStep)) as assoc,
    ):
        assoc.dimse_timeout = None  # it is the port that ends it, for the device waits for ever
        try:
            answered, _ = assoc.send_n_create(*message)
            assert "Status" not in answered
            wait_until(lambda: assoc.is_aborted)
        finally:
            go_on.set()
        waiting.result(DEADLINE)
        with associated(server.port, str(ModalityPerformedProcedureStep)) as again:
            answered, _ = again.send_n_create(*message)
            assert answered.Status == Status.SUCCESS  # it was taken after all: the repetition is known as one
    assert outcomes(store) == ["accepted", "repeated"]
