"""The composition root: builds every part from the configuration, starts and stops them in order.

The only place that knows all parts; only the command line and the demonstration import it.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from broker.app import gc, systemd
from broker.app.bus import RegionalBus, report_renderer
from broker.app.clock import ClockWatch
from broker.app.database import open_store
from broker.app.fhir_api import build_fhir_api
from broker.app.health import CHECK_EVERY, HealthMonitor
from broker.app.scheduler import Job, Schedule
from broker.app.settings import archive_address, clinic_of, mpps_nodes, port_settings, screen_settings
from broker.bus.api import ApiMount
from broker.config.configuration import Config
from broker.dicom import learning
from broker.dicom.files.watched_folder import WorklistFolder
from broker.dicom.receiving import opening
from broker.dicom.scu import mpps_forwarder
from broker.dicom.scu.archive import Archive
from broker.dicom.scu.mpps_forwarder import MppsForwarder
from broker.dicom.scu.report_sender import ReportSender
from broker.dicom.server import DicomServer
from broker.dicom.worklist import explain
from broker.domain.actors import Actor, ActorKind
from broker.domain.clinic.device_advice import Explanation, Suggestion
from broker.domain.orders import Order
from broker.security.throttle import Throttle
from broker.store.backup import copy_database
from broker.store.database import Reader, StoreError
from broker.store.queries import device_registry
from broker.store.queries.reading import reading_cases
from broker.workflow.reading import reads
from broker.workflow.studies import received_objects
from broker.workflow.studies.stale_steps import StaleStepJob

if TYPE_CHECKING:
    import uvicorn

log = logging.getLogger(__name__)

WORKLIST_FOLDER_EVERY = 5.0  # seconds between two looks into the folder of worklist files
ABANDONED_EVERY = 300.0  # seconds between two searches for steps whose device has stopped reporting
AVAILABLE_EVERY = 2.0  # seconds between two looks whether somebody has said that images are in the archive
FORWARD_EVERY = 2.0  # seconds between two looks for MPPS messages that a node has not got yet
SEND_REPORTS_EVERY = 5.0  # seconds between two looks for signed reports that the archive has not got yet
RECEIVED_EVERY = 60.0  # seconds between two looks for the orders of reports that came before them
READS_EVERY = 15.0  # seconds between two looks for reads that can no longer be taken back
ARCHIVE_EVERY = 60.0  # seconds between two searches for images that no device has reported


class AlreadyRunning(StoreError):
    """Another broker uses this data directory."""


class Application:
    """The running program."""

    def __init__(self, config: Config) -> None:
        """Build the parts; nothing listens yet. Raise StoreError if the data cannot be used."""
        self.config = config
        self.clinic = clinic_of(config)
        self._lock = _lock(config.data.directory)
        try:
            self.store = open_store(config)
        except BaseException:
            os.close(self._lock)
            raise
        self.region = RegionalBus(config, self.store, self.clinic) if config.bus.url else None
        address = archive_address(config)
        self.archive = Archive(self.store, self.clinic, address, config.dicom.ae_title) if address else None
        self.sender = None
        if address and self.clinic.archives_reports:
            self.sender = ReportSender(self.store, self.clinic, address, config.dicom.ae_title, report_renderer(config))
        available = self.archive.note_available if self.archive else None
        self.dicom = DicomServer(
            port_settings(config.dicom), self.store, self.clinic, config.clinic.name, on_available=available
        )
        nodes = mpps_nodes(config)
        mpps_forwarder.forget_others(self.store, nodes)
        self.forwarders = [MppsForwarder(self.store, node, config.dicom.ae_title) for node in nodes]
        self.clock = ClockWatch()
        self.abandoned = StaleStepJob(self.store, self.clinic, self.clock.times_set)
        self.health = HealthMonitor(self.store, config, lambda: self.dicom.port)
        self._web: uvicorn.Server | None = None
        self._stop = threading.Event()

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Run until SIGTERM, SIGINT or `stop`; call `ready` once everything listens."""
        with ExitStack() as stack:
            stack.callback(self.close)
            self.dicom.start()
            stack.callback(self.dicom.stop)
            self.health.check()
            jobs = Schedule(self._jobs(), self.config.clinic.zone, self.clock)
            jobs.start()
            stack.callback(jobs.stop)
            if self.region is not None:
                stack.callback(self.region.stop)  # first, so that the scheduler need not wait for a slow bus
            asyncio.run(self._serve(ready))
            systemd.notify("STOPPING=1")
            log.info("stopping")

    def close(self) -> None:
        """Close the database and release the data directory; `run` does it itself."""
        self.store.close()
        os.close(self._lock)

    def stop(self) -> None:
        """Ask the program to stop; returns at once."""
        self._stop.set()
        if self._web is not None:
            self._web.should_exit = True

    async def _serve(self, ready: Callable[[], None]) -> None:
        from ui.services import Services
        from ui.web import app

        services = Services(
            self.store,
            self.clinic,
            screen_settings(self.config),
            Throttle(),
            self.health.health,
            suggest=self._suggest,
            open_received=opening.open_stored,
            ask_archive=self.archive.ask_now if self.archive else None,
            request_history=self._request_history if self.region else None,
            region=self.region.people if self.region else None,
            bus_ahead=self.region.clock_ahead if self.region else timedelta,
            explain=self._explain,
        )
        site = app.create_app(services)
        site.add_middleware(ApiMount, endpoint=build_fhir_api(self.config, self.store, self.clinic))
        self._web = app.make_server(site, services.settings.server)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        serving = asyncio.create_task(self._web.serve())
        while not self._web.started and not serving.done():
            await asyncio.sleep(0.01)
        if self._stop.is_set():
            self._web.should_exit = True
        if self._web.started:
            log.info("screens: %s", self.web_url)
            gc.collect_garbage_rarely()
            systemd.notify("READY=1")
            ready()
        await serving

    @property
    def web_url(self) -> str:
        """The URL of the screens on this machine."""
        scheme = "https" if self.config.web.tls_certificate else "http"
        address = self.config.web.address if self.config.web.address not in ("0.0.0.0", "::") else "localhost"
        return f"{scheme}://{address}:{self.web_port}"

    @property
    def web_port(self) -> int:
        """The port of the screens; differs from the configured one where that is 0."""
        servers = getattr(self._web, "servers", None)
        return int(servers[0].sockets[0].getsockname()[1]) if servers else self.config.web.port

    def _jobs(self) -> list[Job]:
        jobs = [
            Job("health", self.health.check, every=CHECK_EVERY),
            Job("abandoned", self.abandoned.run, every=ABANDONED_EVERY),
            Job("reading", self._conclude_reads, every=READS_EVERY),
            Job("received reports", self._match_received, every=RECEIVED_EVERY),
        ]
        if folder := self.config.dicom.worklist_folder:
            watch = WorklistFolder(folder, self.store, self.clinic)
            jobs.append(Job("worklist folder", watch.look, every=WORKLIST_FOLDER_EVERY))
        if self.archive is not None:
            jobs.append(Job("archive", self.archive.look, every=ARCHIVE_EVERY))
            jobs.append(Job("archive, as notified", self.archive.look_at_available, every=AVAILABLE_EVERY))
        if self.sender is not None:
            jobs.append(Job("reports for the archive", self.sender.look, every=SEND_REPORTS_EVERY))
        # A job each: a node that hangs keeps no other waiting.
        jobs += [Job(f"MPPS for {each.name}", each.look, every=FORWARD_EVERY) for each in self.forwarders]
        if self.region is not None:
            jobs += self.region.jobs()
        if self.config.backup.keep:
            jobs.append(Job("backup", self.back_up, daily_at=self.config.backup.time))
        if interval := systemd.watchdog_interval():
            jobs.append(Job("watchdog", self._notify_watchdog, every=interval))
        return jobs

    def _conclude_reads(self) -> None:
        with self.store.read() as reader:
            is_due = reading_cases.is_any_due(reader, self.clinic.reading, self.store.clock())
        if is_due:
            self.store.write(reads.conclude_due, self.clinic)

    def _match_received(self) -> None:
        with self.store.read() as reader:
            may_match = received_objects.may_match(reader)
        if may_match:
            self.store.write(received_objects.match_held, Actor(ActorKind.SYSTEM, "received reports"))

    def back_up(self) -> Path:
        """Copy the database into the backup directory, check the copy, delete surplus ones; return the copy's path."""
        directory = self.config.backup_directory
        stamp = self.store.clock().astimezone(self.config.clinic.zone)
        target = directory / f"worklist-{stamp:%Y%m%d-%H%M%S}.sqlite"
        copy_database(self.store.path, target)
        for old in sorted(directory.glob("worklist-*.sqlite"))[: -self.config.backup.keep]:
            old.unlink()
        log.info("backup made: %s", target.name)
        return target

    def _suggest(self, contacts: device_registry.DeviceContacts) -> list[Suggestion]:
        return learning.suggest(contacts.device, contacts.samples, self.store.clock())

    def _request_history(self, patient_id: int) -> None:
        assert self.region is not None
        self.region.history.request(patient_id)

    def _explain(self, reader: Reader, order: Order) -> list[Explanation]:
        learns = self.config.dicom.unknown_devices == "learn"
        stations = dict.fromkeys(ae_title for step in order.steps for ae_title in step.station_ae_titles)
        now = self.store.clock()
        return [
            explain.explain_order(reader, order, ae_title, now, self.clinic, learns=learns) for ae_title in stations
        ]

    def _notify_watchdog(self) -> None:
        # The program counts as alive only while the database accepts writes.
        self.store.write(lambda tx: None)
        systemd.notify("WATCHDOG=1")


def _lock(directory: Path) -> int:
    """Lock the data directory for this process and return the descriptor. Raise AlreadyRunning, StoreError."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / "broker.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreError(f"cannot use the data directory {directory}: {error.strerror or error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AlreadyRunning(f"another worklist-broker uses {directory}; stop it first") from None
    return descriptor
