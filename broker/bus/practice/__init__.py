"""A practice bus: ОДИИ as the wire profile describes it, for the demo, for commissioning and for tests.

From outside to inside: `server` is a port and a thread (`connection` is what a call may ask of it), `bus` the calls of
the interface, `service` what they do, `records` what it holds (found by `index`), `settings` how it behaves. `faults`
are shown on demand, `request_log` remembers what was asked; `web`, `view`, `page` and `style` are the pages for people.
What it demands and refuses stands in `fhir_server`. Here are only the names for whoever starts one.
"""

from broker.bus.practice.bus import PracticeBus
from broker.bus.practice.connection import BASE_PATH
from broker.bus.practice.faults import FAULTS, read_fault
from broker.bus.practice.request_log import Recorded
from broker.bus.practice.server import PracticeServer, serve
from broker.bus.practice.settings import (
    PRACTICE_ORGANISATION,
    PRACTICE_ORGANISATION_2,
    PRACTICE_TOKEN,
    PRACTICE_TOKEN_2,
    PracticeSettings,
)

__all__ = [
    "BASE_PATH",
    "FAULTS",
    "PRACTICE_ORGANISATION",
    "PRACTICE_ORGANISATION_2",
    "PRACTICE_TOKEN",
    "PRACTICE_TOKEN_2",
    "PracticeBus",
    "PracticeServer",
    "PracticeSettings",
    "Recorded",
    "read_fault",
    "serve",
]
