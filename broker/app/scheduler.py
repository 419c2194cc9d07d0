"""The periodic jobs, in one list, and the scheduler that runs them.

A job never runs twice at once; one that was missed runs once, however long the machine slept.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import time, tzinfo
from time import monotonic
from time import time as time_now

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do every so many seconds, or once a day at a local time."""

    name: str
    run: Callable[[], object]
    every: float = 0.0  # seconds
    daily_at: time | None = None


class Schedule:
    """The scheduler, and a watch over the wall clock by which it plans.

    When that clock is set (DST does not set it: the scheduler works in UTC), every job is planned anew: set back by an
    hour, they would otherwise stand still for an hour.
    """

    WATCH_EVERY = 1.0  # seconds
    JUMP = 5.0  # seconds between wall and monotonic clock that are a jump

    def __init__(self, jobs: Sequence[Job], zone: tzinfo) -> None:
        self._scheduler = BackgroundScheduler(
            timezone=zone, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )
        for job in jobs:
            self._scheduler.add_job(job.run, _trigger(job, zone), id=job.name, name=job.name)
        self._stopping = threading.Event()
        self._watch = threading.Thread(target=self._watch_clock, name="clock-watch", daemon=True)

    def start(self) -> None:
        """Start the jobs on threads of their own."""
        self._scheduler.start()
        self._watch.start()

    def stop(self) -> None:
        """Wait for the jobs that run, and stop."""
        self._stopping.set()
        self._scheduler.shutdown()
        self._watch.join()

    def plan_anew(self) -> None:
        """Forget when jobs were to run next, and plan them from now."""
        for job in self._scheduler.get_jobs():
            self._scheduler.reschedule_job(job.id, trigger=_afresh(job.trigger))

    def _watch_clock(self) -> None:
        offset = time_now() - monotonic()
        while not self._stopping.wait(self.WATCH_EVERY):
            now = time_now() - monotonic()
            if abs(now - offset) > self.JUMP:
                log.warning("the clock was set by %+.0f s: the jobs are planned anew", now - offset)
                self.plan_anew()
            offset = now


def _trigger(job: Job, zone: tzinfo) -> CronTrigger | IntervalTrigger:
    if job.daily_at:
        return CronTrigger(hour=job.daily_at.hour, minute=job.daily_at.minute, timezone=zone)
    return IntervalTrigger(seconds=job.every, timezone=zone)


def _afresh(trigger: CronTrigger | IntervalTrigger) -> CronTrigger | IntervalTrigger:
    """Make an interval that begins now; a daily time needs nothing."""
    if isinstance(trigger, IntervalTrigger):
        return IntervalTrigger(seconds=trigger.interval.total_seconds(), timezone=trigger.timezone)
    return trigger
