"""What is typed, and what a device sends over the network, in acceptance tests."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import ModalityPerformedProcedureStep  # type: ignore[attr-defined]

from broker.dicom.scu import no_delay
from tests.support.clinic import Installation


def referral(installation: Installation, number: int) -> dict[str, Any]:
    return {
        "patient": {"name": f"Пробный Пациент {'абвгдежзик'[number % 10] * 3}", "birth_date": "1970-01-02", "sex": "M"},
        "procedure": "WLB-KNEE",
        "stations": ["XRAY_14"],
        "start": installation.soon().isoformat(),
        "referrer": "Зимин Андрей Павлович",
        "submission_id": f"kill {number}",
    }


def send(
    port: int,
    uid: str,
    create: Dataset | None = None,
    change: Dataset | None = None,
    calling: str = "XRAY_14",
    called: str = "WORKLIST",
) -> int | None:
    """Send one MPPS message on an association of its own; None when no answer came."""
    ae = AE(ae_title=calling)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = 5
    ae.add_requested_context(ModalityPerformedProcedureStep)
    assoc = ae.associate("127.0.0.1", port, ae_title=called, evt_handlers=no_delay.HANDLERS)
    raw = assoc.dul.socket.socket if assoc.dul.socket is not None else None  # a kill lets the library lose it
    if not assoc.is_established:
        if raw is not None:
            raw.close()
        return None
    try:
        if create is not None:
            status, _ = assoc.send_n_create(create, ModalityPerformedProcedureStep, uid)
        else:
            assert change is not None
            status, _ = assoc.send_n_set(change, ModalityPerformedProcedureStep, uid)
    except (RuntimeError, ValueError):
        return None  # the association broke under us
    finally:
        if assoc.is_established:
            assoc.release()
        if raw is not None:
            raw.close()
    return int(status.Status) if "Status" in status else None
