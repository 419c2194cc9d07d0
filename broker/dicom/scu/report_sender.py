"""Sends signed reports to the image archive as Encapsulated PDF, once the archive has the study; loses nothing.

The archive is asked for the study just before: an instance that comes before its study, or under another Patient ID,
would make a study of its own there. Whose study it is `domain.studies.archive` says, as for images.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association

from broker.dicom.codec import charset
from broker.dicom.scu import archive_query, no_delay
from broker.dicom.scu.archive import ACTOR, TIMEOUT, ArchiveAddress
from broker.dicom.scu.report_document import SOP_CLASS, KnownStudy, dataset
from broker.domain.clinic.settings import Clinic
from broker.domain.orders import Order
from broker.domain.reading.reports import ReportDoubt, SignedReport
from broker.domain.studies import archive as archive_rules
from broker.domain.studies.archive import ArchiveStudy, OrderEvidence, compare, concerns
from broker.domain.studies.archived_reports import (
    ArchivedReport,
    ArchivedReportReason,
    is_reliable_id,
    is_whole_name,
)
from broker.store.database import Reader, Store
from broker.store.queries.studies import archive_evidence
from broker.store.tables import orders, undecided_orders
from broker.store.tables.reading import reports
from broker.store.tables.studies import archive as archive_table
from broker.store.tables.studies import archived_reports as queue
from broker.store.tables.studies import performed_links
from broker.workflow.studies import archived_reports

log = logging.getLogger(__name__)

MOST = 50  # reports tried in one look
LONGEST = 45.0  # seconds that one look may take
FIRST_WAIT, LONGEST_WAIT = (
    5.0,
    300.0,
)  # seconds in which an archive that does not answer is left alone, doubled each time
_WARNINGS = range(0xB000, 0xC000)  # PS3.4 B.2.3: stored, with a remark
_BUSY = range(0xA700, 0xA800)
_DUPLICATE = 0x0111  # the same instance: it is there already
_PASSING = (0x0110, 0x0213)  # processing failure, resource limitation: it may do better later
TRIES = 5  # of a report at which the archive fails without a reason
_DATE, _TIME, _SEX = r"\d{8}", r"\d{2,6}(\.\d{1,6})?", r"[MFO]"
_ADDED = "IssuerOfPatientID", "StudyID"
_REMOVED = ReportDoubt.IMAGES_REMOVED, ReportDoubt.IMAGES_FEWER

Reason = ArchivedReportReason
MakePdf = Callable[[SignedReport], bytes]


class ReportSender:
    """The periodic look for reports that are due; made once. `monotonic` gives seconds, for tests."""

    def __init__(
        self,
        store: Store,
        clinic: Clinic,
        address: ArchiveAddress,
        ae_title: str,
        make_pdf: MakePdf,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._clinic, self._address, self._ae_title = store, clinic, address, ae_title
        self._make_pdf, self._monotonic = make_pdf, monotonic
        self._failures = 0
        self._next_at = 0.0  # by `monotonic`
        self._is_lost = False  # an answer of this look did not come; the library may notice that a moment later

    def look(self) -> int:
        """Send what is due, unless the archive is being left alone; return how many reports it has taken."""
        if self._monotonic() < self._next_at:
            return 0
        with self._store.read() as reader:
            items = queue.due(reader, self._store.clock(), MOST)
        if not items:
            return 0
        stored, until, self._is_lost = 0, self._monotonic() + LONGEST, False
        with self._associated() as assoc:
            if isinstance(assoc, Reason):
                self._leave_alone(items, assoc)
                return 0
            for item in items:
                if self._monotonic() > until or self._is_lost or not assoc.is_established:
                    break
                stored += self._send(assoc, item)
            if assoc.is_established and not self._is_lost:
                self._failures = 0
            else:
                self._leave_alone([], Reason.UNREACHABLE)
        return stored

    def _leave_alone(self, items: list[ArchivedReport], reason: Reason) -> None:
        """Wait before the next look; say why on the studies that wait, once."""
        wait = min(FIRST_WAIT * 2 ** min(self._failures, 10), LONGEST_WAIT)
        self._failures += 1
        self._next_at = self._monotonic() + wait
        if self._failures == 1:  # one line per change of state
            log.warning("reports for the archive: %s; next attempt in %.0f s", reason, wait)
        for item in items:
            if item.reason is not reason:
                self._store.write(archived_reports.note_waits, item, reason)

    def _send(self, assoc: Association, item: ArchivedReport) -> bool:
        """Send a report, or note why it cannot be sent now; return True if the archive has it."""
        with self._store.read() as reader:
            order, signed, is_doubtful = _read(reader, item)
            evidence = archive_evidence.evidence_of(reader, order)
        if is_doubtful:
            return self._in_vain(item, Reason.DOUBT)
        answers = archive_query.find_order(assoc, order, evidence.uids, _ADDED)
        if answers is None:
            return self._in_vain(item, Reason.UNREACHABLE)
        with self._store.read() as reader:
            found = [study for study, _ in answers if concerns(order, study, evidence)]
            evidence = archive_evidence.about(reader, order, evidence, found)
        comparison = compare(order, found, evidence)
        chosen = _chosen(order, comparison.believed)
        if chosen is None:
            doubtful = [ds for study, ds in answers if study in [each.study for each in comparison.doubts]]
            if doubtful and all(known_study(order, evidence, ds) is None for ds in doubtful):
                return self._in_vain(item, Reason.NO_CYRILLIC)
            return self._in_vain(item, Reason.DISCREPANCY if comparison.doubts else Reason.NOT_THERE)
        study = known_study(order, evidence, next(ds for each, ds in answers if each.key == chosen.key))
        if study is None:
            log.warning(
                "report on %s: the archive answers without the letters of the Patient ID", order.accession_number
            )
            return self._in_vain(item, Reason.NO_CYRILLIC)
        try:
            ds = dataset(order, signed.report, self._make_pdf(signed), study, self._clinic.zone)
        except ValueError as error:  # the archive's own values are none of their kind
            log.warning("report on %s cannot be encoded: %s", order.accession_number, type(error).__name__)
            return self._in_vain(item, Reason.REFUSED, "cannot be encoded", surely_not_there=True)
        return self._store_instance(assoc, item, order, ds)

    def _store_instance(self, assoc: Association, item: ArchivedReport, order: Order, ds: Dataset) -> bool:
        if not self._store.write(queue.begin, item.id):
            return False  # withdrawn or replaced since the look began
        try:
            answer = assoc.send_c_store(ds)
        except (RuntimeError, ValueError, OSError) as error:
            if assoc.is_established:  # it cannot be written: no attempt will do better
                return self._in_vain(item, Reason.REFUSED, type(error).__name__, surely_not_there=True)
            return self._in_vain(item, Reason.UNREACHABLE)
        if "Status" not in answer:
            self._is_lost = True
            return self._in_vain(item, Reason.UNREACHABLE)
        status = int(answer.Status)
        if status in (0, _DUPLICATE) or status in _WARNINGS:
            self._store.write(archived_reports.note_stored, item, ACTOR)
            log.info("report on %s, version %d: stored in the archive", order.accession_number, item.version)
            return True
        said = f"{status:04X} {str(answer.get('ErrorComment', ''))[:64]}".strip()
        passes = status in _BUSY or (status in _PASSING and item.attempts + 1 < TRIES)
        log.warning("report on %s: the archive answered %s", order.accession_number, said)
        return self._in_vain(item, Reason.BUSY if passes else Reason.REFUSED, said, surely_not_there=not item.uncertain)

    def _in_vain(
        self, item: ArchivedReport, reason: Reason, detail: str = "", *, surely_not_there: bool = False
    ) -> bool:
        self._store.write(archived_reports.note_in_vain, item, reason, detail, surely_not_there=surely_not_there)
        return False

    @contextmanager
    def _associated(self) -> Iterator[Association | Reason]:
        """Give an association with the archive, or why there is none."""
        ae = AE(ae_title=self._ae_title)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = TIMEOUT
        ae.add_requested_context(archive_query.SOP_CLASS)
        ae.add_requested_context(SOP_CLASS, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        host, port = self._address.host, self._address.port
        try:
            secure = self._address.tls.to(host) if self._address.tls else None
            assoc = ae.associate(
                host, port, ae_title=self._address.ae_title, evt_handlers=no_delay.HANDLERS, tls_args=secure
            )
        except (OSError, RuntimeError, ValueError) as error:
            log.warning("cannot connect to the archive: %s", error)
            yield Reason.UNREACHABLE
            return
        try:
            accepted = {context.abstract_syntax for context in assoc.accepted_contexts}
            if assoc.is_established and {archive_query.SOP_CLASS, str(SOP_CLASS)} <= accepted:
                yield assoc
            elif assoc.is_established or assoc.rejected_contexts:
                yield Reason.NO_DOCUMENTS
            else:
                yield Reason.UNREACHABLE
        finally:
            if assoc.is_established:
                assoc.release()
            elif assoc.is_alive():
                assoc.abort()


def _read(reader: Reader, item: ArchivedReport) -> tuple[Order, SignedReport, bool]:
    """Return the order, the version as a document, and whether it may be about other images than these."""
    [order] = orders.get_many(reader, [item.order_id])
    report = next(each for each in reports.versions(reader, order.id) if each.version == item.version)
    is_doubtful = (
        reports.doubt(reader, order.id) in _REMOVED
        or bool(performed_links.conflicts(reader, order.id))
        or archive_table.is_disputed(reader, order.id)
        or undecided_orders.of_order(reader, order.id) is not None
    )
    return order, reports.document(reader, order, report), is_doubtful


def _chosen(order: Order, believed: tuple[ArchiveStudy, ...]) -> ArchiveStudy | None:
    """Return the study that the report goes to: of several, accepted by a person, the one with the order's UID."""
    own = [each for each in believed if each.study_instance_uid == order.study_instance_uid]
    return next(iter((*own, *believed)), None)


def known_study(order: Order, evidence: OrderEvidence, ds: Dataset) -> KnownStudy | None:
    """Return the study as an answer of the archive has it; None if its Patient ID may have lost letters on the way."""

    def text(keyword: str) -> str:
        value = ds.get(keyword)
        return "" if value is None else str(value)

    def whole(keyword: str) -> str:
        value = text(keyword)
        return value if carries or value.isascii() else ""

    own = {card.patient_id for card in archive_rules.cards_of(order, evidence)}
    terms = ds.get("SpecificCharacterSet") or ""
    carries = charset.carries_cyrillic(terms if isinstance(terms, str) else "\\".join(map(str, terms)))
    name, patient_id = text("PatientName"), text("PatientID")
    if not is_reliable_id(patient_id, own, name, carries_cyrillic=carries):
        return None
    return KnownStudy(
        study_instance_uid=text("StudyInstanceUID"),
        patient_id=patient_id,
        issuer=whole("IssuerOfPatientID"),
        patient_name=name if is_whole_name(name, carries_cyrillic=carries) else "",
        birth_date=_matching(_DATE, text("PatientBirthDate")),
        sex=_matching(_SEX, text("PatientSex")),
        study_id=whole("StudyID"),
        study_date=_matching(_DATE, text("StudyDate")),
        study_time=_matching(_TIME, text("StudyTime")),
        accession_number=whole("AccessionNumber"),
    )


def _matching(pattern: str, value: str) -> str:
    return value if re.fullmatch(pattern, value) else ""
