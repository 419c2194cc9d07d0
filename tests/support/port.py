"""The DICOM port with a database behind it, and a device's association with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydicom.uid import UID
from pynetdicom import AE
from pynetdicom.association import Association

from broker.app.settings import port_settings
from broker.config.sections import DicomConfig
from broker.dicom.scu import no_delay
from broker.dicom.server import DicomServer
from broker.store.database import Store
from tests.support.factory import CLINIC


@contextmanager
def serving(store: Store, **changes: Any) -> Iterator[DicomServer]:
    config = DicomConfig.model_validate({"address": "127.0.0.1", "port": 0, **changes})
    server = DicomServer(port_settings(config), store, CLINIC, "Клиника на Заречной")
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def associated(
    port: int, sop_class: str, calling: str = "XRAY_14", syntax: UID | None = None, called: str = "WORKLIST"
) -> Iterator[Association]:
    ae = AE(ae_title=calling)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 10
    ae.add_requested_context(sop_class, syntax)
    assoc = ae.associate("127.0.0.1", port, ae_title=called, evt_handlers=no_delay.HANDLERS)
    try:
        yield assoc
    finally:
        if assoc.is_established:
            assoc.release()
