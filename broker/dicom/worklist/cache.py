"""Worklist answers kept as bytes, for devices ask the same again and again; never other bytes than `worklist` gives.

An answer as a whole is given again while the day is the same and nothing has been committed that may change it: of the
orders that have changed since, none is in the answer, and none could be. Else matches are looked for anew, and those
whose item is equal to what it was are not written anew. Nothing is trusted for a time: what is kept is valid, or it is
not used.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from typing import NamedTuple

from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from broker.dicom.statuses import Status
from broker.dicom.worklist import service
from broker.dicom.worklist.query import Query
from broker.dicom.worklist.response import Altered
from broker.dicom.worklist.service import Caller, Found, Told
from broker.domain.clinic import Clinic
from broker.domain.orders import StepState
from broker.store.database import Store, StoreError
from broker.store.tables import worklist as stored
from broker.store.tables.worklist import IndexFilter, WorklistItem

MOST_BYTES = 48 << 20  # of all that is kept
_ITEM = 5000  # bytes that an item takes beside its answer, about


class Asked(NamedTuple):
    """What an answer depends on beside the database and the day."""

    ae_title: str
    implicit: bool
    identifier: bytes


@dataclass(slots=True)
class Ready:
    """A whole answer: `pending` goes with each of the matches, 0000 follows them."""

    pending: int
    matches: tuple[bytes, ...]
    step_ids: tuple[int, ...]
    notes: tuple[tuple[str, str], ...]
    revision: int
    since: datetime
    until: datetime
    wire: dict[tuple[int, int, int], bytes] = field(default_factory=dict)  # whoever sends it may keep its PDUs here


class _Written(NamedTuple):
    item: WorklistItem
    data: bytes
    characters: int
    cut: int


@dataclass(slots=True)
class _Kept:
    surroundings: object  # what matches depend on beside their items
    written: dict[int, _Written]  # by the step's id
    order_ids: frozenset[int]  # of what is written
    narrowing: IndexFilter | None  # beyond which nothing could match
    ready: Ready | None
    size: int


class Unwritable(Exception):
    """An answer that cannot be encoded."""


class FastWorklist:
    """The worklist of one clinic, with a memory."""

    def __init__(self, store: Store, clinic: Clinic, institution: str, most_bytes: int = MOST_BYTES) -> None:
        self._store, self._clinic, self._institution = store, clinic, institution
        self._lock = threading.Lock()
        self._kept: OrderedDict[Asked, _Kept] = OrderedDict()
        self._size, self._most = 0, most_bytes

    def ready(self, asked: Asked) -> Ready | None:
        """Give the answer where it is known to be the one that `find` would give; quick, and never blocks."""
        with self._lock:
            kept = self._kept.get(asked)
            if kept is None or kept.ready is None:
                return None
            self._kept.move_to_end(asked)
            ready = kept.ready
        try:
            if not ready.since <= self._store.clock() < ready.until:
                return None
            valid = ready.revision == stored.revision(self._store) or self._stands(ready, kept)
        except (StoreError, sqlite3.Error):
            return None
        return ready if valid else None

    def _stands(self, ready: Ready, kept: _Kept) -> bool:
        """Say whether an answer is as it was, although something has changed since; it then is as new as that."""
        with self._store.read() as reader:
            changed = stored.changed(reader, ready.revision)
            if changed is None:
                return False
            revision, order_ids = changed
            if not order_ids.isdisjoint(kept.order_ids):
                return False
            if kept.narrowing is not None and stored.candidates(reader, kept.narrowing, 1, among=order_ids):
                return False
        ready.revision = revision
        return True

    def revision(self) -> int:
        """Give what `find` wants to know: asked for before the query is decoded."""
        return stored.revision(self._store)

    def find(
        self, query: Dataset, asked: Asked, caller: Caller, revision: int
    ) -> Generator[tuple[Dataset, bytes | None], None, None]:
        """Answer as `worklist.find` does, the matches encoded; `query` is what `asked` says, decoded.

        `revision` is that of the database before anything was read on which the answer, or the decoding, depends.
        """
        since = self._store.clock()
        with self._lock:
            before = self._kept.get(asked)
        writer = _Writer(asked.implicit, before)
        told = Told(writer.write)
        matches: list[bytes] = []
        pending = final = int(Status.PENDING)
        found = service.tell(query, caller, self._store, self._clinic, self._institution, told)
        with closing(found):
            for answer in found:
                if answer.identifier is None:
                    final = int(answer.status.Status)
                else:
                    pending = int(answer.status.Status)
                    matches.append(answer.identifier)
                yield answer.status, answer.identifier
        if final != Status.SUCCESS or len(set(told.step_ids)) != len(told.step_ids):
            return
        ready = None
        if not writer.passing:
            ids, notes = tuple(told.step_ids), tuple(told.noted)
            ready = Ready(pending, tuple(matches), ids, notes, revision, since, self._midnight(since))
        order_ids = frozenset(each.item.order.id for each in writer.written.values())
        narrowing = told.found.narrowing if told.found else None
        size = writer.size + len(asked.identifier)
        self._keep(asked, _Kept(writer.surroundings, writer.written, order_ids, narrowing, ready, size))

    def _keep(self, asked: Asked, kept: _Kept) -> None:
        with self._lock:
            old = self._kept.pop(asked, None)
            self._size -= old.size if old else 0
            if kept.size > self._most // 4:
                return
            self._kept[asked] = kept
            self._size += kept.size
            while self._size > self._most:
                self._size -= self._kept.popitem(last=False)[1].size

    def _midnight(self, now: datetime) -> datetime:
        """Give the instant at which the clinic's next day begins: what a device may see is counted in days."""
        zone = self._clinic.zone
        tomorrow = now.astimezone(zone).date() + timedelta(days=1)
        return datetime.combine(tomorrow, time_of_day.min, zone).astimezone(UTC)


class _Writer:
    """Encodes matches, those anew that are not equal to what was encoded before."""

    def __init__(self, implicit: bool, before: _Kept | None) -> None:
        self._implicit, self._before = implicit, before
        self.surroundings: object = None
        self.written: dict[int, _Written] = {}
        self.size = 2000
        self.passing = False  # some match leaves the list as time goes by, without a commit

    def write(self, asked: Query, item: WorklistItem, found: Found, altered: Altered) -> bytes:
        if self.surroundings is None:
            context = found.context
            self.surroundings = (found.style, context.station_names, context.asked_station, context.asked_number)
            if self._before is not None and self._before.surroundings != self.surroundings:
                self._before = None
        known = self._before.written.get(item.step.id) if self._before else None
        if known is None or known.item != item:
            own = Altered()
            data = encode(service.written(asked, item, found, own), self._implicit, True)
            if data is None:
                raise Unwritable(f"step {item.step.id}")
            known = _Written(item, data, own.characters, own.cut)
        altered.characters += known.characters
        altered.cut += known.cut
        self.passing = self.passing or item.step.state is StepState.COMPLETED
        self.written[item.step.id] = known
        self.size += len(known.data) * (2 if len(self.written) < 200 else 1) + _ITEM
        return known.data
