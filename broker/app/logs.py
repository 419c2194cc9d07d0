"""Sets up logging."""

from __future__ import annotations

import logging


def set_up_logging(level: str) -> None:
    """Log to standard error in lines that journald understands; libraries log warnings only."""
    # A line has the logger's name; thread and process are not shown, and would cost as much as the line itself.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=level.upper(), format="%(levelname)-7s %(name)s: %(message)s", force=True)
    # A job that still runs when it is due again is not a fault: the bus may be slow.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    # Anybody can send invalid frames to the websocket; a traceback for each would fill the disk.
    for name in ("engineio", "socketio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in ("pynetdicom", "urllib3", "uvicorn", "pydicom", "asyncio", "pyBarcode"):
        logging.getLogger(name).setLevel(logging.WARNING)
