"""Worklist answers kept as encoded bytes, because devices ask the same again and again.

An answer always equals that of `service.find`. As a whole it is used again while the day is the same and nothing has
been committed that may change it: of the orders changed since, none is in the answer, and none matches its index
filter. Else matches are searched again, and only those whose item is not equal to what it was are encoded again.
There is no expiry by time: an entry is valid, or it is not used.
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

from broker.dicom.devices.registry import Caller
from broker.dicom.statuses import Status
from broker.dicom.worklist import response, service
from broker.dicom.worklist.attributes import AnswerContext
from broker.dicom.worklist.query import WorklistQuery
from broker.dicom.worklist.response import Alterations, Style
from broker.dicom.worklist.service import FindResponse, ResponseRecorder
from broker.domain.clinic.settings import Clinic
from broker.domain.orders import StepState
from broker.store.database import Store, StoreError
from broker.store.tables import worklist
from broker.store.tables.worklist import IndexFilter, WorklistItem

MOST_BYTES = 48 << 20  # of all entries
_ITEM_SIZE = 5000  # bytes that an item takes beside its encoded match, about
_ENTRY_SIZE = 2000  # bytes of an entry beside its matches, about


class CacheKey(NamedTuple):
    """What an answer depends on beside the database and the day."""

    ae_title: str
    called: str  # the list that is asked for
    implicit: bool
    identifier: bytes


@dataclass(slots=True)
class CachedResponse:
    """A whole answer: the matches, each with its status, 0000 follows them; instants are UTC."""

    statuses: tuple[int, ...]
    matches: tuple[bytes, ...]
    step_ids: tuple[int, ...]
    notes: tuple[tuple[str, str], ...]
    revision: int  # of the database, up to which it is known to be valid
    since: datetime
    until: datetime
    wire: dict[tuple[int, int, int], bytes] = field(default_factory=dict)  # encoded PDUs, cached by the sender


class _EncodedMatch(NamedTuple):
    item: WorklistItem
    data: bytes
    characters: int
    cut: int


@dataclass(slots=True)
class _CacheEntry:
    context_key: object  # what matches depend on beside their items
    encoded: dict[int, _EncodedMatch]  # by the step's id
    order_ids: frozenset[int]  # of what is encoded
    index_filter: IndexFilter | None  # beyond which nothing could match
    response: CachedResponse | None
    size: int  # bytes, about


class UnencodableResponse(Exception):
    """An answer that cannot be encoded."""


class WorklistCache:
    """The worklist of one clinic, with a memory of `most_bytes`."""

    def __init__(self, store: Store, clinic: Clinic, institution: str, most_bytes: int = MOST_BYTES) -> None:
        self._store, self._clinic, self._institution = store, clinic, institution
        self._lock = threading.Lock()
        self._entries: OrderedDict[CacheKey, _CacheEntry] = OrderedDict()
        self._size, self._most = 0, most_bytes

    def lookup(self, key: CacheKey) -> CachedResponse | None:
        """Return the answer if it is known to be the one that `find` would give; quick, and never blocks."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry.response is None:
                return None
            self._entries.move_to_end(key)
            known = entry.response
        try:
            if not known.since <= self._store.clock() < known.until:
                return None
            valid = known.revision == worklist.revision(self._store) or self._is_still_valid(known, entry)
        except (StoreError, sqlite3.Error):
            return None
        return known if valid else None

    def _is_still_valid(self, known: CachedResponse, entry: _CacheEntry) -> bool:
        """Return True if nothing that changed since can change an answer; it is then valid up to now."""
        with self._store.read() as reader:
            changed = worklist.changed(reader, known.revision)
            if changed is None:
                return False
            revision, order_ids = changed
            if not order_ids.isdisjoint(entry.order_ids):
                return False
            if entry.index_filter is not None and worklist.candidates(reader, entry.index_filter, 1, among=order_ids):
                return False
        known.revision = revision
        return True

    def revision(self) -> int:
        """Return the database's revision, which `find` takes: read it before the query is decoded."""
        return worklist.revision(self._store)

    def find(
        self, query: Dataset, key: CacheKey, caller: Caller, revision: int
    ) -> Generator[FindResponse[bytes], None, None]:
        """Answer as `service.find` does, the matches encoded; `query` is the identifier of `key`, decoded.

        `revision` is that of the database before anything was read on which the answer, or the decoding, depends.
        """
        since = self._store.clock()
        with self._lock:
            before = self._entries.get(key)
        encoder = _MatchEncoder(key.implicit, before)
        recorder = ResponseRecorder(encoder.encode)
        matches, statuses = list[bytes](), list[int]()
        final = int(Status.PENDING)
        responses = service.find(query, caller, self._store, self._clinic, recorder, self._institution)
        with closing(responses):
            for each in responses:
                if each.identifier is None:
                    final = int(each.status.Status)
                else:
                    statuses.append(int(each.status.Status))
                    matches.append(each.identifier)
                yield each
        if final != Status.SUCCESS or len(set(recorder.step_ids)) != len(recorder.step_ids):
            return
        whole = None
        if not encoder.time_dependent:
            ids, notes = tuple(recorder.step_ids), tuple(recorder.noted)
            until = self._midnight(since)
            whole = CachedResponse(tuple(statuses), tuple(matches), ids, notes, revision, since, until)
        order_ids = frozenset(each.item.order.id for each in encoder.encoded.values())
        index_filter = recorder.result.index_filter if recorder.result else None
        size = encoder.size + len(key.identifier)
        self._put(key, _CacheEntry(encoder.context_key, encoder.encoded, order_ids, index_filter, whole, size))

    def _put(self, key: CacheKey, entry: _CacheEntry) -> None:
        with self._lock:
            old = self._entries.pop(key, None)
            self._size -= old.size if old else 0
            if entry.size > self._most // 4:
                return
            self._entries[key] = entry
            self._size += entry.size
            while self._size > self._most:
                self._size -= self._entries.popitem(last=False)[1].size

    def _midnight(self, now: datetime) -> datetime:
        """Return the instant (UTC) of the clinic's next midnight: what a device may see is counted in days."""
        zone = self._clinic.zone
        tomorrow = now.astimezone(zone).date() + timedelta(days=1)
        return datetime.combine(tomorrow, time_of_day.min, zone).astimezone(UTC)


class _MatchEncoder:
    """Encodes matches, those again that are not equal to what was encoded before."""

    def __init__(self, implicit: bool, before: _CacheEntry | None) -> None:
        self._implicit, self._before = implicit, before
        self.context_key: object = None
        self.encoded: dict[int, _EncodedMatch] = {}
        self.size = _ENTRY_SIZE
        self.time_dependent = False  # some match leaves the list as time goes by, without a commit

    def encode(
        self,
        query: WorklistQuery,
        item: WorklistItem,
        context: AnswerContext,
        style: Style,
        alterations: Alterations,
    ) -> bytes:
        if self.context_key is None:
            self.context_key = (style, context.station_names, context.asked_station, context.asked_number)
            if self._before is not None and self._before.context_key != self.context_key:
                self._before = None
        known = self._before.encoded.get(item.step.id) if self._before else None
        if known is None or known.item != item:
            own = Alterations()
            data = encode(response.identifier(query, item, context, style, own), self._implicit, True)
            if data is None:
                raise UnencodableResponse(f"step {item.step.id}")
            known = _EncodedMatch(item, data, own.characters, own.cut)
        alterations.characters += known.characters
        alterations.cut += known.cut
        self.time_dependent = self.time_dependent or item.step.state is StepState.COMPLETED
        self.encoded[item.step.id] = known
        # The PDUs of a list that is not long are kept beside its matches.
        self.size += len(known.data) * (2 if len(self.encoded) < 200 else 1) + _ITEM_SIZE
        return known.data
