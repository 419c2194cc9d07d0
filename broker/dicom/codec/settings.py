"""How pydicom and pynetdicom are set up in this program: tolerant towards devices, silent about patients."""

from __future__ import annotations

import logging

from pydicom import config as pydicom_config
from pynetdicom import _config as pynetdicom_config


def set_up() -> None:
    """Set the libraries' process-wide switches; call before the first association. Calling it again does no harm."""
    # Identifiers hold patients' names: they never go into a log.
    pynetdicom_config.LOG_REQUEST_IDENTIFIERS = False
    pynetdicom_config.LOG_RESPONSE_IDENTIFIERS = False
    # Anybody may send what their decoders log line after line, with tracebacks; their callers log what was wrong.
    for name in ("utils", "pdu", "pdu_items", "pdu_primitives", "presentation"):
        logging.getLogger(f"pynetdicom.{name}").setLevel(logging.CRITICAL)
    # Devices send values that break their VR's rules; `worklist.matching` checks keys, and they are answered with A900.
    pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE
    pydicom_config.settings.writing_validation_mode = pydicom_config.IGNORE
