"""Asks the archive (PACS) for images that no device has reported, by Study Root C-FIND (PS3.4 C.6.2).

Reads only: what the archive holds, and when it has stopped growing. What follows from that is the workflow's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from broker.dicom.codec import dates
from broker.domain.actors import Actor, ActorKind
from broker.domain.clinic import Clinic
from broker.domain.orders import Order
from broker.store.database import Store
from broker.store.tables import orders, performed
from broker.workflow.archive_images import ArchiveStudy, record_images

log = logging.getLogger(__name__)

ACTOR = Actor(ActorKind.SYSTEM, "archive")
DAYS = 3  # how long after its time a study is still looked for
MOST = 200  # studies looked for at a time; the next look goes on after them
AWAITED = 10_000  # studies that can be awaited
STABLE = 60.0  # seconds without a new image after which a study counts as complete
TIMEOUT = 10.0  # seconds that the archive has for an answer
LONGEST = 45.0  # seconds that one look may take

_PENDING = (0xFF00, 0xFF01)  # PS3.4 C.4.1.1.4


@dataclass(frozen=True, slots=True)
class ArchiveAddress:
    """Where the image archive listens, and its AE title."""

    ae_title: str
    host: str
    port: int


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
        self._growing: dict[int, tuple[ArchiveStudy, float]] = {}  # order id -> what was held, and since when
        self._last = 0  # the order that was asked for last

    def look(self) -> int:
        """Ask for the studies that are awaited, in turn; return how many have turned out to be made."""
        awaited = self._awaited()
        if not awaited:
            return 0
        made, until = 0, self._monotonic() + LONGEST
        with self._associated() as assoc:
            if assoc is None:
                return 0
            for order in awaited:
                if self._monotonic() > until or not assoc.is_established:
                    break
                self._last = order.id
                held = ask(assoc, order)
                if held is not None and self._is_complete(order.id, held):
                    made += self._store.write(record_images, order.id, held, ACTOR, self._clinic)
        if made:
            log.info("%d studies found in the archive that no device had reported", made)
        return made

    def _awaited(self) -> list[Order]:
        now = self._clinic.local(self._store.clock())
        with self._store.read() as reader:
            # A patient may be examined a while before the planned time.
            ids = performed.without_images(reader, now - timedelta(days=DAYS), now + timedelta(hours=12), AWAITED)
            self._growing = {id: self._growing[id] for id in ids if id in self._growing}
            # A slow archive must not be asked for the same few for ever.
            asked = ids.index(self._last) + 1 if self._last in ids else 0
            return orders.get_many(reader, [*ids[asked:], *ids[:asked]][:MOST])

    def _is_complete(self, order_id: int, held: ArchiveStudy) -> bool:
        before, since = self._growing.get(order_id, (None, 0.0))
        if before is None or before.instances != held.instances:
            self._growing[order_id] = (held, self._monotonic())
            return False
        return self._monotonic() - since >= STABLE

    @contextmanager
    def _associated(self) -> Iterator[Association | None]:
        ae = AE(ae_title=self._ae_title)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = TIMEOUT
        ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
        try:
            assoc = ae.associate(self._address.host, self._address.port, ae_title=self._address.ae_title)
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


def ask(assoc: Association, order: Order) -> ArchiveStudy | None:
    """Return the archive's study of an order, by its UID, else by its accession numbers; None if there is none.

    An accession number of several studies counts for none of them, nor does that of a study older than the order:
    archives remember the numbers of earlier programs.
    """
    found = _find(assoc, StudyInstanceUID=order.study_instance_uid)
    for number in filter(None, (order.accession_number, order.bus_accession_number)):
        if not found:
            named = [each for each in _find(assoc, AccessionNumber=number) if _text(each, "AccessionNumber") == number]
            found = named if len(named) != 1 or not _is_older(_held(named[0]), order) else []
    return _held(found[0]) if len(found) == 1 else None


def _is_older(held: ArchiveStudy, order: Order) -> bool:
    """Return True if a study was made before its order, by more than a time zone and a wrong clock account for."""
    return held.start is not None and held.start < order.authored_on.replace(tzinfo=None) - timedelta(days=2)


def _find(assoc: Association, **keys: str) -> list[Dataset]:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.QueryRetrieveLevel = "STUDY"
    for keyword in _RETURNED:
        setattr(ds, keyword, keys.get(keyword, ""))
    if not assoc.is_established:
        return []
    return [
        identifier
        for status, identifier in assoc.send_c_find(ds, StudyRootQueryRetrieveInformationModelFind)
        if "Status" in status and status.Status in _PENDING and identifier is not None
    ]


def _held(ds: Dataset) -> ArchiveStudy:
    return ArchiveStudy(
        study_instance_uid=_text(ds, "StudyInstanceUID"),
        instances=_number(_text(ds, "NumberOfStudyRelatedInstances")),
        modality=_first(ds, "ModalitiesInStudy"),
        patient_name=_text(ds, "PatientName"),
        patient_id=_text(ds, "PatientID"),
        birth_date=_text(ds, "PatientBirthDate"),
        start=_moment(_text(ds, "StudyDate"), _text(ds, "StudyTime")),
    )


_RETURNED = (
    "StudyInstanceUID",
    "AccessionNumber",
    "StudyDate",
    "StudyTime",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "ModalitiesInStudy",
    "NumberOfStudyRelatedInstances",
)


def _text(ds: Dataset, keyword: str) -> str:
    return str(ds.get(keyword) or "").strip(" \0")


def _first(ds: Dataset, keyword: str) -> str:
    value = ds.get(keyword)
    values: Iterable[object] = value if isinstance(value, list | tuple) or hasattr(value, "__iter__") else ()
    if isinstance(value, str):
        return value.split("\\")[0].strip()
    return next((str(each) for each in values), "")


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0


def _moment(day: str, hour: str) -> datetime | None:
    if not day:
        return None
    try:
        low = dates.window(day, hour).low
    except dates.MalformedKey:
        return None
    return low.replace(microsecond=0) if low else None
