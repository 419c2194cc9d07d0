"""Asks the archive (PACS) what it holds of the orders of these days, by Study Root C-FIND (PS3.4 C.6.2).

Reads only: what the archive holds, and when it has stopped growing. What of it is believed
`domain.studies.archive` says, and what follows from that is the workflow's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import zip_longest

from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from broker.dicom.codec import dates
from broker.domain.actors import Actor, ActorKind
from broker.domain.clinic.settings import Clinic
from broker.domain.orders import Order
from broker.domain.studies import archive as evidence
from broker.domain.studies.archive import ArchiveStudy
from broker.store.database import Store
from broker.store.queries import archive_gaps
from broker.store.tables import archive as archive_table
from broker.store.tables import orders, performed
from broker.workflow.archive_images import record_answer

log = logging.getLogger(__name__)

ACTOR = Actor(ActorKind.SYSTEM, "archive")
DAYS = 3  # how long after its time a study is still looked for, and after its end its images are counted
MOST = 200  # studies looked for at a time; the next look goes on after them
AWAITED = 10_000  # studies that can be awaited
STABLE = 60.0  # seconds without a new image after which a study counts as complete
TIMEOUT = 10.0  # seconds that the archive has for an answer
LONGEST = 45.0  # seconds that one look may take

MOST_ANSWERS = 200  # to one question; an archive that gives more does not heed it
NO_IMAGES = frozenset({"DOC", "SR", "PR", "KO"})  # modalities of series that hold no images

SOP_CLASS = str(StudyRootQueryRetrieveInformationModelFind)
# What is asked for at each level, and which of it may be a key with a value.
STUDY_KEYS = (
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
SERIES_KEYS = ("StudyInstanceUID", "SeriesInstanceUID", "Modality", "NumberOfSeriesRelatedInstances")
MATCHED = {"STUDY": ("StudyInstanceUID", "AccessionNumber"), "SERIES": ("StudyInstanceUID",)}

_Held = frozenset[tuple[str, int | None]]  # studies by UID, each with its images as far as they are counted

_PENDING = (0xFF00, 0xFF01)  # PS3.4 C.4.1.1.4
_SUCCESS = 0x0000


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
        self._growing: dict[int, tuple[_Held, float]] = {}  # order id -> what was held, and since when
        self._last: dict[str, int] = {}  # what was asked for -> the order that was asked for last
        self._strays = False  # the archive answers with studies that it was not asked for

    def look(self) -> int:
        """Ask for the studies that are awaited, and for those that were made, in turn; return how many are new."""
        ids = self._asked_for()
        if not ids:
            return 0
        made, until, answered = 0, self._monotonic() + LONGEST, False
        with self._associated() as assoc:
            if assoc is None:
                return 0
            for what, order in ids:
                if self._monotonic() > until or not assoc.is_established:
                    break
                self._last[what] = order.id
                found = ask(assoc, order)
                if found is None:
                    continue
                answered = True
                found = self._believe(assoc, order, found)
                # In the background: what changes for the screens, the use case says.
                made += self._store.submit_background(
                    record_answer, order.id, found, ACTOR, self._clinic, settled=self._is_settled(order, found)
                ).result()
        if answered:
            self._store.submit_background(archive_table.note_answer).result()
        if made:
            log.info("%d studies found in the archive that no device had reported", made)
        return made

    def _asked_for(self) -> list[tuple[str, Order]]:
        """Return the orders to ask for now, each with what for: it is awaited, or was made and may still change."""
        now = self._store.clock()
        local = self._clinic.local(now)
        with self._store.read() as reader:
            # A patient may be examined a while before the planned time.
            awaited = performed.without_images(
                reader, local - timedelta(days=DAYS), local + timedelta(hours=12), AWAITED
            )
            unresolved = archive_gaps.unresolved(reader, now)
            recent = performed.with_images(reader, now - timedelta(days=DAYS), AWAITED)
            made = list(dict.fromkeys(id for id in (*unresolved, *recent) if id not in awaited))
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

    def _believe(self, assoc: Association, order: Order, found: list[ArchiveStudy]) -> list[ArchiveStudy]:
        """Return what of an answer concerns the order, with the images of what is believed counted by series."""
        strays = [each for each in found if not evidence.concerns(order, each)]
        if strays and not self._strays:
            log.warning("the archive answers with studies that it was not asked for; they are ignored")
        self._strays = self._strays or bool(strays)
        found = list(dict.fromkeys(each for each in found if evidence.concerns(order, each)))
        with self._store.read() as reader:
            decided = archive_table.decided(reader, order.id)
        believed = evidence.compare(order, found, decided).believed
        uids = [each.study_instance_uid for each in found]
        return [
            # The series of several patients under one UID cannot be separated.
            replace(each, images=count_images(assoc, each))
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


def ask(assoc: Association, order: Order) -> list[ArchiveStudy] | None:
    """Return the studies that the archive answers with when it is asked for an order's, by UID and by its numbers.

    They may be anything; `domain.studies.archive.compare` tells what they are worth. None if an answer did not come to
    its end.
    """
    found: list[ArchiveStudy] = []
    questions = [{"StudyInstanceUID": order.study_instance_uid}]
    questions += [{"AccessionNumber": number} for number in evidence.numbers(order)]
    for keys in questions:
        answers = _find(assoc, "STUDY", STUDY_KEYS, keys)
        if answers is None:
            return None
        found += [_held(each) for each in answers]
    return found


def count_images(assoc: Association, study: ArchiveStudy) -> int | None:
    """Return the number of a study's images by its series, without documents and reports.

    An archive that does not answer this with a number for each series is believed at study level.
    """
    answers = _find(assoc, "SERIES", SERIES_KEYS, {"StudyInstanceUID": study.study_instance_uid})
    series: dict[str, int] = {}
    for each in answers or ():
        count = _number(_text(each, "NumberOfSeriesRelatedInstances"))
        if count is None or _text(each, "StudyInstanceUID") not in ("", study.study_instance_uid):
            return study.images
        series[_text(each, "SeriesInstanceUID")] = 0 if _text(each, "Modality") in NO_IMAGES else count
    return sum(series.values()) if series else study.images


def _find(assoc: Association, level: str, returned: Iterable[str], keys: dict[str, str]) -> list[Dataset] | None:
    """Return all matches; None if the archive did not say that these were all."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.QueryRetrieveLevel = level
    for keyword in returned:
        setattr(ds, keyword, keys.get(keyword, ""))
    if not assoc.is_established:
        return None
    found: list[Dataset] = []
    unreadable = False
    for status, identifier in assoc.send_c_find(ds, StudyRootQueryRetrieveInformationModelFind):
        code = status.Status if "Status" in status else None
        if code == _SUCCESS and not unreadable:
            return found
        if code not in _PENDING:
            return None
        if identifier is None:
            unreadable = True  # the answers after it must be taken off the association all the same
        else:
            found.append(identifier)
        if len(found) > MOST_ANSWERS:
            log.warning("the archive answers a question for one study with more than %d", MOST_ANSWERS)
            assoc.abort()
            return None
    return None


def _held(ds: Dataset) -> ArchiveStudy:
    return ArchiveStudy(
        study_instance_uid=_text(ds, "StudyInstanceUID"),
        accession_number=_text(ds, "AccessionNumber"),
        images=_number(_text(ds, "NumberOfStudyRelatedInstances")),
        modality=_first(ds, "ModalitiesInStudy"),
        patient_name=_text(ds, "PatientName"),
        patient_id=_text(ds, "PatientID"),
        birth_date=_text(ds, "PatientBirthDate"),
        start=_moment(_text(ds, "StudyDate"), _text(ds, "StudyTime")),
    )


def _text(ds: Dataset, keyword: str) -> str:
    value = _value(ds, keyword)
    return "" if value is None else str(value).strip(" \0")


def _value(ds: Dataset, keyword: str) -> object:
    try:
        return ds.get(keyword)
    except (ValueError, TypeError, OverflowError):  # what is no value of its kind says nothing
        return None


def _first(ds: Dataset, keyword: str) -> str:
    value = _value(ds, keyword)
    values: Iterable[object] = value if isinstance(value, Iterable) else ()
    if isinstance(value, str):
        return value.split("\\")[0].strip()
    return next((str(each) for each in values), "")


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else None


def _moment(day: str, hour: str) -> datetime | None:
    if not day:
        return None
    try:
        low = dates.window(day, hour).low
    except dates.MalformedKey:
        return None
    return low.replace(microsecond=0) if low else None
