"""Expires steps whose device has stopped reporting: started, and without a message for hours.

After the clock was set, the hours are counted from then on; a step that started in the future does not expire. What
the device reports later still counts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from broker.domain.actors import Actor, ActorKind
from broker.domain.clinic.devices import Device
from broker.domain.clinic.settings import Clinic
from broker.store.database import Store
from broker.store.tables import devices
from broker.store.tables.studies import performed
from broker.workflow.studies import performed_steps

log = logging.getLogger(__name__)

ACTOR = Actor(ActorKind.SYSTEM, "abandoned steps")


class StaleStepJob:
    """The periodic job, `run`, and what it remembers of the clock."""

    def __init__(self, store: Store, clinic: Clinic, times_clock_set: Callable[[], int]) -> None:
        """`times_clock_set` returns how often the wall clock was set since the start of the program."""
        self._store, self._clinic, self._times_clock_set = store, clinic, times_clock_set
        self._times_set = times_clock_set()
        self._trusted_since = datetime.min.replace(tzinfo=UTC)

    def run(self) -> int:
        """Expire stale steps; return their number."""
        now = self._store.clock()
        times_set, before = self._times_clock_set(), self._times_set
        self._times_set = times_set
        if times_set != before:
            log.warning("the clock was set: hours without a message are counted from now on")
            self._trusted_since = now
            return 0
        with self._store.read() as reader:
            running = [
                (step, last_contact, devices.get(reader, step.ae_title) or Device(step.ae_title, "", ""))
                for step, last_contact in performed.running(reader)
            ]
        ended = 0
        for step, last_contact, device in running:
            silence = now - max(last_contact, self._trusted_since)
            if silence < timedelta(hours=device.mpps_hours):  # also if its last message is from the future
                continue
            if self._store.write(performed_steps.expire_step, step.sop_instance_uid, last_contact, ACTOR, self._clinic):
                log.warning(
                    "step %s of %s ended: no message about it since %s",
                    step.sop_instance_uid,
                    step.ae_title,
                    last_contact,
                )
                ended += 1
        return ended
