"""Expires steps whose device has stopped reporting: begun, and for hours without a message.

A clock that cannot be trusted ends nothing: neither a step that began after now, nor one whose hours were only made by
setting the clock. And what the device reports counts whenever it comes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from broker.domain.actors import Actor, ActorKind
from broker.domain.clinic import Clinic
from broker.domain.devices import Device
from broker.store.database import Store
from broker.store.tables import devices, performed
from broker.workflow import performed_steps

log = logging.getLogger(__name__)

ACTOR = Actor(ActorKind.SYSTEM, "abandoned steps")


class StaleStepJob:
    """Made once; `look` is the periodic job."""

    def __init__(self, store: Store, clinic: Clinic, times_clock_set: Callable[[], int]) -> None:
        """`times_clock_set` returns how often the wall clock has been set, as of now; only changes count."""
        self._store, self._clinic, self._times_clock_set = store, clinic, times_clock_set
        self._seen = times_clock_set()
        self._trusted_since = datetime.min.replace(tzinfo=UTC)

    def look(self) -> int:
        """Expire stale steps; return their number."""
        now = self._store.clock()
        times_set, before = self._times_clock_set(), self._seen
        self._seen = times_set
        if times_set != before:
            log.warning("the clock was set: the hours of steps in progress count from now")
            self._trusted_since = now
            return 0
        with self._store.read() as reader:
            running = [
                (step, heard, devices.get(reader, step.ae_title) or Device(step.ae_title, "", ""))
                for step, heard in performed.running(reader)
            ]
        ended = 0
        for step, heard, device in running:
            silent = now - max(heard, self._trusted_since)
            if silent < timedelta(hours=device.mpps_hours):  # also where it was heard of after now
                continue
            if self._store.write(performed_steps.expire_step, step.sop_instance_uid, heard, ACTOR, self._clinic):
                log.warning(
                    "step %s of %s ended: nothing heard of it since %s", step.sop_instance_uid, step.ae_title, heard
                )
                ended += 1
        return ended
