"""The client of the regional bus, built from the configuration: delivery, the polls and the look-ups.

Part of the composition root. All share one rate limiter, which keeps the region's rate; each has a client of its
own, so that aborting the calls of one does not affect the others.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial

from broker.app.scheduler import Job
from broker.app.settings import bus_client, bus_profile
from broker.bus.inbound.history import History
from broker.bus.inbound.patient_lookup import PatientLookup
from broker.bus.inbound.referrals import ReferralPoll
from broker.bus.inbound.results import ResultPoll
from broker.bus.outbound.delivery import Delivery
from broker.bus.outbound.messages import MakePdf
from broker.bus.profile import Profile, systems_without_version
from broker.bus.transport.bus_clock import BusClock
from broker.bus.transport.dialect import DIALECTS
from broker.bus.transport.rate_limit import RateLimiter
from broker.bus.transport.session import BusSession, SessionPriority
from broker.config.configuration import Config
from broker.documents.report_pdf import report_pdf
from broker.domain.clinic.settings import Clinic
from broker.store.database import Store
from broker.store.tables import directories, incoming, outbox
from broker.store.tables.studies import dose_procedures

log = logging.getLogger(__name__)

DELIVER_EVERY = 2.0  # seconds between looks into the outbox
PROBE_EVERY = 30.0  # seconds between checks whether the bus must be probed
DIRECTORIES_EVERY = 60.0  # seconds between looks whether a directory was imported
FORGET_EVERY = 6 * 3600.0  # seconds between deletions of old contents
WORKERS = 4  # messages that are sent in parallel
# R4 servers turn two simultaneous conditional creations of one doctor into two doctors (issues hapi-fhir 3141 and
# microsoft/fhir-server 1382), and then refuse every order that names the doctor. N3 servers get no conditions.
ONE_WORKER = ("r4",)


class RegionalBus:
    """The clinic's side of the regional bus."""

    def __init__(self, config: Config, store: Store, clinic: Clinic) -> None:
        self._config, self._store = config, store
        dialect, profile = DIALECTS[config.bus.dialect], self._profile()
        limiter = RateLimiter(config.bus.rate)
        clock = self._clock = BusClock()
        for system in systems_without_version(profile):
            log.info("bus.versions names no version of %s", system)
        self._known = profile

        if not store.write(lambda tx: incoming.is_of(tx, f"{config.bus.organisation.lower()} {config.bus.url}")):
            log.warning("the configured bus or organisation has changed: everything recent is polled again")

        def session(priority: SessionPriority) -> BusSession:
            return BusSession(store, bus_client(config.bus, clock), limiter, priority)

        workers = 1 if config.bus.dialect in ONE_WORKER else WORKERS
        self.delivery = Delivery(
            store, session(SessionPriority.DELIVERY), profile, report_renderer(config), dialect=dialect, workers=workers
        )
        self.referrals = ReferralPoll(
            store, session(SessionPriority.POLLING), dialect, profile, clinic, config.bus.auto_accept
        )
        self.results = ResultPoll(
            store, session(SessionPriority.BACKGROUND), dialect, profile, days=config.bus.result_days
        )
        self.history = History(
            store, session(SessionPriority.BACKGROUND), dialect, profile, hours=config.bus.history_hours
        )
        search = config.bus.patient_search
        self.people: PatientLookup | None = None
        if search != "off":
            background = session(SessionPriority.BACKGROUND)
            self.people = PatientLookup(store, background, dialect, by_name=search == "names")

    def jobs(self) -> list[Job]:
        """Return the periodic jobs."""
        every = self._config.bus.fetch_every
        return [
            Job("deliver", self.delivery.deliver, every=DELIVER_EVERY),
            Job("probe", self.delivery.probe, every=PROBE_EVERY),
            Job("poll referrals", self.referrals.run, every=every, spread=True),
            Job("poll results", self.results.run, every=every, spread=True),
            Job("directories", self.read_directories, every=DIRECTORIES_EVERY),
            Job("forget", self.forget, every=FORGET_EVERY),
        ]

    def clock_ahead(self) -> timedelta:
        """Return how far the bus's clock is ahead of ours; zero while they agree."""
        return self._clock.ahead_of(self._store.clock())

    def stop(self) -> None:
        """Abort the calls in progress and refuse further ones."""
        for part in (self.delivery, self.referrals, self.results, self.history):
            part.stop()
        if self.people:
            self.people.stop()

    def read_directories(self) -> None:
        """Use the codes and versions of directories that were imported since the start."""
        profile = self._profile()
        if profile != self._known:
            self._known = profile
            self.delivery.set_profile(profile)
            log.info("the imported directories are used from now on")

    def forget(self) -> None:
        """Delete the contents of messages that are older than bus.keep_days; their outcomes stay."""
        before = self._store.clock() - timedelta(days=self._config.bus.keep_days)
        self._store.write(lambda tx: outbox.forget_sent(tx, before))
        self._store.write(lambda tx: incoming.forget_contents(tx, before))

    def _profile(self) -> Profile:
        with self._store.read() as reader:
            return bus_profile(
                self._config,
                directories.positions(reader),
                directories.versions(reader),
                dose_procedures.prophylactic(reader),
            )


def report_renderer(config: Config) -> MakePdf:
    """Return the function that makes the PDF of a signed report, the same as the screens print."""
    return partial(report_pdf, clinic_name=config.clinic.name, zone=config.clinic.zone, address=config.clinic.address)
