"""Forwards modalities' messages about performed steps (MPPS, PS3.4 Annex F) to other nodes: a PACS, a RIS.

What the device was answered with success for goes on, in the order in which it was taken, as often as needed; nothing
is lost by a power cut, and nothing that the modality does waits for a node. A message that a node refuses is noted with
the device, and the next one follows.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import ModalityPerformedProcedureStep  # type: ignore[attr-defined]

from broker.dicom.codec import charset, json_model
from broker.dicom.scu import no_delay
from broker.store.database import Store, Tx
from broker.store.tables import devices
from broker.store.tables.studies import mpps_nodes
from broker.store.tables.studies.mpps_nodes import StoredMessage

log = logging.getLogger(__name__)

TIMEOUT = 15.0  # seconds that a node has for an answer
LONGEST = 20.0  # seconds that one look may take
FIRST_WAIT, LONGEST_WAIT = 5.0, 300.0  # seconds between attempts in vain, doubled each time
MOST_IMAGES = 1_000_000  # references that one message may name
_DUPLICATE = 0x0111  # PS3.7 C.4.2: duplicate SOP Instance
_PROCESSING_FAILURE = 0x0110  # with it a node answers a change of a step that has ended (PS3.4 F.7.2.2.2)
_ENDED = 0xA506  # Error ID of that failure, where the node says that it is this
_WARNINGS = (0x0001, 0x0107, 0x0116)  # PS3.7 C.4: done, with a remark
# The node cannot take anything now: PS3.7 C.4, resource limitation.
_LATER = (0x0213,)
TRIES = 3  # of a message at which a node fails without a reason, perhaps for its database is down


@dataclass(frozen=True, slots=True)
class MppsNode:
    """Where a node listens, and its AE title."""

    ae_title: str
    host: str
    port: int


class MppsForwarder:
    """Forwards to one node; made once. `monotonic` gives seconds, for tests."""

    def __init__(
        self, store: Store, node: MppsNode, ae_title: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._node, self._ae_title, self._monotonic = store, node, ae_title, monotonic
        self._next_at = 0.0  # by `monotonic`

    @property
    def name(self) -> str:
        """The AE title of the node."""
        return self._node.ae_title

    def look(self) -> int:
        """Forward what waits, unless the node is being left alone; return how many messages it has taken."""
        if self._monotonic() < self._next_at:
            return 0
        with self._store.read() as reader:
            is_known = mpps_nodes.get(reader, self._node.ae_title) is not None
            waits = mpps_nodes.following(reader, self._node.ae_title) is not None
        if not is_known:  # what comes from now on is forwarded, so nothing waits
            self._store.write(mpps_nodes.add, self._node.ae_title)
            name = self._node.ae_title
            log.info(
                "MPPS for %s: begins now; `worklist-broker forward %s --since ...` adds what was before", name, name
            )
        return self._forward() if waits else 0

    def _forward(self) -> int:
        taken, until = 0, self._monotonic() + LONGEST
        assoc = self._associate()
        if isinstance(assoc, str):
            self._fail(assoc)
            return 0
        try:
            while self._monotonic() < until:
                with self._store.read() as reader:
                    message = mpps_nodes.following(reader, self._node.ae_title)
                if message is None:
                    break
                problem = self._send(assoc, message)
                if problem:
                    self._fail(problem)
                    break
                taken += 1
        finally:
            if assoc.is_established:
                assoc.release()
            elif assoc.is_alive():
                assoc.abort()
        return taken

    def _send(self, assoc: Association, message: StoredMessage) -> str:
        """Send a message; return what was in vain about it, or "" if the node needs it no more."""
        name = self._node.ae_title
        with self._store.read() as reader:
            position = mpps_nodes.get(reader, name)
        was_sent = position is not None and position.sending_id == message.id
        tries = position.attempts if position else 0
        self._store.write(mpps_nodes.begin, name, message.id)
        ds = dataset(message)
        try:
            if message.operation == "N-CREATE":
                answer, _ = assoc.send_n_create(ds, ModalityPerformedProcedureStep, message.sop_instance_uid)
            else:
                answer, _ = assoc.send_n_set(ds, ModalityPerformedProcedureStep, message.sop_instance_uid)
        except (RuntimeError, ValueError, OSError) as error:
            if assoc.is_established:  # the message cannot be written: no attempt will do better
                self._refused(message, f"cannot be encoded: {type(error).__name__}")
                return ""
            return f"the association ended: {error}"
        if "Status" not in answer:
            return "no answer"
        status = int(answer.Status)
        may_pass = status == _PROCESSING_FAILURE and answer.get("ErrorID") != _ENDED and tries + 1 < TRIES
        if status in _LATER or (may_pass and not was_sent):
            if not was_sent:  # else an attempt before may have been taken, although its answer was lost
                self._store.write(mpps_nodes.was_not_taken, name)
            return f"it answered {status:04X}"
        # After a lost answer these say that it was taken the first time.
        is_known = was_sent and status in (_DUPLICATE, _PROCESSING_FAILURE)
        if status == 0 or status in _WARNINGS or is_known:
            self._store.write(mpps_nodes.advance, name, message.id)
            log.info("%s for %s forwarded to %s", message.operation, message.sop_instance_uid, name)
            return ""
        self._refused(message, f"{status:04X} {answer.get('ErrorComment', '')}".strip())
        return ""

    def _refused(self, message: StoredMessage, why: str) -> None:
        """Note that a node refuses a message, and go on behind it."""
        name, text = self._node.ae_title, f"{self._node.ae_title} refused {message.operation}: {why}"
        log.warning("%s for %s: %s", message.operation, message.sop_instance_uid, text)

        def note(tx: Tx) -> None:
            mpps_nodes.advance(tx, name, message.id)
            devices.note(tx, message.ae_title, "mpps_not_forwarded", text)

        self._store.write(note)

    def _associate(self) -> Association | str:
        """Return an association with the node, or why there is none."""
        ae = AE(ae_title=self._ae_title)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = TIMEOUT
        ae.add_requested_context(ModalityPerformedProcedureStep)
        node = self._node
        try:
            assoc = ae.associate(node.host, node.port, ae_title=node.ae_title, evt_handlers=no_delay.HANDLERS)
        except (OSError, RuntimeError, ValueError) as error:
            return f"cannot connect: {error}"
        if assoc.is_established and assoc.accepted_contexts:
            return assoc
        if assoc.rejected_contexts:
            return "it takes no MPPS"
        return "it rejects us" if assoc.is_rejected else f"nothing answers at {node.host}:{node.port}"

    def _fail(self, problem: str) -> None:
        name = self._node.ae_title
        self._store.write(mpps_nodes.note_failure, name, problem)
        with self._store.read() as reader:
            position = mpps_nodes.get(reader, name)
        attempts = position.attempts if position else 1
        wait = min(FIRST_WAIT * 2 ** min(attempts - 1, 10), LONGEST_WAIT)
        self._next_at = self._monotonic() + wait
        if attempts == 1:  # one line per change of state
            log.warning("MPPS for %s: %s; next attempt in %.0f s", name, problem, wait)


def forget_others(store: Store, nodes: Iterable[MppsNode]) -> None:
    """Forget the nodes that are not configured any more: one that comes back does not get what was in between."""
    for name, waiting in store.write(mpps_nodes.retain, {each.ae_title for each in nodes}):
        log.warning("MPPS for %s: no longer configured, %d messages are not forwarded", name, waiting)


def dataset(message: StoredMessage) -> Dataset:
    """Return a message as a dataset, in UTF-8 where its letters need that, with all its image references."""
    attributes, _ = json_model.unpacked(message.attributes, MOST_IMAGES)
    ds = json_model.dataset(attributes)
    if not json.dumps(attributes, ensure_ascii=False).isascii():
        ds.SpecificCharacterSet = charset.UTF_8
    return ds
