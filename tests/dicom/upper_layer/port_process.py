"""Runs the modalities' port alone, as a process that tests attack: DATABASE CONFIGURATION(JSON) on the command line.

Prints its ports, and what it logs on standard error; ends with its standard input.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from broker.app.settings import port_settings
from broker.config.sections import DicomConfig
from broker.dicom.server import DicomServer
from broker.store.database import Store
from tests.support.factory import CLINIC


def main() -> None:
    """Serve until standard input ends."""
    logging.basicConfig(level="INFO", format="%(levelname)s %(name)s: %(message)s")
    store = Store(Path(sys.argv[1]))
    config = DicomConfig.model_validate({"address": "0.0.0.0", "port": 0, **json.loads(sys.argv[2])})
    server = DicomServer(port_settings(config), store, CLINIC)
    server.start()
    print(json.dumps([server.port, server.tls_port if config.tls_certificate else 0]), flush=True)
    sys.stdin.read()
    server.stop()
    store.close()


if __name__ == "__main__":
    main()
