"""A practice bus: a simulator of ОДИИ by the bus profile, for the demo, for commissioning and for tests.

`server` is a port and a thread (`connection`: delaying and aborting calls), `bus` the HTTP interface, `service` the
operations, `records` the stored resources with their `index`, `settings` the configuration, `faults` the simulated
faults, `request_log` the last requests; `web`, `view`, `page` and `style` are the pages for people. `fhir_server`
validates. Here are only the names that a user of the package needs.
"""

from broker.bus.practice.bus import PracticeBus
from broker.bus.practice.connection import BASE_PATH
from broker.bus.practice.faults import FAULTS, read_fault
from broker.bus.practice.request_log import Recorded
from broker.bus.practice.server import PracticeServer, serve
from broker.bus.practice.settings import (
    PRACTICE_ORGANISATION,
    PRACTICE_ORGANISATION_2,
    PRACTICE_ORGANISATION_3,
    PRACTICE_TOKEN,
    PRACTICE_TOKEN_2,
    PRACTICE_TOKEN_3,
    PracticeSettings,
)

__all__ = [
    "BASE_PATH",
    "FAULTS",
    "PRACTICE_ORGANISATION",
    "PRACTICE_ORGANISATION_2",
    "PRACTICE_ORGANISATION_3",
    "PRACTICE_TOKEN",
    "PRACTICE_TOKEN_2",
    "PRACTICE_TOKEN_3",
    "PracticeBus",
    "PracticeServer",
    "PracticeSettings",
    "Recorded",
    "read_fault",
    "serve",
]
