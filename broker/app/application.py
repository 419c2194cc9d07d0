"""The composition root: builds every part from the configuration, starts and stops them in order.

The only place that knows all parts; nobody imports it but the command line.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from broker.app import clock, gc, scheduler, systemd
from broker.app.bus import RegionalBus
from broker.app.fhir_api import build_fhir_api
from broker.app.settings import archive_address, clinic_of, port_settings, screen_settings
from broker.bus.api import ApiMount
from broker.config.configuration import Config
from broker.dicom.devices import learning
from broker.dicom.files.watched_folder import WorklistFolder
from broker.dicom.scu import echo
from broker.dicom.scu.archive import Archive
from broker.dicom.server import DicomServer
from broker.dicom.worklist import explain
from broker.domain.default_procedures import PROCEDURES
from broker.domain.device_advice import Explained, Suggestion
from broker.domain.health import Check, Health
from broker.domain.orders import Order
from broker.security.throttle import Throttle
from broker.store.database import Reader, Store, StoreError, beat
from broker.store.queries import device_registry, exchange_state, inbox
from broker.store.tables import devices
from broker.workflow.stale_steps import Abandoned

if TYPE_CHECKING:
    import uvicorn

log = logging.getLogger(__name__)

WORKLIST_FOLDER_EVERY = 5.0  # seconds between looks at the files of scripts
HEALTH_EVERY = 15.0  # seconds between looks at what works
LOOK_TOO_OLD = 4 * HEALTH_EVERY  # seconds after which a look says nothing any more
ABANDONED_EVERY = 300.0  # seconds between looks for steps whose device has died
ARCHIVE_EVERY = 60.0  # seconds between looks for images that no device has told of
QUEUE_TOO_OLD = timedelta(minutes=30)  # a message that waits longer is a fault worth a look


class AlreadyRunning(StoreError):
    """Another broker works on this data directory."""


def open_store(config: Config) -> Store:
    """Open the database, with a default set of procedures where there is none."""
    store = Store(config.data.database, clock=clock.utc_now)
    store.write(lambda tx: devices.fill_procedures(tx, PROCEDURES))
    return store


def set_up_logging(level: str) -> None:
    """Log to standard error in lines that journald understands; libraries speak only when something is wrong."""
    # Who speaks is told by name; the rest of what a line could bear is not written, and costs as much as the line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=level.upper(), format="%(levelname)-7s %(name)s: %(message)s", force=True)
    # A job that still runs when its turn comes again is no fault: the bus may be slow.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    # Anybody may send nonsense to the websocket; a traceback a frame would fill the disk.
    for name in ("engineio", "socketio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in ("pynetdicom", "urllib3", "uvicorn", "pydicom", "asyncio", "pyBarcode"):
        logging.getLogger(name).setLevel(logging.WARNING)


class Application:
    """The running program."""

    def __init__(self, config: Config) -> None:
        """Build the parts; nothing listens yet. Raise StoreError where the data cannot be used."""
        self.config = config
        self.clinic = clinic_of(config)
        self._lock = _lock(config.data.directory)
        try:
            self.store = open_store(config)
        except BaseException:
            os.close(self._lock)
            raise
        self.dicom = DicomServer(port_settings(config.dicom), self.store, self.clinic, config.clinic.name)
        self.region = RegionalBus(config, self.store, self.clinic) if config.bus.url else None
        self.abandoned = Abandoned(self.store, self.clinic)
        self._health = Health()
        self._looked = monotonic()
        self._web: uvicorn.Server | None = None
        self._stop = threading.Event()

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Work until SIGTERM, SIGINT or `stop`; call `ready` once everything listens."""
        with ExitStack() as stack:
            stack.callback(self.close)
            self.dicom.start()
            stack.callback(self.dicom.stop)
            self.look()
            jobs = scheduler.Schedule(self._jobs(), self.config.clinic.zone)
            jobs.start()
            stack.callback(jobs.stop)
            if self.region is not None:
                stack.callback(self.region.stop)  # first, so that the scheduler need not wait for a slow bus
            asyncio.run(self._serve(ready))
            systemd.notify("STOPPING=1")
            log.info("stopping")

    def close(self) -> None:
        """Close the database and let the data directory go; `run` does it by itself."""
        self.store.close()
        os.close(self._lock)

    def stop(self) -> None:
        """Ask the program to stop; returns at once."""
        self._stop.set()
        if self._web is not None:
            self._web.should_exit = True

    def health(self) -> Health:
        """Give the newest look at what works; costs nothing. One that is too old is itself a fault."""
        age = monotonic() - self._looked
        if age > LOOK_TOO_OLD:
            return Health((*self._health.checks, Check("watch", False, f"nobody has looked for {age:.0f} s")))
        return self._health

    def look(self) -> None:
        """Look at what works: the database by a write, the DICOM port by a C-ECHO, the queue's age, the archive."""
        looks = {"database": self._check_database, "dicom": self._check_dicom}
        if self.region is not None:
            looks["bus"] = self._check_bus
        if self.config.pacs.address:
            looks["pacs"] = self._check_pacs
        checks = [_guarded(name, look) for name, look in looks.items()]
        self._looked = monotonic()
        if [(check.name, check.ok) for check in checks] != [(check.name, check.ok) for check in self._health.checks]:
            for check in checks:
                (log.info if check.ok else log.error)("%s: %s", check.name, check.detail)
            self._health = Health(tuple(checks))
            self._announce()
        self._health = Health(tuple(checks))

    async def _serve(self, ready: Callable[[], None]) -> None:
        from ui.services import Services
        from ui.web import app

        services = Services(
            self.store,
            self.clinic,
            screen_settings(self.config),
            Throttle(),
            self.health,
            suggest=self._suggest,
            request_history=self._request_history if self.region else None,
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
            gc.seldom()
            systemd.notify("READY=1")
            ready()
        await serving

    @property
    def web_url(self) -> str:
        """Where a browser on this machine finds the screens."""
        scheme = "https" if self.config.web.tls_certificate else "http"
        address = self.config.web.address if self.config.web.address not in ("0.0.0.0", "::") else "localhost"
        return f"{scheme}://{address}:{self.web_port}"

    @property
    def web_port(self) -> int:
        """The port of the screens; differs from the configured one where that is 0."""
        servers = getattr(self._web, "servers", None)
        return int(servers[0].sockets[0].getsockname()[1]) if servers else self.config.web.port

    def _jobs(self) -> list[scheduler.Job]:
        jobs = [
            scheduler.Job("health", self.look, every=HEALTH_EVERY),
            scheduler.Job("abandoned", self.abandoned.look, every=ABANDONED_EVERY),
        ]
        if folder := self.config.dicom.worklist_folder:
            watch = WorklistFolder(folder, self.store, self.clinic)
            jobs.append(scheduler.Job("worklist folder", watch.look, every=WORKLIST_FOLDER_EVERY))
        if address := archive_address(self.config):
            archive = Archive(self.store, self.clinic, address, self.config.dicom.ae_title)
            jobs.append(scheduler.Job("archive", archive.look, every=ARCHIVE_EVERY))
        if self.region is not None:
            jobs += self.region.jobs()
        if self.config.backup.keep:
            jobs.append(scheduler.Job("backup", self.back_up, daily_at=self.config.backup.time))
        if interval := systemd.watchdog_interval():
            jobs.append(scheduler.Job("watchdog", self._pat_watchdog, every=interval))
        return jobs

    def back_up(self) -> Path:
        """Copy the database into the backup directory, check the copy, and keep the configured number of copies."""
        directory = self.config.backup_directory
        stamp = self.store.clock().astimezone(self.config.clinic.zone)
        target = directory / f"worklist-{stamp:%Y%m%d-%H%M%S}.sqlite"
        self.store.backup(target)
        for old in sorted(directory.glob("worklist-*.sqlite"))[: -self.config.backup.keep]:
            old.unlink()
        log.info("backup made: %s", target.name)
        return target

    def _suggest(self, heard: device_registry.DeviceContacts) -> list[Suggestion]:
        return learning.suggest(heard.device, heard.samples, self.store.clock())

    def _request_history(self, patient_id: int) -> None:
        assert self.region is not None
        self.region.history.wanted(patient_id)

    def _explain(self, reader: Reader, order: Order) -> list[Explained]:
        learns = self.config.dicom.unknown_devices == "learn"
        stations = dict.fromkeys(ae_title for step in order.steps for ae_title in step.station_ae_titles)
        now = self.store.clock()
        return [explain.of(reader, order, ae_title, now, self.clinic, learns=learns) for ae_title in stations]

    def _pat_watchdog(self) -> None:
        # Only a program whose database still takes writes is alive.
        self.store.write(lambda tx: None)
        systemd.notify("WATCHDOG=1")

    def _announce(self) -> None:
        """Tell the screens; where even that write is refused they notice at their next look."""
        self.store.submit(lambda tx: tx.notify())

    def _check_database(self) -> Check:
        self.store.write(beat)
        return Check("database", True, "takes changes")

    def _check_dicom(self) -> Check:
        config = self.config.dicom
        address = "127.0.0.1" if config.address in ("0.0.0.0", "::") else config.address
        found = echo.echo(config.ae_title, address, self.dicom.port, config.ae_title)
        return Check("dicom", found.ok, found.words)

    def _check_pacs(self) -> Check:
        archive = self.config.pacs
        found = echo.echo(archive.ae_title, archive.address, archive.port, self.config.dicom.ae_title)
        return Check("pacs", found.ok, found.words)

    def _check_bus(self) -> Check:
        with self.store.read() as reader:
            exchange = exchange_state.current(reader, ledger=0)
            set_aside = len(inbox.troubled(reader))
        age = self.store.clock() - exchange.oldest if exchange.oldest else timedelta()
        set_aside += len(exchange.needs_attention)
        detail = f"{exchange.waiting} waiting, {set_aside} set aside, oldest {int(age.total_seconds())} s"
        if exchange.reason:
            detail += f", {exchange.reason}"
        return Check("bus", exchange.channel != "paused" and age < QUEUE_TOO_OLD, detail)


def _guarded(name: str, look: Callable[[], Check]) -> Check:
    """Let a part that cannot even be looked at be a part that does not work."""
    try:
        return look()
    except (StoreError, sqlite3.Error, OSError) as error:
        return Check(name, False, str(error))


def _lock(directory: Path) -> int:
    """Take the data directory for this process; raise AlreadyRunning where another one has it."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / "broker.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreError(f"cannot use the data directory {directory}: {error.strerror or error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AlreadyRunning(f"another worklist-broker works on {directory}; stop it first") from None
    return descriptor
