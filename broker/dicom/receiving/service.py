"""The storage service (PS3.4 Annex B) for structured reports and documents: C-STORE in, a status out.

Success is answered only after the commit: the device deletes its report then. Images are not offered: a device
deletes what it has stored, and this program keeps no images.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from broker.dicom.devices.registry import Caller, KnownDevices
from broker.dicom.receiving import objects
from broker.dicom.receiving.objects import DOCUMENTS, REPORTS, UnreadableObject
from broker.dicom.statuses import Status, status
from broker.dicom.upper_layer.answering import Reply, Request
from broker.dicom.upper_layer.pdu.conformance import is_uid
from broker.domain.actors import Actor, ActorKind
from broker.domain.studies.received import Receipt
from broker.store.database import Store, StoreError
from broker.store.tables import devices
from broker.workflow.studies import received_objects

log = logging.getLogger(__name__)

SOP_CLASSES = [*REPORTS, *DOCUMENTS]


@dataclass(frozen=True, slots=True)
class StorageLimits:
    """Bytes of a dataset that are taken; what is longer is answered with A700."""

    report: int = 12 << 20
    document: int = 32 << 20

    def by_class(self) -> Mapping[str, int]:
        """Return the limit of each SOP class."""
        return {uid: self.document if uid in DOCUMENTS else self.report for uid in SOP_CLASSES}


class ReportStorage:
    """Takes what modalities store."""

    def __init__(self, store: Store, known: KnownDevices) -> None:
        self._store, self._known = store, known

    def take(self, request: Request, caller: Caller) -> Reply:
        """Store an object; may take its time."""
        command, uid = request.command, request.command.sop_instance_uid or ""
        if command.sop_class_uid is None or command.sop_class_uid != request.context.abstract_syntax:
            return Reply(status(Status.SOP_CLASS_NOT_SUPPORTED), None, uid)
        if not is_uid(uid):
            return Reply(status(Status.INVALID_SOP_INSTANCE), None, uid)
        if request.too_long:
            self._note(caller, "object_too_long", "document" if command.sop_class_uid in DOCUMENTS else "report")
            return Reply(status(Status.OUT_OF_RESOURCES, "it is longer than this program takes"), None, uid)
        try:
            device = self._known.or_default(caller.ae_title)
            received, dose = objects.read(
                request.dataset,
                request.context.implicit,
                command.sop_class_uid,
                uid,
                caller.ae_title,
                device.fallback_charset,
            )
        except UnreadableObject as error:
            self._note(caller, "object_unreadable", str(error))
            return Reply(status(Status.UNABLE_TO_PROCESS, str(error)), None, uid)
        except StoreError as error:
            return self._failed(caller, uid, error)
        actor = Actor(ActorKind.DEVICE, caller.ae_title, ", ".join(filter(None, (device.name, device.room))))
        try:
            receipt = self._store.write(received_objects.receive, received, dose, actor)
        except Exception as error:  # whatever disks do, the device gets an answer
            return self._failed(caller, uid, error)
        if receipt is Receipt.OTHER_CONTENT:
            self._note(caller, "object_changed", received.sop_instance_uid)
            return Reply(status(Status.UNABLE_TO_PROCESS, "another object with this UID is stored here"), None, uid)
        return Reply(int(Status.SUCCESS), None, uid)

    def _failed(self, caller: Caller, uid: str, error: Exception) -> Reply:
        log.error("C-STORE of %s failed: %s", caller.ae_title, type(error).__name__)
        return Reply(status(Status.OUT_OF_RESOURCES, "it cannot be stored, send it again later"), None, uid)

    def _note(self, caller: Caller, kind: str, text: str) -> None:
        log.warning("C-STORE of %s refused (%s): %s", caller.ae_title, kind, text)
        try:
            self._store.submit_background(lambda tx: devices.note(tx, caller.ae_title, kind, text))
        except StoreError:
            log.info("not noted, the database is closed")
