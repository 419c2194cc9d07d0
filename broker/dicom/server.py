"""The listening port: who may call, how much, and which service answers.

The only file that knows pynetdicom's server.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ABORT, A_P_ABORT, A_RELEASE
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ModalityPerformedProcedureStep,
    ModalityPerformedProcedureStepRetrieve,
    ModalityWorklistInformationFind,
    Verification,
)
from pynetdicom.transport import AssociationSocket, ThreadedAssociationServer

from broker.config import DicomConfig
from broker.dicom import charset, decoding, libraries, mpps, samples, worklist
from broker.dicom.decoding import Undecodable
from broker.dicom.seldom import Seldom
from broker.dicom.statuses import Status, status
from broker.dicom.worklist import Caller
from broker.domain.model import Clinic
from broker.store import devices
from broker.store.database import Store
from broker.workflow import devices as registry

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
MAXIMUM_PDU = 65536  # bytes that a peer may put into one PDU
LARGEST_PDU = 1 << 20  # bytes of one that are read, also of a peer that does not keep to that
ACSE_TIMEOUT = 15.0  # seconds to finish association negotiation or release
DIMSE_TIMEOUT = 30.0  # seconds to finish a message that has begun
BACKLOG = 64
LEARN_EVERY = 10.0  # seconds after which it is noted anew that the same stranger called, or that a caller was rejected
SAMPLE_EVERY = 10.0  # seconds between two samples of what a device sends on a service
MOST_SAMPLED = 1000  # devices and services that are sampled in that span
LINES_A_MINUTE = 30  # of rejected callers; the rest is counted
# PS3.8 9.3.4: rejected permanently by the service user, calling AE title not recognised.
REJECT_CALLING_AE_TITLE = (0x01, 0x01, 0x03)
REJECT_FOR_NOW = (0x02, 0x03, 0x01)  # rejected transiently by the service provider, temporary congestion


class DicomServer:
    """The modalities' port: C-ECHO, worklist and performed procedure steps, on threads of its own."""

    def __init__(self, config: DicomConfig, store: Store, clinic: Clinic, institution: str = "") -> None:
        self._config, self._store, self._clinic, self._institution = config, store, clinic, institution
        self._server: ThreadedAssociationServer | None = None
        self._strangers = Seldom(LEARN_EVERY, devices.MOST_STRANGERS)
        self._refusals = Seldom(LEARN_EVERY, devices.MOST_STRANGERS)
        self._samples = Seldom(SAMPLE_EVERY, MOST_SAMPLED)
        self._lines = Seldom(60.0, LINES_A_MINUTE)
        libraries.set_up()
        self._ae = AE(ae_title=config.ae_title)
        self._ae.maximum_associations = config.max_associations
        self._ae.maximum_pdu_size = MAXIMUM_PDU
        self._ae.acse_timeout = ACSE_TIMEOUT
        self._ae.dimse_timeout = DIMSE_TIMEOUT
        self._ae.network_timeout = config.idle_timeout
        self._ae.require_called_aet = True
        self._ae.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
        self._ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        for sop_class in SOP_CLASSES:
            self._ae.add_supported_context(sop_class, TRANSFER_SYNTAXES)

    @property
    def port(self) -> int:
        """The port that it listens on; differs from the configured one where that is 0."""
        assert self._server is not None
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Listen; raise OSError where the port cannot be had."""
        self._server = self._ae.start_server(
            (self._config.address, self._config.port),
            block=False,
            evt_handlers=[
                (evt.EVT_CONN_OPEN, self._opened),
                (evt.EVT_REQUESTED, self._requested),
                (evt.EVT_C_ECHO, self._echo),
                (evt.EVT_C_FIND, self._find),
                (evt.EVT_N_CREATE, self._create),
                (evt.EVT_N_SET, self._set),
                (evt.EVT_N_GET, self._get),
            ],
        )
        assert self._server is not None
        assert self._server.socket is not None
        self._server.socket.listen(BACKLOG)  # the library's own backlog is 5
        log.info("DICOM port open: %s at %s:%d", self._config.ae_title, self._config.address, self.port)

    def stop(self) -> None:
        """Abort what is open and close the port."""
        if self._server is not None:
            self._ae.shutdown()
            self._server = None

    # ---- association ----

    def _opened(self, event: evt.Event) -> None:
        sock = event.assoc.dul.socket
        if sock is not None and sock.socket is not None:
            # Nagle's algorithm and a delayed acknowledgement together cost 40 ms an answer.
            sock.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # The library waits for the rest of a PDU for ever: a device that lost its cable within one kept its place.
            sock.socket.settimeout(DIMSE_TIMEOUT)
            _bound(sock)

    def _requested(self, event: evt.Event) -> None:
        """Reject who may not call; and everybody, for now, where that cannot be judged."""
        try:
            self._judge(event.assoc)
        except Exception as error:
            log.error("who may call cannot be judged: %s", error)
            self._reject(event.assoc, REJECT_FOR_NOW)

    def _judge(self, assoc: Association) -> None:
        """Reject an unknown AE title (unless learned), and a known one from another address."""
        primitive: Any = assoc.requestor.primitive
        ae_title, address = str(primitive.calling_ae_title).strip(), str(assoc.requestor.address)
        if ae_title == self._config.ae_title and address in ("127.0.0.1", "::1"):
            return  # our own health check
        with self._store.read() as reader:
            device = devices.get(reader, ae_title)
        if device is not None and device.adopted:
            why = "" if registry.may_call(device, address) else f"this AE title belongs to {device.address}"
        else:
            why = "" if self._config.unknown_devices == "learn" else "unknown AE title"
            self._learn(ae_title, address, new=device is None)
        if not why:
            return
        self._reject(assoc, REJECT_CALLING_AE_TITLE)
        if self._refusals.now((ae_title, address)):
            self._store.submit(lambda tx: devices.hear(tx, ae_title, "refused", address, why))
        if self._lines.now((ae_title, address)):
            held_back = self._lines.held_back()
            more = f" (and {held_back} others)" if held_back else ""
            log.warning("association of %s at %s rejected: %s%s", ae_title, address, why, more)

    def _reject(self, assoc: Association, reason: tuple[int, int, int]) -> None:
        if not assoc.is_rejected:
            assoc.acse.send_reject(*reason)
            assoc.kill()

    def _learn(self, ae_title: str, address: str, *, new: bool) -> None:
        """Keep who calls and is not adopted, so that an administrator may adopt it; invented names find no room."""
        if registry.is_ae_title(ae_title) and self._strangers.now((ae_title, address)):
            if new and self._lines.now(("learned", ae_title)):
                log.info("unknown device %s at %s: recorded, to be adopted", ae_title, address)
            self._store.submit(lambda tx: devices.learn(tx, ae_title, address))

    def _decode(self, event: evt.Event, stream: Any, *, mpps: bool = False) -> Dataset:
        """Decode a message whole, in the sender's characters; raise Undecodable."""
        caller = _caller(event)
        with self._store.read() as reader:
            device = devices.get(reader, caller.ae_title)
        return decoding.decode(
            _bytes(stream),
            event.context.transfer_syntax.is_implicit_VR,
            fallback=device.fallback_charset if device else charset.CYRILLIC,
            most_bytes=decoding.MOST_MPPS_BYTES if mpps else decoding.MOST_BYTES,
            most_elements=decoding.MOST_MPPS_ELEMENTS if mpps else decoding.MOST_ELEMENTS,
        )

    def _sample(self, event: evt.Event, service: str, stream: Any) -> None:
        """Keep what a device really sends, now and then, without patients' data and without making it wait."""
        caller = _caller(event)
        if not self._samples.now((caller.ae_title, service)):
            return
        try:
            # As it came: the Specific Character Set that it names, letters that it names none for.
            implicit = event.context.transfer_syntax.is_implicit_VR
            attributes = samples.mask(decoding.decode(_bytes(stream), implicit, fallback=""))
        except Exception as error:  # devices send what nobody thought of; it must not cost them their answer
            log.warning("no sample of %s's %s can be made: %s", caller.ae_title, service, type(error).__name__)
            return
        self._store.submit(lambda tx: devices.keep_sample(tx, caller.ae_title, service, attributes))

    # ---- services ----

    def _echo(self, event: evt.Event) -> int:
        caller = _caller(event)
        self._store.submit(lambda tx: devices.hear(tx, caller.ae_title, "echo", caller.address, ""))
        return int(Status.SUCCESS)

    def _find(self, event: evt.Event) -> Iterator[tuple[Dataset | int, Dataset | None]]:
        caller = _caller(event)
        try:
            query = self._decode(event, _request(event).Identifier)
            self._sample(event, "worklist", _request(event).Identifier)
            with closing(worklist.find(query, caller, self._store, self._clinic, self._institution)) as found:
                for answer in found:
                    if event.is_cancelled:
                        yield int(Status.CANCEL), None
                        return
                    if _is_leaving(event.assoc):  # without C-CANCEL
                        return
                    yield answer.status, answer.identifier
        except Undecodable as error:
            log.warning("worklist query of %s cannot be read: %s", caller.ae_title, error)
            yield status(Status.UNABLE_TO_PROCESS, str(error)), None
        except Exception as error:  # whatever devices send and disks do, who asks is told
            log.error("worklist query of %s failed: %s", caller.ae_title, type(error).__name__)
            yield status(Status.UNABLE_TO_PROCESS, "the worklist cannot be read, try again later"), None

    def _create(self, event: evt.Event) -> tuple[Dataset | int, Dataset | None]:
        caller, uid = _caller(event), str(_request(event).AffectedSOPInstanceUID or "")
        try:
            ds = self._decode(event, _request(event).AttributeList, mpps=True)
        except Undecodable as error:
            log.warning("N-CREATE of %s cannot be read: %s", caller.ae_title, error)
            return status(Status.PROCESSING_FAILURE, str(error)), None
        self._sample(event, "N-CREATE", _request(event).AttributeList)
        answered, made = mpps.create(ds, uid, caller, self._store, self._clinic)
        attributes = None
        if not uid and answered.Status == Status.SUCCESS:
            attributes = Dataset()  # PS3.7 10.1.5.1.4: the UID that we made goes back
            attributes.AffectedSOPInstanceUID = made
        return answered, attributes

    def _set(self, event: evt.Event) -> tuple[Dataset | int, Dataset | None]:
        caller, uid = _caller(event), str(_request(event).RequestedSOPInstanceUID or "")
        try:
            ds = self._decode(event, _request(event).ModificationList, mpps=True)
        except Undecodable as error:
            log.warning("N-SET of %s cannot be read: %s", caller.ae_title, error)
            return status(Status.PROCESSING_FAILURE, str(error)), None
        self._sample(event, "N-SET", _request(event).ModificationList)
        return mpps.change(ds, uid, caller, self._store, self._clinic), None

    def _get(self, event: evt.Event) -> tuple[Dataset | int, Dataset | None]:
        uid = str(_request(event).RequestedSOPInstanceUID or "")
        return mpps.retrieve(uid, event.attribute_identifiers, _caller(event), self._store)


def _bound(sock: AssociationSocket) -> None:
    """Close a connection on which a PDU says that it is huge: the library would collect all of it, from anybody."""
    read = sock.recv

    def recv(nr_bytes: int) -> bytearray:
        if nr_bytes > LARGEST_PDU:
            raise OSError(f"a PDU of {nr_bytes} bytes")
        return read(nr_bytes)

    sock.recv = recv  # type: ignore[method-assign]


def _is_leaving(assoc: Association) -> bool:
    """Say whether a device has gone, or has asked to go before it had its answer."""
    return not assoc.is_established or isinstance(assoc.dul.peek_next_pdu(), A_RELEASE | A_ABORT | A_P_ABORT)


def _request(event: evt.Event) -> Any:
    return event.request  # which primitive it is follows from the event


def _caller(event: evt.Event) -> Caller:
    requestor = event.assoc.requestor
    return Caller(str(requestor.ae_title).strip(), str(requestor.address))


def _bytes(stream: Any) -> bytes:
    """Give a message's dataset, which need not be there at all."""
    return bytes(stream.getvalue()) if stream is not None else b""
