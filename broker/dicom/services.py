"""The services as whatever listens calls them: who may call, and a request's answers, one after the other.

No socket, no thread of its own; the answers are `worklist`'s and `mpps`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from typing import Any

from pynetdicom.dsutils import encode
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ModalityPerformedProcedureStep,
    ModalityPerformedProcedureStepRetrieve,
    ModalityWorklistInformationFind,
    Verification,
)

from broker.dicom.codec import decoding, json_model
from broker.dicom.codec.decoding import Undecodable
from broker.dicom.devices import samples
from broker.dicom.devices.registry import KnownDevices
from broker.dicom.devices.throttle import KeyedThrottle
from broker.dicom.mpps import service as mpps
from broker.dicom.statuses import Status, status
from broker.dicom.upper_layer.answering import DeferredReply, Reply, Request
from broker.dicom.upper_layer.dimse.command_set import C_ECHO, C_FIND, N_CREATE, N_GET, N_SET
from broker.dicom.worklist import service as worklist
from broker.dicom.worklist.cache import CachedResponse, CacheKey, WorklistCache
from broker.dicom.worklist.service import Caller
from broker.domain.clinic import Clinic
from broker.store.database import Store, StoreError, Tx
from broker.store.tables import devices
from broker.workflow import devices as registry
from broker.workflow.performed_steps import ChangeResult

log = logging.getLogger(__name__)

# Implicit VR Little Endian and Explicit VR Little Endian only: Deflated turns 300 kB into 1.6 GB of memory.
TRANSFER_SYNTAXES = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"]
SOP_CLASSES = [
    str(each)
    for each in (
        Verification,
        ModalityWorklistInformationFind,
        ModalityPerformedProcedureStep,
        ModalityPerformedProcedureStepRetrieve,
    )
]
REQUESTED = [str(Verification)]  # of these we are the user too, see `pacs`
IMPLEMENTATION_CLASS_UID = "2.25.286942376275795963268314504442726211187"  # PS3.7 D.3.3.2: this program
IMPLEMENTATION_VERSION_NAME = "WORKLIST_BROKER"

# Bytes of a report of a performed step that the port's own thread reads: usually half a millisecond, ten at the worst.
MOST_READ_AT_ONCE = 4096
LEARN_EVERY = 10.0  # seconds after which it is noted anew that the same stranger called, or that a caller was rejected
SAMPLE_EVERY = 10.0  # seconds between two samples of what a device sends on a service
HEAR_EVERY = 1.0  # seconds after which it is noted anew that a device asked the same, or for an echo
MOST_SAMPLED = 1000  # devices and services that are sampled in that span
LINES_A_MINUTE = 30  # of rejected callers; the rest is counted
# PS3.8 9.3.4: result, source, reason.
CALLING_AE_TITLE = (0x01, 0x01, 0x03)  # permanently, by the service user: calling AE title not recognised
CALLED_AE_TITLE = (0x01, 0x01, 0x07)  # … called AE title not recognised
FOR_NOW = (0x02, 0x03, 0x01)  # transiently, by the service provider: temporary congestion

_WORKLIST = {str(ModalityWorklistInformationFind)}
_PERFORMED = {str(ModalityPerformedProcedureStep), str(ModalityPerformedProcedureStepRetrieve)}
_REPORTS = {N_CREATE: ("N-CREATE", mpps.create), N_SET: ("N-SET", mpps.change)}
_SAMPLED = {C_FIND: "worklist", N_CREATE: "N-CREATE", N_SET: "N-SET"}
Rejection = tuple[int, int, int]


class DicomServices:
    """What this program does for modalities."""

    def __init__(
        self,
        ae_title: str,
        store: Store,
        clinic: Clinic,
        institution: str = "",
        *,
        learns: bool = False,
    ) -> None:
        """Answer as `ae_title`; with `learns`, unknown devices are served until they are approved or refused."""
        self._ae_title, self._learns = ae_title, learns
        self._store, self._clinic = store, clinic
        self._worklist = WorklistCache(store, clinic, institution)
        self._strangers = KeyedThrottle(LEARN_EVERY, devices.MOST_STRANGERS)
        self._refusals = KeyedThrottle(LEARN_EVERY, devices.MOST_STRANGERS)
        self._samples = KeyedThrottle(SAMPLE_EVERY, MOST_SAMPLED)
        self._heard = KeyedThrottle(HEAR_EVERY, MOST_SAMPLED)
        self._lines = KeyedThrottle(60.0, LINES_A_MINUTE)
        self._known = KnownDevices(store)
        self._operations: dict[int, tuple[set[str], Callable[[Request], Iterator[Reply]]]] = {
            C_FIND: (_WORKLIST, self._find),
            N_CREATE: (_PERFORMED, self._take),
            N_SET: (_PERFORMED, self._take),
            N_GET: (_PERFORMED, self._get),
        }

    # ---- who may call ----

    def rejection(self, calling: str, called: str, address: str) -> Rejection | None:
        """Say how a caller is rejected, if at all; everybody is, for now, where that cannot be judged."""
        try:
            rejected = self._caller_rejection(calling, address)
        except Exception as error:
            log.error("who may call cannot be judged: %s", error)
            return FOR_NOW
        return rejected or (CALLED_AE_TITLE if called != self._ae_title else None)

    def _caller_rejection(self, ae_title: str, address: str) -> Rejection | None:
        """Reject an unknown AE title (unless learned), and a known one from another address."""
        if ae_title == self._ae_title and address in ("127.0.0.1", "::1"):
            return None  # our own health check
        device = self._known.get(ae_title)
        if device is not None and device.approved:
            why = "" if registry.may_call(device, address) else f"this AE title belongs to {device.address}"
        else:
            why = "" if self._learns else "unknown AE title"
            self._learn(ae_title, address, new=device is None)
        if not why:
            return None
        if self._refusals.allow((ae_title, address)):
            self._submit(lambda tx: devices.note_contact(tx, ae_title, "refused", address, why))
        if self._lines.allow((ae_title, address)):
            suppressed = self._lines.suppressed()
            more = f" (and {suppressed} others)" if suppressed else ""
            log.warning("association of %s at %s rejected: %s%s", ae_title, address, why, more)
        return CALLING_AE_TITLE

    def _learn(self, ae_title: str, address: str, *, new: bool) -> None:
        """Keep who calls and is not approved, so that an administrator may approve it; invented names find no room."""
        if registry.is_ae_title(ae_title) and self._strangers.allow((ae_title, address)):
            if new and self._lines.allow(("learned", ae_title)):
                log.info("unknown device %s at %s: recorded, to be approved", ae_title, address)
            self._submit(lambda tx: devices.learn(tx, ae_title, address))

    def _submit(self, fn: Callable[[Tx], None]) -> None:
        """Queue what no worklist depends on; it is dropped while the database closes."""
        try:
            self._store.submit_background(fn)
        except StoreError:
            log.info("not noted, the database is closed")

    # ---- answers ----

    def at_once(self, request: Request) -> CachedResponse | Reply | DeferredReply | None:
        """Give what can be answered without waiting for anything; None where that is to be worked out by `answer`.

        A small report of a performed step is read here and now, for handing it to another thread would cost as much.
        """
        caller, command = _caller(request), request.command
        if command.field == C_ECHO:
            if self._heard.allow((caller, "echo")):
                self._submit(lambda tx: devices.note_contact(tx, caller.ae_title, "echo", caller.address, ""))
            return Reply(int(Status.SUCCESS))
        operation = self._operations.get(command.field)
        if operation is None or request.context.abstract_syntax not in operation[0]:
            return Reply(status(Status.UNRECOGNISED_OPERATION))
        if command.field in _REPORTS and len(request.dataset) <= MOST_READ_AT_ONCE:
            return self._report(request)
        if command.field != C_FIND:
            return None
        ready = self._worklist.lookup(_cache_key(request))
        if ready is not None and self._heard.allow((caller, "worklist")):
            worklist.note_contact(self._store, caller, ready.step_ids, ready.notes)
        return ready

    def answer(self, request: Request) -> Iterator[Reply]:
        """Work out a request's answers one by one; may take its time. Nothing is raised but by what is broken here."""
        return self._operations[request.command.field][1](request)

    def wants_sample(self, request: Request) -> bool:
        """Say whether what was answered at once is to be sampled by `sample`, which takes its time."""
        return self._samples.would_allow((request.calling, _SAMPLED[request.command.field]))

    def sample(self, request: Request) -> None:
        """Keep what a device really sends, now and then, without patients' data and without making it wait."""
        caller, service = _caller(request), _SAMPLED[request.command.field]
        if not self._samples.allow((caller.ae_title, service)):
            return
        try:
            # As it came: the Specific Character Set that it names, letters that it names none for.
            attributes = samples.mask(decoding.decode(request.dataset, request.context.implicit, fallback=""))
        except Exception as error:  # devices send what nobody thought of; it must not cost them their answer
            log.warning("no sample of %s's %s can be made: %s", caller.ae_title, service, type(error).__name__)
            return
        self._submit(lambda tx: devices.keep_sample(tx, caller.ae_title, service, attributes))

    def _find(self, request: Request) -> Iterator[Reply]:
        caller = _caller(request)
        try:
            revision = self._worklist.revision()  # before anything is read that the answer depends on
            fallback = self._known.or_default(caller.ae_title).fallback_charset
            query = decoding.decode(request.dataset, request.context.implicit, fallback=fallback)
            self.sample(request)
            with closing(self._worklist.find(query, _cache_key(request), caller, revision)) as found:
                for told, identifier in found:
                    yield Reply(told, identifier)
        except Undecodable as error:
            log.warning("worklist query of %s cannot be read: %s", caller.ae_title, error)
            yield Reply(status(Status.UNABLE_TO_PROCESS, str(error)))
        except Exception as error:  # whatever devices send and disks do, who asks is told
            log.error("worklist query of %s failed: %s", caller.ae_title, type(error).__name__)
            yield Reply(status(Status.UNABLE_TO_PROCESS, "the worklist cannot be read, try again later"))

    def _report(self, request: Request) -> Reply | DeferredReply:
        """Take what a device reports of a performed step; it is answered after the commit."""
        caller, uid = _caller(request), request.command.sop_instance_uid or ""
        operation, take = _REPORTS[request.command.field]
        try:
            device = self._known.or_default(caller.ae_title)
            told = json_model.read(
                request.dataset,
                request.context.implicit,
                fallback=device.fallback_charset,
                most_bytes=decoding.MOST_MPPS_BYTES,
                most_elements=decoding.MOST_MPPS_ELEMENTS,
            )
            report = take(told, uid, caller, device, self._clinic)
        except Undecodable as error:
            log.warning("%s of %s cannot be read: %s", operation, caller.ae_title, error)
            return Reply(status(Status.PROCESSING_FAILURE, str(error)), None, uid)
        except Exception as error:  # whatever is broken here, who asks is told
            log.error("%s of %s failed: %s", operation, caller.ae_title, type(error).__name__)
            return Reply(int(Status.PROCESSING_FAILURE), None, uid)

        def reply(kept: Future[ChangeResult]) -> Reply:
            answered = report.status(kept)
            # PS3.7 10.1.5.1.4: the UID that we made goes back.
            return Reply(answered, None, uid or (report.uid if answered.Status == Status.SUCCESS else ""))

        return DeferredReply(lambda: report.keep(self._store), reply)

    def _take(self, request: Request) -> Iterator[Reply]:
        self.sample(request)
        taken = self._report(request)
        yield taken.reply(taken.begin()) if isinstance(taken, DeferredReply) else taken

    def _get(self, request: Request) -> Iterator[Reply]:
        uid = request.command.sop_instance_uid or ""
        tags, caller = request.command.attributes, _caller(request)
        device = self._known.or_default(caller.ae_title)
        answered, ds = mpps.retrieve(uid, tags, caller, device, self._store)
        data: Any = encode(ds, request.context.implicit, True) if ds else None
        if ds and data is None:
            answered = status(Status.PROCESSING_FAILURE)
        yield Reply(answered, data, uid)


def _caller(request: Request) -> Caller:
    return Caller(request.calling, request.address)


def _cache_key(request: Request) -> CacheKey:
    return CacheKey(request.calling, request.context.implicit, request.dataset)
