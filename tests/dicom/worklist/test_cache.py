"""What is kept of worklist answers is never told otherwise than it would be worked out: byte for byte, always.

The slow way is `worklist.find` and the library's encoder; the fast one is whatever `services` gives.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from broker.dicom.codec import decoding
from broker.dicom.devices.registry import Caller
from broker.dicom.services import DicomServices
from broker.dicom.statuses import Status
from broker.dicom.upper_layer.answering import Reply, Request, list_wires, wires
from broker.dicom.upper_layer.dimse.command_set import C_FIND, CommandSet
from broker.dicom.upper_layer.negotiation import AcceptedContext
from broker.dicom.worklist import cache, response, service
from broker.dicom.worklist.cache import CachedResponse, CacheKey, WorklistCache
from broker.domain.clinic.devices import Device
from broker.domain.messages import OutboxKind
from broker.domain.orders import Order
from broker.domain.patients.people import Patient, PersonName
from broker.domain.studies.performed import PerformedState, PerformedStep
from broker.store.database import Store, Tx
from broker.store.tables import devices, orders, outbox
from broker.store.tables import worklist as stored
from broker.store.tables.studies import performed, performed_links
from broker.workflow import patient_merge
from broker.workflow.referrals import referrals
from tests.dicom.codec.encoding import encoded
from tests.peers import worklist_corpus as corpus
from tests.support import factory
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR
from tests.support.worklist_query import find, identifier

WORKLIST = "1.2.840.10008.5.1.4.31"
NAME = "Клиника на Заречной"
ARM = Device("ARM_3", "С-дуга", "DX")
NAMES = tuple(f"Петров{letter * 2}" for letter in "абвгдежзик")


@pytest.fixture
def services(store: Store) -> DicomServices:
    return DicomServices("WORKLIST", store, CLINIC, NAME)


def request(query: Dataset, calling: str = "XRAY_14", implicit: bool = True) -> Request:
    command = CommandSet(C_FIND, 1, True, WORKLIST)
    return Request(calling, "10.0.0.1", AcceptedContext(1, WORKLIST, implicit), command, encoded(query, implicit))


def slowly(store: Store, asked: Request) -> bytes:
    """Answer without any memory."""
    with store.read() as reader:
        device = devices.get(reader, asked.calling)
    assert device is not None
    query = decoding.decode(asked.dataset, asked.context.implicit, fallback=device.fallback_charset)
    caller = Caller(asked.calling, asked.address)
    reported = find(query, caller, store, CLINIC, NAME, noted=False)
    implicit = asked.context.implicit
    replies = [
        Reply(each.status, encode(each.identifier, implicit, True) if each.identifier else None) for each in reported
    ]
    return b"".join(data for data, _ in wires(asked, replies, 16384))


def quickly(services: DicomServices, asked: Request) -> tuple[bytes, bool]:
    """Answer as the port does; say whether that came from memory as a whole."""
    ready = services.at_once(asked)
    if ready is None:
        return b"".join(data for data, _ in wires(asked, services.answer(asked), 16384)), False
    assert isinstance(ready, CachedResponse)
    return b"".join(list_wires(asked, ready, 16384)), True


def settle(store: Store) -> None:
    store.write(lambda tx: None)  # what was submitted before has been committed


def register(store: Store, name: str = "Кузнецова", **changes: Any) -> Order:
    patient = replace(KUZNETSOVA, name=PersonName(name, "Марина", "Петровна"), snils="", policy="")
    return store.write(referrals.register, factory.draft(patient=patient, **changes), REGISTRAR, CLINIC)


def everything() -> Dataset:
    return corpus.query({})


@pytest.mark.parametrize("implicit", [True, False])
def test_the_same_question_is_answered_from_memory_and_alike(
    services: DicomServices, store: Store, implicit: bool
) -> None:
    for number in range(5):
        register(store, NAMES[number])
    asked = request(everything(), implicit=implicit)
    expected = slowly(store, asked)
    assert quickly(services, asked) == (expected, False)
    assert quickly(services, asked) == (expected, True)
    settle(store)  # that the device has these items on its list is a change, but not one of the list
    assert quickly(services, asked) == (expected, True)


def test_an_answer_for_the_number_of_a_card_is_not_remembered_over_its_merge(
    services: DicomServices, store: Store
) -> None:
    one = register(store, NAMES[0])
    two = register(store, NAMES[1])
    store.write(referrals.cancel, two.id, two.revision, "", REGISTRAR, CLINIC)
    asked = request(corpus.query({"PatientID": two.patient.patient_id}))
    empty, _ = quickly(services, asked)
    assert quickly(services, asked) == (empty, True)
    cards = one.patient.stored_id, two.patient.stored_id
    trail = store.write(patient_merge.merge, *cards, (), (1, 1), REGISTRAR, CLINIC)
    found, _ = quickly(services, asked)
    assert found == slowly(store, asked) != empty
    store.write(patient_merge.undo_merge, trail.id, REGISTRAR, CLINIC)
    assert quickly(services, asked)[0] == empty


@pytest.mark.slow
def test_every_query_of_the_corpus_is_answered_alike(services: DicomServices, store: Store) -> None:
    start = factory.soon()
    for number in range(40):
        register(
            store,
            corpus.FAMILIES[number % 7],
            start=start + timedelta(minutes=number),
            station_ae_titles=("XRAY_14", "FLG_12") if number % 3 else ("FLG_12",),
        )
    known = 0
    for name, query in corpus.queries(150):
        for calling in ("XRAY_14", "FLG_12"):
            asked = request(query, calling)
            expected = slowly(store, asked)
            for _ in range(3):
                reported, from_memory = quickly(services, asked)
                known += from_memory
                assert reported == expected, name
                settle(store)
    assert known > 200


def _amend(store: Store, order: Order, chance: random.Random) -> None:
    draft = factory.draft(
        patient=order.patient, comment=f"иначе {chance.random()}", station_ae_titles=("XRAY_14", "FLG_12")
    )
    store.write(referrals.amend, order.id, order.revision, draft, REGISTRAR, CLINIC)


def _cancel(store: Store, order: Order, chance: random.Random) -> None:
    store.write(referrals.cancel, order.id, order.revision, "ошибка", REGISTRAR, CLINIC)


def _adjust(store: Store, order: Order, chance: random.Random) -> None:
    changes: list[dict[str, Any]] = [
        {"charset": chance.choice(["auto", "ISO_IR 144", "latin"])},
        {"longest": chance.choice([8, 16, 64])},
        {"own_only": chance.random() < 0.5},
        {"closed_hours": chance.choice([0, 5])},
        {"fallback_charset": chance.choice(["ISO_IR 144", "windows-1251"])},
        {"name": f"Рентген {chance.randrange(9)}", "room": f"каб. {chance.randrange(9)}"},
    ]
    device = replace(factory.DEVICES[chance.randrange(2)], **chance.choice(changes))
    store.write(lambda tx: devices.put(tx, device))


def _state(store: Store, order: Order, chance: random.Random) -> None:
    state = chance.choice(["SCHEDULED", "STARTED", "COMPLETED", "DISCONTINUED"])
    store.write(lambda tx: tx.run("UPDATE scheduled_step SET state = ? WHERE order_id = ?", [state, order.id]))


def _import(store: Store, order: Order, chance: random.Random) -> None:
    attributes = {"top": {"00100030": {"vr": "DA", "Value": [f"19{chance.randrange(10, 99)}0101"]}}}
    store.write(lambda tx: orders.set_attributes(tx, order.id, attributes))


def _rename(store: Store, order: Order, chance: random.Random) -> None:
    store.write(lambda tx: tx.run("UPDATE patient SET allergies = ? WHERE id = ?", [f"йод {chance.randrange(9)}", 1]))


def _register(store: Store, order: Order, chance: random.Random) -> None:
    register(store, chance.choice(NAMES), station_ae_titles=("XRAY_14", "FLG_12"))


def _move(store: Store, order: Order, chance: random.Random) -> None:
    start = order.steps[0].start + timedelta(days=chance.choice([-1, 0, 1]), minutes=chance.randrange(60))
    stations = chance.choice([("XRAY_14",), ("FLG_12",), ("ARM_3",), ("XRAY_14", "FLG_12")])
    store.write(lambda tx: orders.reschedule(tx, order.steps[0].id, start, stations))


def _begin(store: Store, order: Order, chance: random.Random) -> None:
    """Let one of two stations begin a step, or take that back: the other one sees it no more, or again."""
    uid, step_id = f"1.2.{chance.randrange(1, 4)}", order.steps[0].id
    step = PerformedStep(uid, chance.choice(["XRAY_14", "FLG_12"]), PerformedState.IN_PROGRESS, None)

    def perform(tx: Tx) -> None:
        found = performed.get(tx, uid)
        if found is None:
            performed_links.link(tx, performed.add(tx, step), step_id, "test")
        elif chance.random() < 0.5:
            performed_links.unlink(
                tx, found.stored_id, [scheduled for _, scheduled in performed_links.linked_steps(tx, found.stored_id)]
            )
        else:
            performed_links.link(tx, found.stored_id, step_id, "test")

    store.write(perform)


def _number(store: Store, order: Order, chance: random.Random) -> None:
    store.write(lambda tx: orders.set_bus_accession_number(tx, order.id, f"R{order.id}{chance.randrange(9)}"))


def _on_other_stations(store: Store, order: Order, chance: random.Random) -> None:
    register(store, chance.choice(NAMES), station_ae_titles=("ARM_3",))


CHANGES: list[Callable[[Store, Order, random.Random], None]] = [
    _amend,
    _cancel,
    _adjust,
    _state,
    _import,
    _rename,
    _register,
    _move,
    _begin,
    _number,
    _on_other_stations,
]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_after_any_change_the_answer_is_the_present_one(services: DicomServices, store: Store, seed: int) -> None:
    chance = random.Random(seed)
    store.write(lambda tx: devices.put(tx, ARM))
    made = [register(store, NAMES[number], station_ae_titles=("XRAY_14", "FLG_12")) for number in range(6)]
    store.write(lambda tx: tx.run("UPDATE scheduled_step SET state = 'STARTED' WHERE id % 2"))
    eight_bit = identifier({"ScheduledProcedureStepStartDate": ""}, PatientName="Пет*")
    eight_bit.SpecificCharacterSet = "ISO_IR 144"
    questions = [
        request(query, calling, implicit)
        for query in (everything(), identifier(AccessionNumber="", RequestedProcedureCodeSequence=[]), eight_bit)
        for calling in ("XRAY_14", "FLG_12")
        for implicit in (True, False)
    ]
    from_memory = 0
    for _ in range(40):
        with store.read() as reader:
            order = orders.get(reader, chance.choice(made).id)
        assert order is not None
        change = chance.choice(CHANGES)
        if order.state == "scheduled" or change not in (_amend, _cancel):
            change(store, order, chance)
        for asked in chance.sample(questions, 4):
            for _ in range(2):
                reported, remembered = quickly(services, asked)
                assert reported == slowly(store, asked), change.__name__
                from_memory += remembered
    assert from_memory > 100


def test_changes_of_other_devices_do_not_invalidate_an_answer(services: DicomServices, store: Store) -> None:
    store.write(lambda tx: devices.put(tx, ARM))
    order = register(store, station_ae_titles=("XRAY_14",))
    other = register(store, NAMES[1], station_ae_titles=("ARM_3",))
    asked = request(everything())
    expected = slowly(store, asked)
    quickly(services, asked)
    store.write(
        referrals.amend, other.id, 1, factory.draft(comment="иначе", station_ae_titles=("ARM_3",)), REGISTRAR, CLINIC
    )
    register(store, NAMES[2], station_ae_titles=("FLG_12",))
    outbox_of = store.write(lambda tx: outbox.add(tx, order.id, OutboxKind.AMEND))
    store.write(lambda tx: outbox.deliver(tx, outbox_of, {}, "ok"))
    assert quickly(services, asked) == (expected, True)
    register(store, NAMES[3], station_ae_titles=("XRAY_14",))
    reported, from_memory = quickly(services, asked)
    assert (reported, from_memory) == (slowly(store, asked), False)
    assert reported != expected
    for number in range(stored.MAX_CHANGED + 1):  # so many that they are not looked at one by one
        store.write(lambda tx, n=number: orders.set_bus_accession_number(tx, other.id, f"R{n}"))  # type: ignore[misc]
    assert quickly(services, asked) == (reported, False)
    assert quickly(services, asked) == (reported, True)


def test_a_device_that_was_changed_while_its_query_was_read_gets_no_old_answer(store: Store) -> None:
    register(store)
    fast, asked = WorklistCache(store, CLINIC, NAME), CacheKey("XRAY_14", "WORKLIST", True, encoded(everything()))
    revision = fast.revision()
    store.write(lambda tx: devices.put(tx, replace(factory.DEVICES[0], fallback_charset="windows-1251")))
    list(fast.find(everything(), asked, Caller("XRAY_14", "10.0.0.1"), revision))
    assert fast.lookup(asked) is None


def test_what_another_process_changes_is_seen_at_once(services: DicomServices, store: Store) -> None:
    register(store)
    asked = request(everything())
    for _ in range(3):
        quickly(services, asked)
        settle(store)
    assert quickly(services, asked)[1]
    code = (
        "import sys; from pathlib import Path; from broker.store.database import Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "store.write(lambda tx: tx.run(\"UPDATE orders SET comment = 'changed elsewhere'\"))\n"
        "store.close()"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code, str(store.path)], check=True, timeout=30, cwd=root, env=_env(root))
    reported, from_memory = quickly(services, asked)
    assert not from_memory
    assert reported == slowly(store, asked)


def _env(root: Path) -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(root)}


def test_at_midnight_the_day_is_another(services: DicomServices, store: Store) -> None:
    late = factory.soon().replace(hour=23, minute=59, second=30) + timedelta(days=1)
    now = late.replace(tzinfo=CLINIC.zone)
    store.clock = lambda: now
    register(store, start=late - timedelta(hours=12))
    asked = request(everything())
    for _ in range(3):
        quickly(services, asked)
        settle(store)
    assert quickly(services, asked)[1]
    now += timedelta(days=2)
    reported, from_memory = quickly(services, asked)
    assert not from_memory
    assert reported == slowly(store, asked)
    now -= timedelta(days=2)  # and a clock that was set back is no reason to trust what was seen later
    assert quickly(services, asked)[0] == slowly(store, asked)


def test_completed_items_leave_the_list_on_time(services: DicomServices, store: Store) -> None:
    order = register(store)
    store.write(lambda tx: devices.put(tx, replace(factory.DEVICES[0], closed_hours=1)))
    store.write(lambda tx: orders.set_step_state(tx, order.steps[0].id, "COMPLETED"))  # type: ignore[arg-type]
    asked = request(everything())
    for _ in range(4):
        reported, from_memory = quickly(services, asked)
        assert not from_memory
        assert reported == slowly(store, asked)
        settle(store)
    with_it, later = slowly(store, asked), store.clock() + timedelta(hours=1, seconds=1)
    store.clock = lambda: later
    assert quickly(services, asked)[0] == slowly(store, asked) != with_it


def test_only_what_changed_is_written_again(
    services: DicomServices, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [register(store, NAMES[number]) for number in range(10)]
    written: list[int] = []
    real = response.identifier
    monkeypatch.setattr(response, "identifier", lambda *args: written.append(1) or real(*args))  # type: ignore[func-returns-value]
    asked = request(everything())
    quickly(services, asked)
    settle(store)
    assert len(written) == 10
    quickly(services, asked)
    assert len(written) == 10
    store.write(referrals.amend, made[3].id, 1, factory.draft(comment="иначе"), REGISTRAR, CLINIC)
    quickly(services, asked)
    assert len(written) == 11


@pytest.fixture
def small(store: Store) -> WorklistCache:
    return WorklistCache(store, CLINIC, NAME, most_bytes=60_000)


def test_memory_is_bounded_and_huge_answers_are_not_kept(small: WorklistCache, store: Store) -> None:
    for number in range(8):
        register(store, NAMES[number])
    caller = Caller("XRAY_14", "10.0.0.1")
    for number in range(200):
        query = identifier(PatientName=f"{NAMES[number % 8]}*", PatientID="", AccessionNumber="*" * (number // 8 + 1))
        query.SpecificCharacterSet = "ISO_IR 192"
        asked = CacheKey("XRAY_14", "WORKLIST", True, encoded(query))
        assert list(small.find(query, asked, caller, small.revision()))
        assert small._size <= 60_000
    assert 0 < len(small._entries) < 20
    query = everything()
    asked = CacheKey("XRAY_14", "WORKLIST", True, encoded(query))
    list(small.find(query, asked, caller, small.revision()))
    settle(store)
    list(small.find(query, asked, caller, small.revision()))
    assert small.lookup(asked) is None  # eight items of five thousand bytes are more than a quarter


def test_a_list_that_is_cut_or_refused_is_not_kept(
    services: DicomServices, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MOST", 3)
    for number in range(5):
        register(store, NAMES[number])
    for query in (everything(), identifier({"ScheduledProcedureStepStartDate": "20260230"})):
        asked = request(query)
        for _ in range(3):
            reported, from_memory = quickly(services, asked)
            assert (reported, from_memory) == (slowly(store, asked), False)
            settle(store)


def test_a_device_that_left_in_the_middle_leaves_nothing_behind(services: DicomServices, store: Store) -> None:
    for number in range(5):
        register(store, NAMES[number])
    asked = request(everything())
    settle(store)
    replies = services.answer(asked)
    next(replies)
    replies.close()  # type: ignore[attr-defined]
    settle(store)
    assert services.at_once(asked) is None


def test_answers_from_memory_are_noted_too(services: DicomServices, store: Store) -> None:
    register(store, "Қасымова")
    store.write(lambda tx: devices.put(tx, replace(factory.DEVICES[0], charset="ISO_IR 144")))
    asked = request(everything())
    for _ in range(3):
        quickly(services, asked)
        settle(store)
    store.write(lambda tx: tx.run("DELETE FROM device_contact"))
    store.write(lambda tx: tx.run("DELETE FROM device_note"))
    quickly(services, asked)
    services._contacts._last.clear()  # a second later
    assert quickly(services, asked)[1]
    settle(store)
    with store.read() as reader:
        assert reader.value("SELECT summary FROM device_contact WHERE service = 'worklist'") == "1"
        assert [note.kind for note in devices.notes(reader)["XRAY_14"]] == ["charset"]


def test_what_cannot_be_encoded_is_answered_as_a_failure(
    services: DicomServices, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(store)
    monkeypatch.setattr(cache, "encode", lambda *_: None)
    [reply] = services.answer(request(everything()))
    assert not isinstance(reply.status, int)
    assert reply.status.Status == Status.UNABLE_TO_PROCESS


def test_patients_are_kept_apart(services: DicomServices, store: Store) -> None:
    other = Patient(PersonName("Иванов", "Пётр"), KUZNETSOVA.birth_date, KUZNETSOVA.sex)
    register(store)
    store.write(referrals.register, factory.draft(patient=other, station_ae_titles=("FLG_12",)), REGISTRAR, CLINIC)
    one, two = (request(everything(), calling) for calling in ("XRAY_14", "FLG_12"))
    for _ in range(4):
        assert quickly(services, one)[0] == slowly(store, one) != slowly(store, two) == quickly(services, two)[0]
        settle(store)
