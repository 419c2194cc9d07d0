"""The periodic jobs, in one list, and the scheduler that runs them.

A job never runs twice at once; one that was missed runs once, however long the machine slept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import time, tzinfo

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do every so many seconds, or once a day at a local time."""

    name: str
    run: Callable[[], object]
    every: float = 0.0  # seconds
    daily_at: time | None = None


def start(jobs: Sequence[Job], zone: tzinfo) -> BackgroundScheduler:
    """Start the jobs on a thread of their own; `shutdown` of what is returned stops them."""
    scheduler = BackgroundScheduler(
        timezone=zone, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    )
    for job in jobs:
        trigger = (
            CronTrigger(hour=job.daily_at.hour, minute=job.daily_at.minute, timezone=zone)
            if job.daily_at
            else IntervalTrigger(seconds=job.every, timezone=zone)
        )
        scheduler.add_job(job.run, trigger, id=job.name, name=job.name)
    scheduler.start()
    return scheduler
