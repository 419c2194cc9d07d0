"""Ends steps whose device has died: begun, and for hours nothing more was heard of them.

A clock that cannot be trusted ends nothing: neither a step that began after now, nor one whose hours were only made by
setting the clock. And the device's own word stands whenever it comes.
"""

from __future__ import annotations

import logging
import time
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
JUMP = timedelta(minutes=2)  # by so much the clock may differ from what has really passed


class Abandoned:
    """Made once; `look` is the periodic job."""

    def __init__(self, store: Store, clinic: Clinic, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clinic, self._monotonic = store, clinic, monotonic
        self._wall, self._passed = store.clock(), monotonic()
        self._trusted_since = datetime.min.replace(tzinfo=UTC)

    def look(self) -> int:
        """End what is abandoned; give how many steps that were."""
        now = self._store.clock()
        if self._jumped(now):
            log.warning("the clock was set: steps that run are given their hours anew")
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

    def _jumped(self, now: datetime) -> bool:
        """Say whether the clock was set since the last look (a machine that slept counts as one)."""
        passed = self._monotonic()
        jump = (now - self._wall) - timedelta(seconds=passed - self._passed)
        self._wall, self._passed = now, passed
        return abs(jump) > JUMP
