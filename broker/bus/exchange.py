"""Delivers the outbox to the regional bus: in order per order, once, through every fault of the line.

One run at a time. A message is rendered from present data, noted as perhaps sent, sent with no transaction open, and
settled in one transaction. Messages of different orders may go beside each other, on a line that has just proved good;
those of one order never do. A refused message waits for a person while the others go on; a bad line ends the run.
Nothing here makes a resource or reads HTTP.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from broker import failpoint
from broker.bus import letters
from broker.bus.answers import Answer, Delivered, Parked, Paused, Retry
from broker.bus.client import BusClient
from broker.bus.dialect import Call, Dialect, bears_number, bundle_references, found_tasks, n3, task_references
from broker.bus.letters import Letter, Paper, Untold
from broker.bus.pace import Pace
from broker.bus.profile import Profile
from broker.bus.resources import encode, order_bundle, task_search
from broker.domain.identifiers import ACCESSION_NUMBER_LENGTH
from broker.domain.model import Actor, ActorKind, Order, OrderState, OutboxKind, OutboxRow
from broker.store import audit, orders, outbox
from broker.store.database import Store, Tx

log = logging.getLogger(__name__)

PROBE_AFTER = 300.0  # seconds of silence after which the bus is asked something, to see that it is there
PROBE_NUMBER = "worklist-broker/probe"  # no order bears it
LOOKED_UP = 2  # requests that an uncertain message may take: a look-up, and the POST after it
BUS = Actor(ActorKind.BUS, "exchange")


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did. `stopped` says why it ended before the queue was empty; empty when it was not."""

    delivered: int = 0
    parked: int = 0
    stopped: str = ""


@dataclass(frozen=True, slots=True)
class _Accepted:
    """The bus has it, under these ids: name -> id, as `outbox.deliver` keeps them.

    `content` is the JSON that it certainly took; empty where it may have been that of an earlier attempt.
    """

    ids: dict[str, str] = field(default_factory=dict)
    evidence: str = ""
    content: str = ""


_Outcome = _Accepted | Retry | Parked | Paused | Untold


class Exchange:
    """The sender. `pace` may be shared with whoever else calls the bus; `lanes` messages may be under way at once."""

    def __init__(
        self,
        store: Store,
        client: BusClient,
        profile: Profile,
        pace: Pace,
        paper: Paper,
        *,
        dialect: Dialect = n3,
        lanes: int = 1,
    ) -> None:
        self._store = store
        self._client = client
        self._profile = profile
        self.pace = pace
        self._paper = paper
        self._dialect = dialect
        self._lanes = lanes
        self._running = threading.Lock()
        self._stopping = threading.Event()
        self._halted = threading.Event()  # within a run: no further message begins
        self._noted: tuple[str, str] | None = None  # the channel's state and reason as written last in this run
        self._taken = threading.local()  # `left`: requests that were counted for this thread's message beforehand

    def deliver(self) -> Summary:
        """Send what can be sent now. A second caller at the same time goes away at once."""
        if not self._running.acquire(blocking=False):
            return Summary(stopped="another run")
        try:
            return self._run()
        finally:
            self._running.release()

    def probe(self) -> bool:
        """Ask the bus something harmless if it has been silent for `PROBE_AFTER` seconds; say whether it was asked.

        Through the same client, token, proxy and certificates as everything else, so that what the screens say of the
        line has been seen and not assumed. The answer is noted as a message's would be.
        """
        if not self._running.acquire(blocking=False):
            return False
        try:
            with self._store.read() as reader:
                silent = outbox.channel_state(reader) != "ok" or self.pace.silence >= PROBE_AFTER
            if self._stopping.is_set() or self.pace.waiting or not silent or not self.pace.take():
                return False
            self._noted = None
            search = task_search(PROBE_NUMBER, "original-order", self._profile) | {"_count": "1"}
            self._heard(self._client.call(self._dialect.search("Task", search)))
            return True
        finally:
            self._running.release()

    def stop(self) -> None:
        """End the run: no further message begins, and those under way are cut off, to be looked up later."""
        self._stopping.set()
        self._client.hang_up()

    def use(self, profile: Profile) -> None:
        """Send with another profile from the next message on: a directory has been imported."""
        self._profile = profile

    # ---- a run ----

    def _run(self) -> Summary:
        self._noted = None
        self._halted.clear()
        self._heed_people()
        total = Summary()
        while rows := self._heads():
            # One message tries the line alone, and only then do others go beside each other.
            for part in (rows[:1], rows[1:]):
                for one in self._abreast(part):
                    stopped = total.stopped or one.stopped
                    total = Summary(total.delivered + one.delivered, total.parked + one.parked, stopped)
                if total.stopped:
                    return total
        return total

    def _abreast(self, rows: list[OutboxRow]) -> Iterator[Summary]:
        """Deal with messages of different orders, in as many lanes as there are."""
        if self._lanes == 1 or len(rows) < 2:
            yield from self._in_turn(rows)
            return
        with ThreadPoolExecutor(min(self._lanes, len(rows)), "bus-lane") as lanes:
            yield from lanes.map(self._one, rows)

    def _in_turn(self, rows: Iterable[OutboxRow]) -> Iterator[Summary]:
        for row in rows:
            one = self._one(row)
            yield one
            if one.stopped:
                return

    def _one(self, row: OutboxRow) -> Summary:
        """Deal with one message, unless something stands in the way."""
        needed = LOOKED_UP if row.uncertain else 1  # together they stay within the minute
        if reason := self._hindrance(needed):
            self._halted.set()
            return Summary(stopped=reason)
        self._taken.left = needed
        try:
            with self._store.read() as reader:
                letter = letters.read(reader, row.seq)
            if letter is None:
                return Summary()
            mark = self.pace.mark
            outcome = self._send(letter)
            if outcome is not None:
                self._settle(letter, outcome, mark)
        except BaseException:
            self._halted.set()
            raise
        finally:
            self.pace.give_back(self._taken.left)
            self._taken.left = 0
        return Summary(int(isinstance(outcome, _Accepted)), int(isinstance(outcome, Parked)))

    def _heed_people(self) -> None:
        """Try at once when a person has set the channel to `ok` while it was waiting or paused."""
        if self.pace.waiting:
            with self._store.read() as reader:
                state = outbox.channel_state(reader)
            if state == "ok":
                self.pace.forgive()

    def _heads(self) -> list[OutboxRow]:
        with self._store.read() as reader:
            rows = outbox.heads(reader)
        return self.pace.ready(rows)

    def _hindrance(self, needed: int) -> str:
        """Say why nothing can be sent now; empty if it can, and then so many requests are counted."""
        if self._stopping.is_set():
            return "stopping"
        if self.pace.waiting:
            return "waiting"
        if self._halted.is_set():
            return "stopping"
        return "" if self.pace.take(needed, self.pace.share) else "rate"

    # ---- sending ----

    def _send(self, letter: Letter) -> _Outcome | None:
        """Send a message, or find that the bus has it already; None where it is to be read anew."""
        kind = letter.row.kind
        if letter.row.uncertain and (known := self._known(letter)):
            return known
        call = letters.call(letter, self._dialect, self._profile, self._paper)
        if isinstance(call, Untold | Parked):
            return call
        try:
            sent = encode(call.body)
        except ValueError as error:
            return Parked(f"cannot be written as JSON: {error}")
        if not self._may_send(letter, sent):
            return None
        answer = self._post(call)
        if isinstance(answer, Parked) and kind is OutboxKind.STARTED:
            # News that nobody needs: what follows tells more, and must not wait for a person.
            return Untold(f"{letters.NO_BEGINNINGS}: {answer.reason}", answer.evidence)
        if not isinstance(answer, Delivered):
            return answer
        if kind in letters.STATUSES:
            return _Accepted(evidence=answer.evidence)
        if answer.task:
            return self._take_over(letter, answer)
        ids = letters.ids(letter, bundle_references(answer.resource), self._dialect)
        if isinstance(ids, dict):
            return _Accepted(ids, answer.evidence, sent.decode())
        return self._look_up(letter, sent.decode()) or replace(ids, evidence=answer.evidence)

    def _known(self, letter: Letter) -> _Outcome | None:
        """Ask whether the bus has what may have been sent before; None where it has not, or it does no harm twice."""
        kind, task = letter.row.kind, letter.references.task
        if kind is OutboxKind.AMEND:
            return None  # the same content in the same place
        if kind not in letters.STATUSES:
            with self._store.read() as reader:
                sent = outbox.sent_json(reader, letter.row.seq)
            return self._look_up(letter, sent)
        if not task:
            return None
        read = self._ask(self._dialect.read("Task", task))
        if not isinstance(read, Delivered):
            return replace(read, uncertain=True)
        done = ("cancelled",) if kind is OutboxKind.CANCEL else ("in-progress", "completed")
        return _Accepted(evidence=read.evidence) if read.resource.get("status") in done else None

    def _look_up(self, letter: Letter, sent: str) -> _Outcome | None:
        """Search the Task that a letter makes; None where the bus has none."""
        answer = self._ask(letters.look_up(letter, self._dialect, self._profile))
        if not isinstance(answer, Delivered):
            return replace(answer, uncertain=True)
        tasks = found_tasks(answer.resource, letter.number, self._profile)
        if len(tasks) > 1:
            log.error("the bus has order %s %d times", letter.order.accession_number, len(tasks))
        if not tasks:
            return None
        ids = letters.ids(letter, task_references(tasks[0]), self._dialect)
        if isinstance(ids, Parked):
            return replace(ids, evidence=answer.evidence)
        return _Accepted(ids, answer.evidence, sent)

    def _take_over(self, letter: Letter, answer: Delivered) -> _Outcome:
        """Take the ids of the Task that the bus says it has already, if it is ours."""
        read = self._ask(self._dialect.read("Task", answer.task))
        if not isinstance(read, Delivered):
            return replace(read, uncertain=True)
        if not bears_number(read.resource, letter.number, self._profile):
            reason = "not a FHIR answer: the Task that is said to be there bears another number"
            return Parked(reason, evidence=answer.evidence)
        ids = letters.ids(letter, task_references(read.resource), self._dialect)
        return _Accepted(ids, answer.evidence) if isinstance(ids, dict) else replace(ids, evidence=answer.evidence)

    def _may_send(self, letter: Letter, sent: bytes) -> bool:
        """Note that it is sent; False where it has been withdrawn or is made of something else by now.

        From this commit on a crash leads to a look-up, and what is changed goes out as a message of its own.
        """

        def verb(tx: Tx) -> bool:
            if letters.read(tx, letter.row.seq) != letter:
                return False
            outbox.mark_uncertain(tx, letter.row.seq, sent)
            return True

        return self._store.write(verb)

    def _post(self, call: Call) -> Answer:
        answer = self._ask(call)
        if isinstance(answer, Delivered):
            failpoint.reach(failpoint.POSTED_NOT_DELIVERED)
        return answer

    def _ask(self, call: Call) -> Answer:
        if self._taken.left:
            self._taken.left -= 1
        else:
            self.pace.note_request()
        return self._client.call(call)

    # ---- what became of it ----

    def _settle(self, letter: Letter, outcome: _Outcome, mark: int) -> None:
        """Write down what an outcome means for the message and for the line, in one transaction."""
        seq, name = letter.row.seq, f"order {letter.order.accession_number} ({letter.row.kind})"
        match outcome:
            case _Accepted():
                self.pace.answered(seq, mark)
                self._store.write(lambda tx: self._delivered(tx, letter, outcome))
                log.info("%s: delivered", name)
            case Untold():
                if outcome.evidence:  # it was asked
                    self.pace.answered(seq, mark)
                self._store.write(lambda tx: _untold(tx, seq, outcome))
                # The bus's own words may tell of the patient; they stand on the exchange's screen.
                log.warning("%s: cannot be told to this bus", name)
            case Parked():
                self.pace.answered(seq, mark)
                if self._store.write(lambda tx: self._parked(tx, letter, outcome)):
                    log.warning("%s: refused by the bus and set aside", name)
            case Retry():
                wait, alone = self.pace.failed(seq, outcome, mark)
                self._store.write(lambda tx: self._failed(tx, seq, outcome, "" if alone else "waiting", wait))
                log.warning("%s: not delivered: %s; next attempt in %.0f s", name, outcome.reason, wait)
            case Paused():
                wait = self.pace.pause(seq)
                self._store.write(lambda tx: self._failed(tx, seq, outcome, "paused", wait))
                log.error("the exchange is paused: %s", outcome.reason)

    def _heard(self, answer: Answer) -> None:
        """Write down what the answer to a probe means for the line."""
        match answer:
            case Retry():
                # The probe is no message: that it fails says nothing of any one.
                wait, _ = self.pace.failed(0, replace(answer, uncertain=False))
                self._store.write(lambda tx: self._bad_line(tx, "waiting", answer.reason, wait))
                log.warning("the bus does not answer: %s; next attempt in %.0f s", answer.reason, wait)
            case Paused():
                wait = self.pace.pause()
                self._store.write(lambda tx: self._bad_line(tx, "paused", answer.reason, wait))
                log.error("the exchange is paused: %s", answer.reason)
            case _:
                self.pace.heard()
                self._store.write(lambda tx: self._good_line(tx))

    def _delivered(self, tx: Tx, letter: Letter, outcome: _Accepted) -> None:
        outbox.deliver(tx, letter.row.seq, outcome.ids, outcome.evidence)
        if letter.row.kind is OutboxKind.ORDER:
            self._keep_number(tx, letter.order, outcome.ids.get("acsn", ""))
            self._drop_superfluous(tx, letter.order.id, outcome.content)
        self._good_line(tx)

    def _drop_superfluous(self, tx: Tx, order_id: int, content: str) -> None:
        """Drop a correction that has gone out within the order itself, which was made from present data."""
        order = orders.get(tx, order_id) if outbox.waits(tx, order_id, OutboxKind.AMEND) else None
        if order and content == encode(self._dialect.transaction(order_bundle(order, self._profile)).body).decode():
            outbox.withdraw(tx, order_id, OutboxKind.AMEND)

    def _keep_number(self, tx: Tx, order: Order, number: str) -> None:
        """Keep the region's accession number where a modality can bear it; say it loudly where none can."""
        if not number:
            return
        if len(number) > ACCESSION_NUMBER_LENGTH or "\\" in number:  # PS3.5 6.2, SH
            log.error("order %s: the bus's number %s is too long for a modality", order.accession_number, number)
            audit.write(tx, BUS, "bus_number_too_long", order.id, number=number)
        elif not orders.set_bus_accession_number(tx, order.id, number):
            log.error("order %s: the bus's number %s is another order's", order.accession_number, number)
            audit.write(tx, BUS, "bus_number_taken", order.id, number=number)

    def _parked(self, tx: Tx, letter: Letter, outcome: Parked) -> bool:
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
        self._good_line(tx)
        return still_so

    def _failed(self, tx: Tx, seq: int, outcome: Retry | Paused, state: str, wait: float) -> None:
        outbox.retry_later(tx, seq, outcome.reason, outcome.evidence, uncertain=outcome.uncertain)
        if state:
            self._bad_line(tx, state, outcome.reason, wait)

    def _good_line(self, tx: Tx) -> None:
        if not self.pace.waiting:  # another message may have found otherwise
            self._note_channel(tx, "ok")
        tx.announce()

    def _bad_line(self, tx: Tx, state: str, reason: str, wait: float) -> None:
        self._note_channel(tx, state, reason, tx.now + timedelta(seconds=wait))
        tx.announce()

    def _note_channel(self, tx: Tx, state: str, reason: str = "", retry_at: datetime | None = None) -> None:
        """Tell the screens how the line is: once in a run, and when it changes."""
        if self._noted != (state, reason):
            outbox.set_channel(tx, state, reason, retry_at, answered=state == "ok")
            self._noted = (state, reason)


def _untold(tx: Tx, seq: int, outcome: Untold) -> None:
    outbox.untold(tx, seq, outcome.reason, outcome.evidence)
    tx.announce()
