"""The services as the port calls them: who may call, and the responses to a request.

No socket, no thread of its own; the responses are made by `worklist` and `mpps`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing
from typing import Any

from pynetdicom.dsutils import encode
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    InstanceAvailabilityNotification,
    ModalityPerformedProcedureStep,
    ModalityPerformedProcedureStepRetrieve,
    ModalityWorklistInformationFind,
    Verification,
)

from broker.dicom.codec import decoding, json_model
from broker.dicom.codec.decoding import Undecodable
from broker.dicom.devices import samples
from broker.dicom.devices.registry import Caller, KnownDevices
from broker.dicom.devices.throttle import KeyedThrottle
from broker.dicom.mpps import service as mpps
from broker.dicom.receiving.service import SOP_CLASSES as STORED
from broker.dicom.receiving.service import ReportStorage
from broker.dicom.statuses import Status, status
from broker.dicom.upper_layer.answering import DeferredReply, Reply, Request
from broker.dicom.upper_layer.dimse.command_set import C_ECHO, C_FIND, C_STORE, N_CREATE, N_GET, N_SET
from broker.dicom.upper_layer.negotiation import Problem
from broker.dicom.worklist import service as worklist
from broker.dicom.worklist.cache import CachedResponse, CacheKey, WorklistCache
from broker.domain.clinic.settings import Clinic
from broker.domain.clinic.turned_away import TurnedAway, TurnedAwayReason, service
from broker.store.database import Store, StoreError, Tx
from broker.store.tables import devices
from broker.workflow import devices as registry
from broker.workflow.studies.performed_steps import ChangeResult

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
PERFORMED_STEP = str(ModalityPerformedProcedureStep)
# Offered only where an archive is configured, of which somebody may say that it has images.
AVAILABILITY = str(InstanceAvailabilityNotification)
REQUESTED = [str(Verification)]  # this program uses them, too: see `scu`
IMPLEMENTATION_CLASS_UID = "2.25.286942376275795963268314504442726211187"  # PS3.7 D.3.3.2: this program
IMPLEMENTATION_VERSION_NAME = "WORKLIST_BROKER"

# Bytes of an MPPS message that the port's own thread parses: usually half a millisecond, ten at the worst.
MOST_READ_AT_ONCE = 4096
LEARN_EVERY = 10.0  # seconds after which it is noted again that an unknown device called, or a caller was rejected
SAMPLE_EVERY = 10.0  # seconds between two samples of what a device sends on a service
CONTACT_EVERY = 1.0  # seconds after which a device's last contact is noted again, for the same query or an echo
MOST_SAMPLED = 1000  # devices and services that are sampled in that span
LINES_A_MINUTE = 30  # of rejected callers; the rest is counted
# PS3.8 9.3.4: result, source, reason.
CALLING_AE_TITLE = (0x01, 0x01, 0x03)  # permanently, by the service user: calling AE title not recognised
CALLED_AE_TITLE = (0x01, 0x01, 0x07)  # … called AE title not recognised
FOR_NOW = (0x02, 0x03, 0x01)  # transiently, by the service provider: temporary congestion

_WORKLIST = {str(ModalityWorklistInformationFind)}
_CHANGES = {str(ModalityPerformedProcedureStep)}
_PERFORMED = {str(ModalityPerformedProcedureStep), str(ModalityPerformedProcedureStepRetrieve)}
_STEP_MESSAGES = {N_CREATE: ("N-CREATE", mpps.create), N_SET: ("N-SET", mpps.change)}
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
        lists: Mapping[str, tuple[str, ...]] | None = None,
        on_available: Callable[[str], None] | None = None,
    ) -> None:
        """Answer as `ae_title`; with `learns`, unknown devices are served until they are approved or refused.

        `lists` are further AE titles that may be called, each with the stations and rooms whose items are on its list.
        `on_available` is called with the UID of a study that is said to be in the archive; it must not wait.
        """
        self._lists, self._on_available = lists or {}, on_available
        self._ae_title, self._learns = ae_title, learns
        self._store, self._clinic = store, clinic
        self._worklist = WorklistCache(store, clinic, institution)
        self._strangers = KeyedThrottle(LEARN_EVERY, devices.MAX_UNAPPROVED)
        self._refusals = KeyedThrottle(LEARN_EVERY, devices.MAX_UNAPPROVED)
        self._samples = KeyedThrottle(SAMPLE_EVERY, MOST_SAMPLED)
        self._contacts = KeyedThrottle(CONTACT_EVERY, MOST_SAMPLED)
        self._lines = KeyedThrottle(60.0, LINES_A_MINUTE)
        self._known = KnownDevices(store)
        self._storage = ReportStorage(store, self._known)
        self._operations: dict[int, tuple[set[str], Callable[[Request], Iterator[Reply]]]] = {
            C_FIND: (_WORKLIST, self._find),
            N_CREATE: (_CHANGES, self._take),
            N_SET: (_CHANGES, self._take),
            N_GET: (_PERFORMED, self._get),
            C_STORE: (set(STORED), self._store_object),
        }

    # ---- who may call ----

    def rejection(self, calling: str, called: str, address: str) -> Rejection | None:
        """Return why a caller is rejected, or None; all callers are, for now, if the registry cannot be read."""
        try:
            rejected = self._caller_rejection(calling, address)
        except Exception as error:
            log.error("cannot check who calls: %s", error)
            return FOR_NOW
        if rejected is None and called != self._ae_title and called not in self._lists:
            self._note_turned_away(calling, address, TurnedAway(TurnedAwayReason.CALLED, (called,)))
            return CALLED_AE_TITLE
        return rejected

    def turned_away(self, calling: str, called: str, address: str, problem: Problem, details: tuple[str, ...]) -> None:
        """Note why nothing came of an association, for who sets the device up."""
        if not registry.is_ae_title(calling):
            self._note_untitled(calling, address, problem)
            return
        if problem is Problem.AE_TITLE:
            found = TurnedAway(TurnedAwayReason.CALLED, (called,))
        elif problem is Problem.SERVICE:
            found = TurnedAway(TurnedAwayReason.SERVICE, tuple(sorted({service(uid) for uid in details})))
        else:
            found = TurnedAway(TurnedAwayReason[problem.name], details)
        try:
            if self._known.get(calling) is None:
                self._learn(calling, address, new=True)
        except Exception as error:
            log.error("cannot check who calls: %s", error)
            return
        self._note_turned_away(calling, address, found)

    def _note_turned_away(self, ae_title: str, address: str, found: TurnedAway) -> None:
        if self._refusals.allow((ae_title, address, found.reason)):
            self._submit(lambda tx: devices.note_turned_away(tx, ae_title, address, found))

    def _note_untitled(self, calling: str, address: str, problem: Problem) -> None:
        """Note, under its address, who cannot be known by an AE title."""
        if problem is Problem.UNREADABLE:
            found = TurnedAway(TurnedAwayReason.UNREADABLE)
        else:
            found = TurnedAway(TurnedAwayReason.UNTITLED, (calling,))
        if self._refusals.allow(("", address, found.reason)):
            self._submit(lambda tx: devices.note_untitled(tx, address, found))

    def _caller_rejection(self, ae_title: str, address: str) -> Rejection | None:
        """Reject what is not approved (unless unknown devices are served), or calls from another address."""
        if ae_title == self._ae_title and address in ("127.0.0.1", "::1"):
            return None  # our own health check
        device = self._known.get(ae_title)
        if device is not None and device.approved:
            if registry.may_call(device, address):
                return None
            reason, why = TurnedAwayReason.ADDRESS, f"this AE title belongs to {device.address}"
        else:
            self._learn(ae_title, address, new=device is None)
            if self._learns:
                return None
            reason, why = TurnedAwayReason.UNKNOWN, "unknown AE title"
        self._note_turned_away(ae_title, address, TurnedAway(reason))
        if self._lines.allow((ae_title, address)):
            suppressed = self._lines.suppressed()
            more = f" (and {suppressed} others)" if suppressed else ""
            log.warning("association of %s at %s rejected: %s%s", ae_title, address, why, more)
        return CALLING_AE_TITLE

    def _learn(self, ae_title: str, address: str, *, new: bool) -> None:
        """Record a caller for an administrator to approve; the throttle bounds invented names."""
        if registry.is_ae_title(ae_title) and self._strangers.allow((ae_title, address)):
            if new and self._lines.allow(("learned", ae_title)):
                log.info("unknown device %s at %s recorded for approval", ae_title, address)
            self._submit(lambda tx: devices.learn(tx, ae_title, address))

    def _submit(self, fn: Callable[[Tx], None]) -> None:
        """Queue a write that no answer depends on; it is dropped while the database closes."""
        try:
            self._store.submit_background(fn)
        except StoreError:
            log.info("not noted, the database is closed")

    # ---- answers ----

    def _caller(self, request: Request) -> Caller:
        return Caller(request.calling, request.address, self._lists.get(request.called, ()))

    def at_once(self, request: Request) -> CachedResponse | Reply | DeferredReply | None:
        """Return what can be answered without waiting for anything; None if `answer` is to work it out.

        A small MPPS message is parsed here and now, as handing it to another thread would cost as much.
        """
        caller, command = self._caller(request), request.command
        if command.field == C_ECHO:
            if self._contacts.allow((caller, "echo")):
                self._submit(lambda tx: devices.note_contact(tx, caller.ae_title, "echo", caller.address, ""))
            return Reply(int(Status.SUCCESS))
        if request.context.abstract_syntax == AVAILABILITY:
            return self._availability(request)
        operation = self._operations.get(command.field)
        if operation is None or request.context.abstract_syntax not in operation[0]:
            return Reply(status(Status.UNRECOGNISED_OPERATION))
        named = command.sop_class_uid
        if named is not None and named != request.context.abstract_syntax and named not in operation[0]:
            return Reply(status(_foreign(command.field, named)))
        if command.field in _STEP_MESSAGES and len(request.dataset) <= MOST_READ_AT_ONCE:
            return self._step_message(request)
        if command.field != C_FIND:
            return None
        ready = self._worklist.lookup(_cache_key(request))
        if ready is not None and self._contacts.allow((caller, "worklist")):
            worklist.note_contact(self._store, caller, ready.step_ids, ready.notes)
        return ready

    def _availability(self, request: Request) -> Reply:
        """Take a notification that images are available (PS3.4 Annex R) as a hint; it proves nothing."""
        command, caller = request.command, self._caller(request)
        if command.field != N_CREATE:
            return Reply(status(Status.UNRECOGNISED_OPERATION))
        if command.sop_class_uid not in (None, AVAILABILITY):
            return Reply(status(_foreign(command.field, command.sop_class_uid or "")))
        try:
            study = json_model.read(
                request.dataset, request.context.implicit, most_elements=decoding.MOST_MPPS_ELEMENTS
            )
        except Undecodable as error:
            log.warning("availability notification of %s cannot be read: %s", caller.ae_title, error)
            return Reply(status(Status.PROCESSING_FAILURE, str(error)), None, command.sop_instance_uid or "")
        uid = (study.get("0020000D", {}).get("Value") or [""])[0]
        if uid and self._on_available is not None:
            self._on_available(str(uid))
        if self._contacts.allow((caller, "availability")):
            summary = "images are available"
            self._submit(lambda tx: devices.note_contact(tx, caller.ae_title, "availability", caller.address, summary))
        return Reply(int(Status.SUCCESS), None, command.sop_instance_uid or "")

    def answer(self, request: Request) -> Iterator[Reply]:
        """Yield the responses to a request; may take its time. Raises only on faults of this program."""
        return self._operations[request.command.field][1](request)

    def wants_sample(self, request: Request) -> bool:
        """Return True if a request that was answered at once is to be stored by `sample`, which takes its time."""
        return self._samples.would_allow((request.calling, _SAMPLED[request.command.field]))

    def sample(self, request: Request) -> None:
        """Store what a device sends, at most every SAMPLE_EVERY seconds, without patients' data."""
        caller, service = self._caller(request), _SAMPLED[request.command.field]
        if not self._samples.allow((caller.ae_title, service)):
            return
        try:
            # Without a fallback: as it came, with the Specific Character Set that it names.
            attributes = samples.mask(decoding.decode(request.dataset, request.context.implicit, fallback=""))
        except Exception as error:  # devices send unexpected values: an error here must not affect the answer
            log.warning("no sample of %s's %s can be made: %s", caller.ae_title, service, type(error).__name__)
            return
        self._submit(lambda tx: devices.keep_sample(tx, caller.ae_title, service, attributes))

    def _find(self, request: Request) -> Iterator[Reply]:
        caller = self._caller(request)
        try:
            revision = self._worklist.revision()  # before anything is read that the answer depends on
            fallback = self._known.or_default(caller.ae_title).fallback_charset
            query = decoding.decode(request.dataset, request.context.implicit, fallback=fallback)
            self.sample(request)
            with closing(self._worklist.find(query, _cache_key(request), caller, revision)) as responses:
                for each in responses:
                    yield Reply(each.status, each.identifier)
        except Undecodable as error:
            log.warning("worklist query of %s cannot be read: %s", caller.ae_title, error)
            yield Reply(status(Status.UNABLE_TO_PROCESS, str(error)))
        except Exception as error:  # whatever devices send and disks do, the device gets an answer
            log.error("worklist query of %s failed: %s", caller.ae_title, type(error).__name__)
            yield Reply(status(Status.UNABLE_TO_PROCESS, "the worklist cannot be read, try again later"))

    def _step_message(self, request: Request) -> Reply | DeferredReply:
        """Take an MPPS message; it is answered after the commit."""
        caller, uid = self._caller(request), request.command.sop_instance_uid or ""
        operation, take = _STEP_MESSAGES[request.command.field]
        try:
            device = self._known.or_default(caller.ae_title)
            attributes = json_model.read(
                request.dataset,
                request.context.implicit,
                fallback=device.fallback_charset,
                most_bytes=decoding.MOST_MPPS_BYTES,
                most_elements=decoding.MOST_MPPS_ELEMENTS,
                packs=True,
            )
            pending = take(attributes, uid, caller, device, self._clinic)
        except Undecodable as error:
            log.warning("%s of %s cannot be read: %s", operation, caller.ae_title, error)
            why = f"{operation}: {error}"
            self._submit(lambda tx: devices.note(tx, caller.ae_title, "mpps_unreadable", why))
            return Reply(status(Status.PROCESSING_FAILURE, str(error)), None, uid)
        except Exception as error:  # whatever is broken here, the device gets an answer
            log.error("%s of %s failed: %s", operation, caller.ae_title, type(error).__name__)
            return Reply(int(Status.PROCESSING_FAILURE), None, uid)

        def reply(committed: Future[ChangeResult]) -> Reply:
            answered = pending.status(committed)
            # PS3.7 10.1.5.1.4: the UID that we made goes back.
            return Reply(answered, None, uid or (pending.uid if answered.Status == Status.SUCCESS else ""))

        return DeferredReply(lambda: pending.submit(self._store), reply)

    def _take(self, request: Request) -> Iterator[Reply]:
        self.sample(request)
        taken = self._step_message(request)
        yield taken.reply(taken.begin()) if isinstance(taken, DeferredReply) else taken

    def _store_object(self, request: Request) -> Iterator[Reply]:
        caller = self._caller(request)
        reply = self._storage.take(request, caller)
        if self._contacts.allow((caller, "storage")):
            summary = "a report or document"
            self._submit(lambda tx: devices.note_contact(tx, caller.ae_title, "storage", caller.address, summary))
        yield reply

    def _get(self, request: Request) -> Iterator[Reply]:
        uid = request.command.sop_instance_uid or ""
        tags, caller = request.command.attributes, self._caller(request)
        device = self._known.or_default(caller.ae_title)
        answered, ds = mpps.retrieve(uid, tags, caller, device, self._store)
        data: Any = encode(ds, request.context.implicit, True) if ds else None
        if ds and data is None:
            answered = status(Status.PROCESSING_FAILURE)
        yield Reply(answered, data, uid)


def _foreign(field: int, named: str) -> Status:
    """Return why a request is refused that names another SOP class than its context's (PS3.7 C.5.7, C.5.21, C.4.3)."""
    if field in (C_FIND, C_STORE):
        return Status.SOP_CLASS_NOT_SUPPORTED
    return Status.CLASS_INSTANCE_CONFLICT if named in SOP_CLASSES else Status.NO_SUCH_SOP_CLASS


def _cache_key(request: Request) -> CacheKey:
    return CacheKey(request.calling, request.called, request.context.implicit, request.dataset)
