"""Verification (C-ECHO, PS3.4 Annex A) of other application entities: the archive, a modality, our own port."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from broker.dicom.scu import no_delay
from broker.dicom.scu.tls import ClientTls


@dataclass(frozen=True, slots=True)
class EchoResult:
    """Whether an application entity answered, the seconds that it took, and in words what happened."""

    ok: bool
    seconds: float
    words: str


def echo(
    ae_title: str, address: str, port: int, calling_ae_title: str, timeout: float = 5.0, tls: ClientTls | None = None
) -> EchoResult:
    """Verify an application entity by an association and a C-ECHO; `timeout` in seconds bounds each step."""
    ae = AE(ae_title=calling_ae_title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = timeout
    ae.add_requested_context(Verification)
    started = time.monotonic()
    try:
        secure = tls.to(address) if tls else None
        assoc = ae.associate(address, port, ae_title=ae_title, evt_handlers=no_delay.HANDLERS, tls_args=secure)
    except (OSError, RuntimeError, ValueError) as error:
        return EchoResult(False, time.monotonic() - started, f"cannot connect to {address}:{port}: {error}")
    try:
        if assoc.is_established:
            answer = assoc.send_c_echo()
            took = time.monotonic() - started
            if "Status" in answer and answer.Status == 0:
                assoc.release()
                return EchoResult(True, took, f"{ae_title} answered in {took * 1000:.0f} ms")
            return EchoResult(False, took, f"{ae_title} accepted the association and did not answer C-ECHO")
        took = time.monotonic() - started
        # A refusal that comes at once is left unread by the library, which takes the connection for a failed one.
        refusal: Any = assoc.acceptor.primitive if assoc.is_rejected else assoc.dul.peek_next_pdu()
        if assoc.is_rejected or getattr(refusal, "result", None):
            why = getattr(refusal, "reason_str", "no reason given")
            return EchoResult(False, took, f"{ae_title} rejected the association: {why}")
        return EchoResult(False, took, f"nothing answers at {address}:{port}")
    finally:
        if assoc.is_alive() and assoc.is_established:
            assoc.abort()
