"""The door to the modalities' port: the configuration, the services and the upper layer put together."""

from __future__ import annotations

import logging
import ssl
import sys

from broker.config.sections import DicomConfig
from broker.dicom.codec import settings
from broker.dicom.services import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    SOP_CLASSES,
    TRANSFER_SYNTAXES,
    Services,
)
from broker.dicom.upper_layer.limits import Limits
from broker.dicom.upper_layer.negotiation import Negotiator
from broker.dicom.upper_layer.port import Port
from broker.domain.clinic import Clinic
from broker.store.database import Store

log = logging.getLogger(__name__)

# Seconds after which a busy thread lets another one run, in the whole program. The port waits for its turn after each
# network event: with Python's own 5 ms an echo beside busy threads takes six times as long, and a list twice as long.
SWITCH_INTERVAL = 0.0005


class DicomServer:
    """The modalities' port: C-ECHO, worklist and performed procedure steps, on threads of its own."""

    def __init__(self, config: DicomConfig, store: Store, clinic: Clinic, institution: str = "") -> None:
        settings.set_up()
        self._config = config
        limits = Limits.of(config)
        negotiator = Negotiator(
            SOP_CLASSES, TRANSFER_SYNTAXES, limits.max_pdu, IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
        )
        self._port = Port(Services(config, store, clinic, institution), negotiator, limits)

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
        config = self._config
        tls = _tls(config)
        self._port.start(config.address, config.port, (tls, config.tls_port) if tls else None)
        log.info("DICOM port open: %s at %s:%d", config.ae_title, config.address, self.port)
        if tls is not None:
            who = "with certificates" if config.tls_ca else "without a certificate of theirs"
            log.info("DICOM over TLS: %s:%d, devices %s", config.address, self.tls_port, who)

    def stop(self) -> None:
        """Take nothing new, finish answers under way, and close."""
        self._port.stop()


def _tls(config: DicomConfig) -> ssl.SSLContext | None:
    """Set up TLS as the configuration says (PS3.15 B.9, BCP 195: 1.2 and later)."""
    if config.tls_certificate is None or config.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(config.tls_certificate, config.tls_key, password=lambda: "")
    if config.tls_ca is not None:
        context.load_verify_locations(config.tls_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
