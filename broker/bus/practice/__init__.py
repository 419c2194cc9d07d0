"""A practice bus: ОДИИ as the wire profile describes it, for the demo, for commissioning and for tests.

From outside to inside: `server` is a port and a thread, `bus` the calls of the interface, `service` what they do,
`records` what it holds (found by `index`); `faults` are shown on demand; `web`, `view`, `page` and `style` are its
pages for people. What it demands and refuses stands in `serving`. Here are only the names for whoever starts one.
"""

from broker.bus.practice.bus import (
    PRACTICE_ORGANISATION,
    PRACTICE_ORGANISATION_2,
    PRACTICE_TOKEN,
    PRACTICE_TOKEN_2,
    PracticeBus,
    Recorded,
    serve,
)
from broker.bus.practice.faults import FAULTS, read_fault
from broker.bus.practice.server import BASE_PATH, PracticeServer

__all__ = [
    "BASE_PATH",
    "FAULTS",
    "PRACTICE_ORGANISATION",
    "PRACTICE_ORGANISATION_2",
    "PRACTICE_TOKEN",
    "PRACTICE_TOKEN_2",
    "PracticeBus",
    "PracticeServer",
    "Recorded",
    "read_fault",
    "serve",
]
