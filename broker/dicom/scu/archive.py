"""Asks the archive (PACS) what it holds of the orders of these days, and which studies of these days are no order's.

Reads only: what the archive holds, and when it has stopped growing. What of it is believed
`domain.studies.archive` says, and what follows from that is the workflow's.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import zip_longest

from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from broker.dicom.scu import no_delay
from broker.dicom.scu.archive_query import ask, count_images, studies_of_day
from broker.dicom.scu.tls import ClientTls
from broker.domain.actors import Actor, ActorKind
from broker.domain.clinic.settings import Clinic
from broker.domain.orders import Order, OrderState
from broker.domain.studies.archive import ArchiveStudy, OrderEvidence, compare, concerns
from broker.store.database import Store
from broker.store.queries.studies import archive_evidence, archive_gaps, unreferred_studies
from broker.store.tables import orders
from broker.store.tables.studies import archive as archive_table
from broker.store.tables.studies import archived_reports, performed
from broker.workflow.referrals.unreferred_studies import record_day
from broker.workflow.studies.archive_images import record_answer

log = logging.getLogger(__name__)

ACTOR = Actor(ActorKind.SYSTEM, "archive")
DAYS = 3  # how long after its time a study is still looked for, and after its end its images are counted
MOST = 200  # studies looked for at a time; the next look goes on after them
AWAITED = 10_000  # studies that can be awaited
STABLE = 60.0  # seconds without a new image after which a study counts as complete
TIMEOUT = 10.0  # seconds that the archive has for an answer
LONGEST = 45.0  # seconds that one look may take
SCAN_EVERY = 600.0  # seconds between two looks for studies without an order

_Held = frozenset[tuple[str, int | None]]  # studies by UID, each with its images as far as they are counted


@dataclass(frozen=True, slots=True)
class ArchiveAddress:
    """Where the image archive listens, and its AE title."""

    ae_title: str
    host: str
    port: int
    tls: ClientTls | None = None  # None: plain


class Archive:
    """The periodic look into the archive; made once. `monotonic` gives seconds, for tests."""

    def __init__(
        self,
        store: Store,
        clinic: Clinic,
        address: ArchiveAddress,
        ae_title: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._clinic, self._address, self._ae_title = store, clinic, address, ae_title
        self._monotonic = monotonic
        self._growing: dict[int, tuple[_Held, float]] = {}  # order id -> what was held, and since when
        self._last: dict[str, int] = {}  # what was asked for -> the order that was asked for last
        self._strays = False  # the archive answers with studies that it was not asked for
        self._named: frozenset[int] = frozenset()  # orders (ids) whose UIDs or numbers studies of these days bear
        self._scanned: float | None = None  # when studies without an order were last looked for
        self._lock = threading.Lock()  # a person may ask while the periodic look goes on
        self._available: dict[str, None] = {}  # Study Instance UIDs of which somebody has said that they are there

    def look(self) -> int:
        """Ask for the studies that are awaited, and for those that were made, in turn; return how many are new."""
        with self._lock:
            made, _ = self._look()
        return made

    def ask_now(self) -> bool:
        """Look now, also for studies without an order; return True if the archive has answered."""
        with self._lock:
            self._scanned = None
            _, answered = self._look()
        return answered

    def note_available(self, study_instance_uid: str) -> None:
        """Note that a study is said to be there (Instance Availability Notification); `look_at_available` asks for it.

        Any thread may call; it waits for nothing.
        """
        if len(self._available) < MOST:
            self._available[study_instance_uid] = None

    def look_at_available(self) -> int:
        """Ask for what was said to be there since the last time; return how many studies are new.

        What is no order's is found by the next look for such studies, which then comes soon.
        """
        uids = list(self._available)
        for uid in uids:
            del self._available[uid]
        if not uids:
            return 0
        with self._store.read() as reader:
            by_uid = [performed.orders_of_studies(reader, [uid]) for uid in uids]
            known = orders.get_many(reader, list(dict.fromkeys(id for ids in by_uid for id in ids)))
        # What was made although its order was cancelled is no order's.
        found = [order for order in known if order.state is not OrderState.CANCELLED]
        asked = {order.id for order in found}
        with self._lock:
            if any(asked.isdisjoint(ids) for ids in by_uid):
                self._scanned = None
            if not found:
                return 0
            made, _ = self._ask([("available", order) for order in found], scans=False)
        return made

    def _look(self) -> tuple[int, bool]:
        """Return how many studies are new, and whether the archive has answered."""
        scans = self._scanned is None or self._monotonic() - self._scanned >= SCAN_EVERY
        return self._ask(self._asked_for(), scans=scans)

    def _ask(self, ids: list[tuple[str, Order]], *, scans: bool) -> tuple[int, bool]:
        """Ask for orders, each with what for, and for studies without one; return as `_look`."""
        if not ids and not scans:
            return 0, False
        made, until, answered = 0, self._monotonic() + LONGEST, False
        with self._associated() as assoc:
            if assoc is None:
                return 0, False
            for what, order in ids:
                if self._monotonic() > until or not assoc.is_established:
                    break
                self._last[what] = order.id
                with self._store.read() as reader:
                    evidence = archive_evidence.evidence_of(reader, order)
                found = ask(assoc, order, evidence.uids)
                if found is None:
                    continue
                answered = True
                found = self._believe(assoc, order, evidence, found)
                # In the background: what changes for the screens, the use case says.
                made += self._store.submit_background(
                    record_answer, order.id, found, ACTOR, self._clinic, settled=self._is_settled(order, found)
                ).result()
            if scans and self._scan(assoc):
                answered = True
        if answered:
            self._store.submit_background(archive_table.note_answer).result()
        if made:
            log.info("%d studies found in the archive that no device had reported", made)
        return made, answered

    def _scan(self, assoc: Association) -> bool:
        """Look for studies of these days that are no order's; return True if the archive has answered."""
        self._scanned, answered = self._monotonic(), False
        named: set[int] = set()
        today = self._clinic.local(self._store.clock()).date()
        for on in (today - timedelta(days=back) for back in range(DAYS)):
            found = studies_of_day(assoc, on)
            if found is not None:
                self._store.submit_background(record_day, on, found, ACTOR).result()
                with self._store.read() as reader:
                    named |= unreferred_studies.named_orders(reader, found)
                answered = True
        if answered:
            self._named = frozenset(named)
        return answered

    def _asked_for(self) -> list[tuple[str, Order]]:
        """Return the orders to ask for now, each with what for: it is awaited, or was made and may still change."""
        now = self._store.clock()
        local = self._clinic.local(now)
        with self._store.read() as reader:
            # A patient may be examined a while before the planned time.
            awaited = performed.without_images(
                reader, local - timedelta(days=DAYS), local + timedelta(hours=12), AWAITED
            )
            unresolved = archive_gaps.unresolved(reader, now, holds_region=self._clinic.waits_for_images)
            recent = performed.with_images(reader, now - timedelta(days=DAYS), AWAITED)
            # A patient may come on another day than the planned one.
            made = list(dict.fromkeys(id for id in (*unresolved, *self._named, *recent) if id not in awaited))
            self._growing = {id: self._growing[id] for id in (*awaited, *made) if id in self._growing}
            by_purpose = [
                [(what, order) for order in orders.get_many(reader, self._in_turn(what, ids))]
                for what, ids in (("awaited", awaited), ("made", made))
            ]
        # By turns, so that neither keeps a slow archive from answering the other.
        return [each for pair in zip_longest(*by_purpose) for each in pair if each is not None]

    def _in_turn(self, what: str, ids: list[int]) -> list[int]:
        """Return the next of these: a slow archive must not be asked for the same few for ever."""
        asked = ids.index(self._last[what]) + 1 if self._last.get(what) in ids else 0
        return [*ids[asked:], *ids[:asked]][:MOST]

    def _believe(
        self, assoc: Association, order: Order, evidence: OrderEvidence, found: list[ArchiveStudy]
    ) -> list[ArchiveStudy]:
        """Return what of an answer concerns the order, with the images of what is believed counted by series."""
        strays = [
            each
            for each in found
            if not concerns(order, each, evidence) and each.study_instance_uid not in evidence.sibling_uids
        ]
        if strays and not self._strays:
            log.warning("the archive answers with studies that it was not asked for; they are ignored")
        self._strays = self._strays or bool(strays)
        found = list(dict.fromkeys(each for each in found if concerns(order, each, evidence)))
        with self._store.read() as reader:
            evidence = archive_evidence.about(reader, order, evidence, found)
            documents = archived_reports.stored_in(reader, [each.study_instance_uid for each in found])
        believed = compare(order, found, evidence).believed
        uids = [each.study_instance_uid for each in found]
        return [
            # The series of several patients under one UID cannot be separated.
            replace(each, images=count_images(assoc, each, documents[each.study_instance_uid]))
            if each in believed and uids.count(each.study_instance_uid) == 1
            else each
            for each in found
        ]

    def _is_settled(self, order: Order, found: list[ArchiveStudy]) -> bool:
        # Another study with as many images is a change, and so is the first sight of one that is not counted.
        held = frozenset((each.study_instance_uid, each.images) for each in found)
        if order.id not in self._growing or self._growing[order.id][0] != held:
            self._growing[order.id] = (held, self._monotonic())
        return self._monotonic() - self._growing[order.id][1] >= STABLE

    @contextmanager
    def _associated(self) -> Iterator[Association | None]:
        ae = AE(ae_title=self._ae_title)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = TIMEOUT
        ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
        try:
            assoc = ae.associate(
                self._address.host,
                self._address.port,
                ae_title=self._address.ae_title,
                evt_handlers=no_delay.HANDLERS,
                tls_args=self._address.tls.to(self._address.host) if self._address.tls else None,
            )
        except (OSError, RuntimeError, ValueError) as error:
            log.warning("cannot connect to the archive: %s", error)
            yield None
            return
        try:
            if assoc.is_established and not assoc.accepted_contexts:
                log.warning("the archive does not answer Study Root queries")
            yield assoc if assoc.is_established and assoc.accepted_contexts else None
        finally:
            if assoc.is_established:
                assoc.release()
            elif assoc.is_alive():
                assoc.abort()
