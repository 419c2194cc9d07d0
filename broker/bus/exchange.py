"""Delivers the outbox to the regional bus: in order per order, once, through every fault of the line.

One sender. A message is rendered from present data, noted as perhaps sent, sent with no transaction open, and settled
in one transaction. A refused message waits for a person while the others go on; a bad line ends the run. Nothing here
makes a resource or reads HTTP.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from broker import failpoint
from broker.bus.answers import Answer, Delivered, Parked, Paused, Retry
from broker.bus.client import BusClient
from broker.bus.dialect import Dialect, bears_number, bundle_references, found_tasks, n3, task_references
from broker.bus.pace import Pace
from broker.bus.profile import Profile, Resource
from broker.bus.resources import cancel_parameters, images_bundle, order_bundle, search_parameters, task_number
from broker.domain.identifiers import ACCESSION_NUMBER_LENGTH
from broker.domain.model import (
    BusReferences,
    Order,
    OrderState,
    OutboxKind,
    OutboxRow,
    OutboxState,
    PerformedState,
    PerformedStep,
    StepReference,
)
from broker.store import journal, orders, outbox, performed
from broker.store.database import Reader, Store, Tx

log = logging.getLogger(__name__)

NO_BIRTH_DATE = "date of birth unknown"


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did. `stopped` says why it ended before the queue was empty; empty when it was not."""

    delivered: int = 0
    parked: int = 0
    stopped: str = ""


@dataclass(frozen=True, slots=True)
class _Letter:
    """A message with everything that it is made of, read in one snapshot."""

    row: OutboxRow
    order: Order
    references: BusReferences
    performed: tuple[PerformedStep, ...]

    @property
    def number(self) -> str:
        return task_number(self.order, self.row.kind)


@dataclass(frozen=True, slots=True)
class _Accepted:
    """The bus has it, under these ids: name -> id, as `outbox.deliver` keeps them."""

    ids: dict[str, str]
    evidence: str = ""


_Outcome = _Accepted | Retry | Parked | Paused


class Exchange:
    """The one sender. `rate` is requests per minute; `monotonic` and `chance` are `Pace`'s, for tests."""

    def __init__(
        self,
        store: Store,
        client: BusClient,
        profile: Profile,
        rate: int,
        *,
        dialect: Dialect = n3,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._client = client
        self._profile = profile
        self._pace = Pace(rate, monotonic, chance)
        self._dialect = dialect
        self._running = threading.Lock()
        self._stopping = threading.Event()
        self._noted: tuple[str, str] | None = None  # the channel's state and reason as written last in this run

    def deliver(self) -> Summary:
        """Send what can be sent now. A second caller at the same time goes away at once."""
        if not self._running.acquire(blocking=False):
            return Summary(stopped="another run")
        try:
            return self._run()
        finally:
            self._running.release()

    def stop(self) -> None:
        """End the run: no further message begins, and the one under way is cut off, to be looked up later."""
        self._stopping.set()
        self._client.hang_up()

    def _run(self) -> Summary:
        self._noted = None
        self._heed_people()
        delivered = parked = 0
        while letters := self._heads():
            for row in letters:
                if reason := self._hindrance(row):
                    return Summary(delivered, parked, reason)
                letter = self._read(row.seq)
                if letter is None:
                    continue
                outcome = self._send(letter)
                self._settle(letter, outcome)
                delivered += isinstance(outcome, _Accepted)
                parked += isinstance(outcome, Parked)
        return Summary(delivered, parked)

    def _heed_people(self) -> None:
        """Try at once when a person has set the channel to `ok` while it was waiting or paused."""
        if self._pace.waiting:
            with self._store.read() as reader:
                state = outbox.channel_state(reader)
            if state == "ok":
                self._pace.forgive()

    def _heads(self) -> list[OutboxRow]:
        with self._store.read() as reader:
            rows = outbox.heads(reader)
        return self._pace.ready(rows)

    def _hindrance(self, row: OutboxRow) -> str:
        """Say why nothing can be sent now; empty if it can."""
        if self._stopping.is_set():
            return "stopping"
        if self._pace.waiting:
            return "waiting"
        # A look-up and the POST after it both count, so that together they stay within the minute.
        return "" if self._pace.has_room(2 if row.uncertain else 1) else "rate"

    def _read(self, seq: int) -> _Letter | None:
        with self._store.read() as reader:
            row = outbox.get(reader, seq)
            order = orders.get(reader, row.order_id) if row else None
            if row is None or order is None or row.state is not OutboxState.PENDING:
                return None
            steps = _performed(reader, order) if row.kind is OutboxKind.IMAGES else ()
            return _Letter(row, order, outbox.references(reader, order.id), steps)

    # ---- sending ----

    def _send(self, letter: _Letter) -> _Outcome:
        """Send a message, or find that the bus has it already."""
        if letter.row.kind is OutboxKind.CANCEL:
            return self._cancel(letter)
        if letter.row.uncertain and (known := self._look_up(letter)):
            return known
        if letter.order.patient.birth_date is None:
            return Parked(f"{NO_BIRTH_DATE}: the region's patient index refuses a patient without one")
        bundle = self._render(letter)
        answer = self._post(letter, lambda: self._client.transaction(bundle))
        if not isinstance(answer, Delivered):
            return answer
        if answer.task:
            return self._take_over(letter, answer)
        outcome = _complete(letter.row.kind, bundle_references(answer.resource), answer.evidence)
        return outcome if isinstance(outcome, _Accepted) else self._look_up(letter) or outcome

    def _cancel(self, letter: _Letter) -> _Outcome:
        task = letter.references.task
        if letter.row.uncertain:
            read = self._ask(lambda: self._client.read("Task", task))
            if not isinstance(read, Delivered):
                return replace(read, uncertain=True)
            if read.resource.get("status") == "cancelled":
                return _Accepted({}, read.evidence)
        answer = self._post(letter, lambda: self._client.update_status(cancel_parameters(task)))
        return _Accepted({}, answer.evidence) if isinstance(answer, Delivered) else answer

    def _post(self, letter: _Letter, call: Callable[[], Answer]) -> Answer:
        """Send; from the commit before it on, a crash leads to a look-up."""
        self._store.write(lambda tx: outbox.mark_uncertain(tx, letter.row.seq))
        answer = self._ask(call)
        if isinstance(answer, Delivered):
            failpoint.reach(failpoint.POSTED_NOT_DELIVERED)
        return answer

    def _look_up(self, letter: _Letter) -> _Outcome | None:
        """Ask whether the bus has it; None where it has not."""
        intent = "reflex-order" if letter.row.kind is OutboxKind.IMAGES else "original-order"
        search = search_parameters(letter.number, intent, self._profile)
        answer = self._ask(lambda: self._client.search_tasks(search))
        if not isinstance(answer, Delivered):
            return replace(answer, uncertain=True)
        tasks = found_tasks(answer.resource, letter.number, self._profile)
        if len(tasks) > 1:
            log.error("the bus has order %s %d times", letter.order.accession_number, len(tasks))
        return _complete(letter.row.kind, task_references(tasks[0]), answer.evidence) if tasks else None

    def _take_over(self, letter: _Letter, answer: Delivered) -> _Outcome:
        """Take the ids of the Task that the bus says it has already, if it is ours."""
        read = self._ask(lambda: self._client.read("Task", answer.task))
        if not isinstance(read, Delivered):
            return replace(read, uncertain=True)
        if not bears_number(read.resource, letter.number, self._profile):
            reason = "not a FHIR answer: the Task that is said to be there bears another number"
            return Parked(reason, evidence=answer.evidence)
        return _complete(letter.row.kind, task_references(read.resource), answer.evidence)

    def _render(self, letter: _Letter) -> Resource:
        if letter.row.kind is OutboxKind.ORDER:
            return self._dialect(order_bundle(letter.order, self._profile))
        made_at = letter.row.created_at  # the same at every attempt, so that the bytes are
        return self._dialect(images_bundle(letter.order, letter.performed, letter.references, self._profile, made_at))

    def _ask(self, call: Callable[[], Answer]) -> Answer:
        self._pace.note_request()
        return call()

    # ---- what became of it ----

    def _settle(self, letter: _Letter, outcome: _Outcome) -> None:
        """Write down what an outcome means for the message and for the line, in one transaction."""
        seq, name = letter.row.seq, f"order {letter.order.accession_number} ({letter.row.kind})"
        match outcome:
            case _Accepted():
                self._pace.answered(seq)
                self._store.write(lambda tx: self._delivered(tx, seq, outcome))
                log.info("%s: delivered", name)
                if len(number := outcome.ids.get("acsn", "")) > ACCESSION_NUMBER_LENGTH:
                    log.error("%s: the bus's number %s is too long for a modality", name, number)
            case Parked():
                self._pace.answered(seq)
                if self._store.write(lambda tx: self._parked(tx, letter, outcome)):
                    # The bus's own words may tell of the patient; they stand on the exchange's screen.
                    log.warning("%s: refused by the bus and set aside", name)
            case Retry():
                wait, alone = self._pace.failed(seq, outcome)
                self._store.write(lambda tx: self._failed(tx, seq, outcome, "" if alone else "waiting", wait))
                log.warning("%s: not delivered: %s; next attempt in %.0f s", name, outcome.reason, wait)
            case Paused():
                wait = self._pace.pause()
                self._store.write(lambda tx: self._failed(tx, seq, outcome, "paused", wait))
                log.error("the exchange is paused: %s", outcome.reason)

    def _delivered(self, tx: Tx, seq: int, outcome: _Accepted) -> None:
        outbox.deliver(tx, seq, outcome.ids, outcome.evidence)
        self._note_channel(tx, "ok")
        tx.announce()

    def _parked(self, tx: Tx, letter: _Letter, outcome: Parked) -> bool:
        """Park, unless the order was amended while the bus was judging its old content; say whether it is parked."""
        seq, now = letter.row.seq, orders.get(tx, letter.order.id)
        still_so = now == letter.order
        cancelled = now is not None and now.state is OrderState.CANCELLED
        if still_so or cancelled:
            outbox.park(tx, seq, outcome.reason, outcome.evidence, uncertain=outcome.uncertain)
            if cancelled:
                outbox.drop_refused(tx, letter.order.id)
        else:
            outbox.retry_later(tx, seq, outcome.reason, outcome.evidence, uncertain=outcome.uncertain)
        self._note_channel(tx, "ok")
        tx.announce()
        return still_so

    def _failed(self, tx: Tx, seq: int, outcome: Retry | Paused, state: str, wait: float) -> None:
        outbox.retry_later(tx, seq, outcome.reason, outcome.evidence, uncertain=outcome.uncertain)
        if state:
            self._note_channel(tx, state, outcome.reason, tx.now + timedelta(seconds=wait))
            tx.announce()

    def _note_channel(self, tx: Tx, state: str, reason: str = "", retry_at: datetime | None = None) -> None:
        """Tell the screens how the line is: once in a run, and when it changes."""
        if self._noted != (state, reason):
            outbox.set_channel(tx, state, reason, retry_at, answered=state == "ok")
            self._noted = (state, reason)


_NEEDED = {
    OutboxKind.ORDER: ("task", "service_request", "patient", "acsn"),
    OutboxKind.IMAGES: ("images_task",),
}


def _complete(kind: OutboxKind, references: BusReferences, evidence: str) -> _Outcome:
    """Take an answer for acceptance only with all ids; otherwise a person decides when to look again."""
    if kind is OutboxKind.IMAGES:
        ids = {"images_task": references.task, "images_report": references.extra.get("DiagnosticReport", "")}
    else:
        ids = {name: getattr(references, name) for name in _NEEDED[kind]}
    if missing := [name for name in _NEEDED[kind] if not ids[name]]:
        return Parked(f"not a FHIR answer: {', '.join(missing)} did not come back", uncertain=True, evidence=evidence)
    return _Accepted({name: id for name, id in ids.items() if id}, evidence)


def _performed(reader: Reader, order: Order) -> tuple[PerformedStep, ...]:
    """Give the completed steps of an order, with the Study Instance UIDs that the modality named for them."""
    card = journal.card(reader, order.accession_number)
    steps = [step for step in card.performed if step.state is PerformedState.COMPLETED] if card else []
    return tuple(
        replace(step, references=_study_uids(performed.attributes(reader, step.sop_instance_uid))) for step in steps
    )


def _study_uids(attributes: dict[str, Any]) -> tuple[StepReference, ...]:
    """Read Study Instance UID (0020,000D) of the Scheduled Step Attributes Sequence (0040,0270), DICOM JSON."""
    items = attributes.get("00400270", {}).get("Value", [])
    named = [item.get("0020000D", {}).get("Value", []) for item in items if isinstance(item, dict)]
    return tuple(StepReference(study_instance_uid=str(values[0])) for values in named if values)
