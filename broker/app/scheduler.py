"""The periodic jobs, and the scheduler that runs them.

A job never runs twice at once; one that was missed runs once, however long the machine slept.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import time, timedelta, tzinfo

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from broker.app.clock import ClockWatch

log = logging.getLogger(__name__)

_VARIES = 0.1  # part of an interval by which it is longer at the most


@dataclass(frozen=True, slots=True)
class Job:
    """A function to be called periodically, or once a day at a local time."""

    name: str
    run: Callable[[], object]
    every: float = 0.0  # seconds
    daily_at: time | None = None
    spread: bool = False  # begins at any moment of its interval, which varies: a region's servers must not ask in step


class Schedule:
    """The scheduler. It plans by the wall clock, so it plans again when that clock is set.

    Otherwise no job would run for an hour after the clock was set back by an hour.
    """

    WATCH_EVERY = 1.0  # seconds

    def __init__(self, jobs: Sequence[Job], zone: tzinfo, clock: ClockWatch) -> None:
        self._scheduler = BackgroundScheduler(
            timezone=zone, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )
        for job in jobs:
            self._scheduler.add_job(job.run, trigger(job, zone), id=job.name, name=job.name)
        self._clock = clock
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

    def replan(self) -> None:
        """Plan all jobs again, from now."""
        for job in self._scheduler.get_jobs():
            self._scheduler.reschedule_job(job.id, trigger=_restarted(job.trigger))

    def _watch_clock(self) -> None:
        seen = self._clock.times_set()
        while not self._stopping.wait(self.WATCH_EVERY):
            times_set = self._clock.times_set()
            if times_set != seen:
                log.info("all jobs are planned again")
                self.replan()
            seen = times_set


def trigger(job: Job, zone: tzinfo) -> CronTrigger | IntervalTrigger:
    """Return when a job is run, from now on."""
    if job.daily_at:
        return CronTrigger(hour=job.daily_at.hour, minute=job.daily_at.minute, timezone=zone)
    planned = IntervalTrigger(seconds=job.every, timezone=zone, jitter=job.every * _VARIES if job.spread else None)
    if not job.spread:
        return planned
    begin = planned.start_date - timedelta(seconds=job.every * random.random())
    return IntervalTrigger(seconds=job.every, timezone=zone, jitter=planned.jitter, start_date=begin)


def _restarted(trigger: CronTrigger | IntervalTrigger) -> CronTrigger | IntervalTrigger:
    """Return an interval that begins now; a daily time stays as it is."""
    if isinstance(trigger, IntervalTrigger):
        return IntervalTrigger(
            seconds=trigger.interval.total_seconds(), timezone=trigger.timezone, jitter=trigger.jitter
        )
    return trigger
