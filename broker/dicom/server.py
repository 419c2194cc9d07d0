"""The modalities' port as the program starts it: settings, services and the upper layer put together."""

from __future__ import annotations

import logging
import ssl
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from broker.dicom.codec import settings
from broker.dicom.devices.throttle import KeyedThrottle
from broker.dicom.receiving.service import SOP_CLASSES as STORED
from broker.dicom.receiving.service import StorageLimits
from broker.dicom.services import (
    AVAILABILITY,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    SOP_CLASSES,
    TRANSFER_SYNTAXES,
    DicomServices,
)
from broker.dicom.upper_layer.limits import Limits
from broker.dicom.upper_layer.negotiation import Negotiator
from broker.dicom.upper_layer.port import Port
from broker.domain.clinic.settings import Clinic
from broker.store.database import Store

log = logging.getLogger(__name__)

# Seconds after which a busy thread lets another one run, in the whole program. The port waits for its turn after each
# network event: with Python's own 5 ms an echo beside busy threads takes six times as long, and a list twice as long.
SWITCH_INTERVAL = 0.0005
LINES_A_MINUTE = 30  # in the log, about peers that break the protocol; the rest is counted


@dataclass(frozen=True, slots=True)
class PortSettings:
    """Where the port listens, as whom, and what it lets a peer cost; `port` 0 takes any free one.

    Without `tls_certificate` there is no TLS; with `tls_ca` a device needs a certificate of that authority.
    """

    ae_title: str = "WORKLIST"
    address: str = "0.0.0.0"
    port: int = 11112
    learns_unknown_devices: bool = False  # they are served meanwhile; else rejected
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # other called AE titles: stations and rooms
    tls_port: int = 2762
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    limits: Limits = field(default_factory=Limits)
    storage: StorageLimits | None = None  # of structured reports and documents; None: they are not offered


class DicomServer:
    """The modalities' port: C-ECHO, worklist and performed procedure steps, on threads of its own."""

    def __init__(
        self,
        port_settings: PortSettings,
        store: Store,
        clinic: Clinic,
        institution: str = "",
        *,
        on_available: Callable[[str], None] | None = None,
    ) -> None:
        """`on_available` gets the UIDs of studies that are said to be in the archive; None: IAN is not offered."""
        settings.set_up()
        self._settings = port_settings
        limits, storage = port_settings.limits, port_settings.storage
        if storage is not None:
            limits = replace(limits, stored=storage.by_class())
        offered = [*SOP_CLASSES, *([AVAILABILITY] if on_available else []), *(STORED if storage else [])]
        negotiator = Negotiator(
            offered, TRANSFER_SYNTAXES, limits.max_pdu, IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
        )
        services = DicomServices(
            port_settings.ae_title,
            store,
            clinic,
            institution,
            learns=port_settings.learns_unknown_devices,
            lists=port_settings.lists,
            on_available=on_available,
        )
        self._port = Port(services, negotiator, limits, KeyedThrottle(60.0, LINES_A_MINUTE))

    @property
    def port(self) -> int:
        """The port that it listens on; differs from the configured one where that is 0."""
        return self._port.ports()[0]

    @property
    def tls_port(self) -> int:
        """The port of associations over TLS."""
        return self._port.ports()[1]

    @property
    def associations(self) -> int:
        """How many associations there are."""
        return self._port.associations

    def start(self) -> None:
        """Listen; raise OSError where a port cannot be had, or a certificate cannot be used (ssl.SSLError)."""
        sys.setswitchinterval(SWITCH_INTERVAL)
        listening = self._settings
        tls = _tls(listening)
        self._port.start(listening.address, listening.port, (tls, listening.tls_port) if tls else None)
        log.info("DICOM port open: %s at %s:%d", listening.ae_title, listening.address, self.port)
        if tls is not None:
            who = "with certificates" if listening.tls_ca else "without a certificate of theirs"
            log.info("DICOM over TLS: %s:%d, devices %s", listening.address, self.tls_port, who)

    def stop(self) -> None:
        """Take nothing new, finish answers under way, and close."""
        self._port.stop()


def _tls(listening: PortSettings) -> ssl.SSLContext | None:
    """Set up TLS as the configuration says (PS3.15 B.9, BCP 195: 1.2 and later)."""
    if listening.tls_certificate is None or listening.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(listening.tls_certificate, listening.tls_key, password=lambda: "")
    if listening.tls_ca is not None:
        context.load_verify_locations(listening.tls_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
