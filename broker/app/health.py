"""The periodic health checks: the database, our own DICOM port, the exchange with the bus, the archive."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from time import monotonic

from broker.app.settings import archive_address
from broker.config.configuration import Config
from broker.dicom.scu import echo
from broker.domain.health import Check, Health
from broker.store.database import Store, StoreError, heartbeat
from broker.store.queries import exchange_state, inbox
from broker.store.tables.studies import mpps_nodes

log = logging.getLogger(__name__)

CHECK_EVERY = 15.0  # seconds
TOO_OLD = 4 * CHECK_EVERY  # seconds after which a result is not valid any more
QUEUE_TOO_OLD = timedelta(minutes=30)  # a message that waits longer is a fault


class HealthMonitor:
    """Made once; `check` is the periodic job, `health` is its latest result."""

    def __init__(self, store: Store, config: Config, dicom_port: Callable[[], int]) -> None:
        """`dicom_port` returns the TCP port that our own DICOM port listens on."""
        self._store, self._config, self._dicom_port = store, config, dicom_port
        self._health = Health()
        self._checked_at = monotonic()

    def health(self) -> Health:
        """Return the latest result; one that is too old is a failure itself."""
        age = monotonic() - self._checked_at
        if age > TOO_OLD:
            return Health((*self._health.checks, Check("watch", False, f"not checked for {age:.0f} s")))
        return self._health

    def check(self) -> None:
        """Check everything: the database by a write, the DICOM port and the archive by C-ECHO, the age of the queue."""
        checks = {"database": self._check_database, "dicom": self._check_dicom}
        if self._config.bus.url:
            checks["bus"] = self._check_bus
        if self._config.pacs.address:
            checks["pacs"] = self._check_archive
        if self._config.dicom.forward_mpps:
            checks["forwarding"] = self._check_forwarding
        results = [_guarded(name, check) for name, check in checks.items()]
        before, self._health = self._health, Health(tuple(results))
        self._checked_at = monotonic()
        if [(result.name, result.ok) for result in results] != [(result.name, result.ok) for result in before.checks]:
            for result in results:
                (log.info if result.ok else log.error)("%s: %s", result.name, result.detail)
            # Not awaited: if this write fails, the screens see the change at their next reading.
            self._store.submit(lambda tx: tx.notify())

    def _check_database(self) -> Check:
        self._store.write(heartbeat)
        return Check("database", True, "takes changes")

    def _check_dicom(self) -> Check:
        dicom = self._config.dicom
        address = "127.0.0.1" if dicom.address in ("0.0.0.0", "::") else dicom.address
        result = echo.echo(dicom.ae_title, address, self._dicom_port(), dicom.ae_title)
        return Check("dicom", result.ok, result.words)

    def _check_archive(self) -> Check:
        archive = archive_address(self._config)
        assert archive is not None, "checked only where one is configured"
        own = self._config.dicom.ae_title
        result = echo.echo(archive.ae_title, archive.host, archive.port, own, tls=archive.tls)
        return Check("pacs", result.ok, result.words)

    def _check_forwarding(self) -> Check:
        configured = {node.partition("@")[0] for node in self._config.dicom.forward_mpps}
        with self._store.read() as reader:
            backlogs = [each for each in mpps_nodes.backlogs(reader) if each.ae_title in configured]
        now = self._store.clock()
        late = [each for each in backlogs if each.oldest and now - each.oldest > QUEUE_TOO_OLD]
        words = [
            f"{each.waiting} MPPS messages wait for {each.ae_title}" + (f", {each.problem}" if each.problem else "")
            for each in backlogs
            if each.waiting
        ]
        return Check("forwarding", not late, "; ".join(words) or "nothing waits")

    def _check_bus(self) -> Check:
        with self._store.read() as reader:
            exchange = exchange_state.current(reader, ledger=0)
            need_attention = len(inbox.troubled(reader)) + len(exchange.needs_attention)
        age = self._store.clock() - exchange.oldest if exchange.oldest else timedelta()
        detail = f"{exchange.waiting} waiting, {need_attention} need attention, oldest {int(age.total_seconds())} s"
        if exchange.reason:
            detail += f", {exchange.reason}"
        return Check("bus", exchange.channel != "paused" and age < QUEUE_TOO_OLD, detail)


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    """Run a check; an exception counts as a failure."""
    try:
        return check()
    except (StoreError, sqlite3.Error, OSError) as error:
        return Check(name, False, str(error))
