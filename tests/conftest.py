"""What all tests share."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from socketserver import BaseServer
from types import ModuleType
from typing import Any

import pytest
import uvicorn.server
from hypothesis import HealthCheck, settings
from pynetdicom.association import Association
from pynetdicom.transport import AssociationServer, AssociationSocket

from broker.app import clock
from broker.security import passwords
from broker.store import database
from broker.store.database import Store
from tests.support import factory
from tests.support.clock import Clock
from tests.support.new_database import migrate_by_copy

# How fast examples are made says nothing but how busy the machine is.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("tests"), max_examples=10)
settings.load_profile("tests")

ROOM = 4 * 1024**3  # bytes


def _connect(self: AssociationSocket, primitive: Any, original: Any = AssociationSocket.connect) -> None:
    raw = self.socket
    original(self, primitive)
    if self.socket is None and raw is not None:
        raw.close()


# Where nobody listens, pynetdicom's client drops its socket without closing it; the warning about it would strike
# whatever test runs when the garbage is collected.
AssociationSocket.connect = _connect  # type: ignore[method-assign]


class _Paused:
    """Whether the thread of pynetdicom's association is paused, for a requestor that is about to wait for an answer.

    pynetdicom says so a moment longer than it is true. On a busy machine the thread then takes the answer for a request
    and the requestor waits in vain. It is paused when it really waits to go on.
    """

    def __set__(self, association: Association, is_paused: bool) -> None:
        vars(association)["_is_paused"] = is_paused

    def __get__(self, association: Association, owner: type[Association]) -> bool:
        is_paused: bool = vars(association)["_is_paused"]
        go_on: Any = association._reactor_checkpoint
        if go_on.is_set() or association.is_acceptor or not association.is_alive():
            return is_paused
        return is_paused and bool(go_on._cond._waiters)


Association._is_paused = _Paused()  # type: ignore[assignment]


class _Hurried(ModuleType):
    """asyncio for uvicorn, which looks only ten times a second whether it is to end; hundreds of tests start one."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 10)


uvicorn.server.asyncio = _Hurried("asyncio")  # type: ignore[attr-defined]


def _serve(self: BaseServer, poll_interval: float = 0.02, original: Any = BaseServer.serve_forever) -> None:
    original(self, poll_interval)


# pynetdicom's servers look only twice a second whether they are to end; hundreds of tests start one.
AssociationServer.serve_forever = _serve  # type: ignore[method-assign]

# `tests/store/schema` calls `migrate` itself.
database.migrate = migrate_by_copy  # type: ignore[assignment,attr-defined]
passwords.SCRYPT["n"] = 16  # `test_security` hashes as the program does
database.BACKGROUND_WAIT = 0.0  # tests do not wait for others' changes; `test_database` tries it


def pytest_configure(config: pytest.Config) -> None:
    """Take fewer examples where only the quick tests run, and keep the databases in memory where that is possible.

    Thousands of them wait for a disk otherwise.
    """
    if config.getoption("markexpr") == "not slow":
        settings.load_profile("quick")
    shared = Path("/dev/shm")
    if os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(shared))


@pytest.fixture(autouse=True, scope="package")
def frozen() -> Iterator[None]:
    """Leave out of every collection what was there before the tests: NiceGUI's reset collects twice a test."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def machine_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The machine's clock as the program sees it where it runs inside of a test: it stands still."""
    standing = Clock()
    monkeypatch.setattr(clock, "utc_now", standing)
    return standing


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A real database with the default procedures and three devices."""
    opened = factory.open_store(tmp_path / "worklist.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration in which as little stands as may; nothing of its clinic exists yet."""
    path = tmp_path / "config.yaml"
    path.write_text("clinic: {name: Клиника, accession_prefix: K}\ndata: {directory: data}\n", encoding="utf-8")
    return path
