"""Modalities' messages go on to other nodes: in order, through outages and lost answers, once, and never in circles."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ModalityPerformedProcedureStep,
    Verification,
)

from broker.dicom.codec import decoding, json_model
from broker.dicom.devices.registry import Caller
from broker.dicom.scu import mpps_forwarder, no_delay
from broker.dicom.scu.mpps_forwarder import TRIES, MppsForwarder, MppsNode, forget_others
from broker.dicom.server import DicomServer, PortSettings
from broker.domain.errors import NotFound
from broker.domain.patients.people import PersonName
from broker.domain.studies.performed import PerformedState
from broker.domain.studies.step_rules import PACKED
from broker.store.database import Store
from broker.store.tables.studies import mpps_nodes, performed
from broker.store.tables.studies.mpps_nodes import StoredMessage
from broker.workflow import patient_correction
from broker.workflow.referrals import referrals
from broker.workflow.studies import mpps_backlog
from tests.support import factory
from tests.support.clock import Clock, Seconds
from tests.support.factory import CLINIC, REGISTRAR, SYSTEM
from tests.support.modality import change, create, creation, ending, series

Answer = Callable[[str, Dataset], int]


def take(operation: str, ds: Dataset) -> int:
    return 0


@dataclass
class Ris:
    """A node that takes MPPS, and answers as `answers` says."""

    port: int = 0
    got: list[tuple[str, str, Dataset]] = field(default_factory=list)  # operation, SOP Instance UID, attributes
    answers: Answer = take
    server: Any = None
    dies: bool = False  # instead of the next answer

    def start(self) -> None:
        ae = AE(ae_title="RIS")
        ae.add_supported_context(ModalityPerformedProcedureStep)
        handlers = [(evt.EVT_N_CREATE, self._create), (evt.EVT_N_SET, self._set), *no_delay.HANDLERS]
        self.server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        self.port = self.server.server_address[1]

    def stop(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server = None

    def _create(self, event: evt.Event) -> tuple[int, Dataset]:
        request: Any = event.request
        return self._taken("N-CREATE", request.AffectedSOPInstanceUID, event.attribute_list, event)

    def _set(self, event: evt.Event) -> tuple[int, Dataset]:
        request: Any = event.request
        return self._taken("N-SET", request.RequestedSOPInstanceUID, event.modification_list, event)

    def _taken(self, operation: str, uid: str, ds: Dataset, event: evt.Event) -> tuple[int, Dataset]:
        self.got.append((operation, uid, ds))
        status = self.answers(operation, ds)
        if self.dies:
            self.dies = False
            event.assoc.abort()
        return status, Dataset()

    @property
    def names(self) -> list[tuple[str, str]]:
        return [(operation, uid) for operation, uid, _ in self.got]


@pytest.fixture
def ris() -> Iterator[Ris]:
    node = Ris()
    node.start()
    yield node
    node.stop()


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def forwarder(store: Store, ris: Ris, clock: Seconds) -> MppsForwarder:
    made = MppsForwarder(store, MppsNode("RIS", "127.0.0.1", ris.port), "WORKLIST", clock)
    made.look()  # begins
    return made


def position(store: Store) -> mpps_nodes.NodePosition:
    with store.read() as reader:
        found = mpps_nodes.get(reader, "RIS")
    assert found
    return found


def notes(store: Store) -> list[str]:
    with store.read() as reader:
        return [row["text"] for row in reader.rows("SELECT text FROM device_note WHERE kind = 'mpps_not_forwarded'")]


def test_what_a_device_reports_arrives_as_it_was_in_order(store: Store, ris: Ris, forwarder: MppsForwarder) -> None:
    create(store, creation(), "1.2.1")
    create(store, creation(PatientName="Ли^Энн", PatientID="K-2"), "1.2.2")
    change(store, ending(), "1.2.1")
    assert forwarder.look() == 3
    assert ris.names == [("N-CREATE", "1.2.1"), ("N-CREATE", "1.2.2"), ("N-SET", "1.2.1")]
    first = ris.got[0][2]
    assert (str(first.PatientName), first.PatientID) == ("Кузнецова^Марина", "000001")
    assert first.ScheduledStepAttributesSequence[0].StudyInstanceUID == "1.9.9"
    assert first.PerformedProcedureStepStatus == "IN PROGRESS"
    last = ris.got[2][2]
    assert last.PerformedProcedureStepStatus == "COMPLETED"
    assert last.PerformedSeriesSequence[0].SeriesInstanceUID == series().SeriesInstanceUID
    assert forwarder.look() == 0


def test_an_order_that_is_changed_after_its_step_was_forwarded_changes_nothing_that_a_node_gets(
    store: Store, ris: Ris, forwarder: MppsForwarder
) -> None:
    order = store.write(referrals.register, factory.draft(), REGISTRAR, CLINIC)
    create(store, creation(order.study_instance_uid, PatientID=order.patient.patient_id), "1.2.1")
    assert forwarder.look() == 1
    married = replace(order.patient, name=PersonName("Орлова", "Марина", "Петровна"))
    store.write(patient_correction.correct, married, REGISTRAR, CLINIC, made_seen=[order.id])
    assert forwarder.look() == 0  # a node learns what devices report, and nothing else
    change(store, ending(), "1.2.1")
    assert forwarder.look() == 1
    assert ris.names == [("N-CREATE", "1.2.1"), ("N-SET", "1.2.1")]
    assert "PatientName" not in ris.got[1][2]


def test_what_was_before_a_node_was_configured_does_not_go_there(store: Store, ris: Ris, clock: Seconds) -> None:
    create(store, creation(), "1.2.1")
    late = MppsForwarder(store, MppsNode("RIS", "127.0.0.1", ris.port), "WORKLIST", clock)
    assert late.look() == 0
    create(store, creation(), "1.2.2")
    assert late.look() == 1
    assert ris.names == [("N-CREATE", "1.2.2")]


def test_a_node_that_was_taken_out_and_put_in_again_begins_there(
    store: Store, ris: Ris, clock: Seconds, caplog: pytest.LogCaptureFixture
) -> None:
    node = MppsNode("RIS", "127.0.0.1", ris.port)
    forwarder = MppsForwarder(store, node, "WORKLIST", clock)
    forget_others(store, [node])
    forwarder.look()
    create(store, creation(), "1.2.1")
    forget_others(store, [node])  # a restart loses nothing
    assert forwarder.look() == 1
    assert isinstance(store.clock, Clock)
    store.clock.advance(hours=1)
    out = store.clock()
    create(store, creation(), "1.2.2")
    forget_others(store, [])
    assert "MPPS for RIS: no longer configured, 1 messages are not forwarded" in caplog.text
    assert forwarder.look() == 0
    create(store, creation(), "1.2.3")
    assert forwarder.look() == 1
    assert ris.names == [("N-CREATE", "1.2.1"), ("N-CREATE", "1.2.3")]
    # Unless the operator asks for what was in between.
    assert store.write(mpps_backlog.forward_since, "RIS", out, SYSTEM) == 2
    assert store.write(mpps_backlog.forward_since, "RIS", out + timedelta(days=1), SYSTEM) == 2  # nothing is left out
    assert forwarder.look() == 2
    assert ("N-CREATE", "1.2.2") in ris.names
    with pytest.raises(NotFound):
        store.write(mpps_backlog.forward_since, "OTHER", out, SYSTEM)


def test_an_outage_loses_nothing_and_the_waits_grow(
    store: Store, ris: Ris, forwarder: MppsForwarder, clock: Seconds
) -> None:
    ris.stop()
    create(store, creation(), "1.2.1")
    for attempts, wait in ((1, 5), (2, 10), (3, 20)):
        assert forwarder.look() == 0
        assert position(store).attempts == attempts
        assert "nothing answers" in position(store).problem
        clock.now += wait - 1
        assert forwarder.look() == 0  # left alone meanwhile
        assert position(store).attempts == attempts
        clock.now += 1
    ris.start()
    change(store, ending(), "1.2.1")
    assert forwarder.look() == 2
    assert ris.names == [("N-CREATE", "1.2.1"), ("N-SET", "1.2.1")]
    assert (position(store).attempts, position(store).problem) == (0, "")


def test_a_message_whose_answer_was_lost_is_sent_again_and_counts_once(
    store: Store, ris: Ris, forwarder: MppsForwarder, clock: Seconds
) -> None:
    ris.dies = True
    create(store, creation(), "1.2.1")
    assert forwarder.look() == 0
    assert position(store).sending_id is not None
    ris.answers = lambda operation, ds: 0x0111
    clock.now += 5
    assert forwarder.look() == 1
    assert ris.names == [("N-CREATE", "1.2.1")] * 2
    assert notes(store) == []
    # Of a message that was never tried before, the same answer is a refusal.
    create(store, creation(), "1.2.2")
    forwarder.look()
    assert notes(store) == ["RIS refused N-CREATE: 0111"]


def test_a_message_that_is_refused_is_noted_with_its_device_and_the_next_follows(
    store: Store, ris: Ris, forwarder: MppsForwarder
) -> None:
    ris.answers = lambda operation, ds: 0x0106 if ds.get("PatientID") == "BAD" else 0
    create(store, creation(PatientID="BAD"), "1.2.1")
    create(store, creation(), "1.2.2")
    assert forwarder.look() == 2
    assert ris.names == [("N-CREATE", "1.2.1"), ("N-CREATE", "1.2.2")]
    assert notes(store) == ["RIS refused N-CREATE: 0106"]


def test_a_node_that_is_full_gets_the_same_message_later(
    store: Store, ris: Ris, forwarder: MppsForwarder, clock: Seconds
) -> None:
    ris.answers = lambda operation, ds: 0x0213
    create(store, creation(), "1.2.1")
    assert forwarder.look() == 0
    ris.answers = take
    clock.now += 5
    assert forwarder.look() == 1


def test_what_a_full_node_refuses_afterwards_does_not_count_as_taken(
    store: Store, ris: Ris, forwarder: MppsForwarder, clock: Seconds
) -> None:
    ris.answers = lambda operation, ds: 0x0213
    create(store, creation(), "1.2.1")
    forwarder.look()
    ris.answers = lambda operation, ds: 0x0111
    clock.now += 5
    forwarder.look()
    assert notes(store) == ["RIS refused N-CREATE: 0111"]


def test_a_message_whose_answer_was_lost_stays_so_while_the_node_is_full(
    store: Store, ris: Ris, forwarder: MppsForwarder, clock: Seconds
) -> None:
    ris.dies = True
    create(store, creation(), "1.2.1")
    statuses = [0, 0x0213, 0x0111]
    ris.answers = lambda operation, ds: statuses.pop(0)
    for _ in range(3):
        forwarder.look()
        clock.now += 60
    assert not statuses
    assert notes(store) == []


def test_a_message_at_which_a_node_fails_is_tried_again_before_it_counts_as_refused(
    store: Store, ris: Ris, forwarder: MppsForwarder, clock: Seconds
) -> None:
    ris.answers = lambda operation, ds: 0x0110
    create(store, creation(), "1.2.1")
    forwarder.look()
    assert notes(store) == []
    ris.answers = take
    clock.now += 60
    assert forwarder.look() == 1
    ris.answers = lambda operation, ds: 0x0110
    change(store, ending(), "1.2.1")
    for _ in range(TRIES):
        clock.now += 60
        forwarder.look()
    assert notes(store) == ["RIS refused N-SET: 0110"]
    assert ris.names.count(("N-SET", "1.2.1")) == TRIES


def test_a_node_without_mpps_is_said_to_take_none(store: Store, clock: Seconds) -> None:
    ae = AE(ae_title="RIS")
    ae.add_supported_context(Verification)
    server: Any = ae.start_server(("127.0.0.1", 0), block=False)
    try:
        forwarder = MppsForwarder(store, MppsNode("RIS", "127.0.0.1", server.server_address[1]), "WORKLIST", clock)
        forwarder.look()
        create(store, creation(), "1.2.1")
        assert forwarder.look() == 0
        assert position(store).problem == "it takes no MPPS"
    finally:
        server.shutdown()


def test_what_comes_from_a_node_does_not_go_back_to_it(store: Store, ris: Ris, forwarder: MppsForwarder) -> None:
    create(store, creation(), "1.2.1", Caller("RIS", "127.0.0.1"))
    assert forwarder.look() == 0
    create(store, creation(), "1.2.2")
    assert forwarder.look() == 1
    assert ris.names == [("N-CREATE", "1.2.2")]


def test_two_brokers_that_forward_to_each_other_come_to_rest(store: Store, tmp_path: Any, clock: Seconds) -> None:
    other = factory.open_store(tmp_path / "other.sqlite")
    learning = PortSettings(address="127.0.0.1", port=0, learns_unknown_devices=True)
    servers = [
        DicomServer(replace(learning, ae_title=title), each, CLINIC) for title, each in (("ONE", store), ("TWO", other))
    ]
    for server in servers:
        server.start()
    try:
        one = MppsForwarder(store, MppsNode("TWO", "127.0.0.1", servers[1].port), "ONE", clock)
        two = MppsForwarder(other, MppsNode("ONE", "127.0.0.1", servers[0].port), "TWO", clock)
        for each in (one, two):
            each.look()
        create(store, creation(), "1.2.1")
        change(store, ending(), "1.2.1")
        assert (one.look(), two.look(), one.look()) == (2, 0, 0)
        with other.read() as reader:
            step = performed.get(reader, "1.2.1")
        assert step
        assert (step.state, step.patient_name) == (PerformedState.COMPLETED, "Кузнецова^Марина")
    finally:
        for server in servers:
            server.stop()
        other.close()


@pytest.mark.slow
def test_all_images_of_a_large_study_are_named() -> None:
    images = [f"1.2.3.{number}" for number in range(3000)]
    ds = ending(PerformedSeriesSequence=[series(ReferencedImageSequence=[reference(uid) for uid in images])])
    data = encode(ds, False, True)
    assert data
    attributes = json_model.read(data, False, most_elements=decoding.MOST_MPPS_ELEMENTS, packs=True)
    assert PACKED in json.dumps(attributes)
    sent = mpps_forwarder.dataset(StoredMessage(1, "1.2.1", "N-SET", "XRAY_14", attributes))
    [only] = sent.PerformedSeriesSequence
    assert [each.ReferencedSOPInstanceUID for each in only.ReferencedImageSequence] == images


def reference(uid: str) -> Dataset:
    ds = Dataset()
    ds.ReferencedSOPClassUID, ds.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", uid
    return ds
