"""What the tests of the screens share: an application on a real database, a simulated person, a real server."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from types import MethodType
from typing import Any

from tests.support.waiting import DEADLINE, wait_until, wait_until_async
from ui import live
from ui.widgets import autocomplete, draft

# Read when nicegui is first imported; nothing of a test may land in the working directory.
os.environ.setdefault("NICEGUI_STORAGE_PATH", tempfile.mkdtemp(prefix="worklist-broker-test-"))

import httpx
import pytest
from fastapi import FastAPI
from nicegui import Client, Event, background_tasks, helpers, ui
from nicegui.functions.navigate import Navigate
from nicegui.functions.notify import notify
from nicegui.testing import User, general
from nicegui.testing.general import nicegui_reset_globals

from broker.dicom import learning
from broker.dicom.receiving import opening
from broker.dicom.worklist import explain
from broker.domain.actors import Role
from broker.domain.health import Check, Health
from broker.security import sessions
from broker.security.throttle import Throttle
from broker.store.database import Store
from broker.store.tables import accounts as accounts_table
from broker.workflow import accounts
from tests.support import factory
from tests.ui.scene import Scene
from ui.services import COOKIE, Services
from ui.settings import ScreenSettings
from ui.web import app as web

live.SPACING = 0.0  # tests do not wait; `test_live` tries it
# Nobody here thinks while typing.
autocomplete.DEBOUNCE = 0.01
draft.PAUSE = 0.1


class _YoungGarbage:
    """The collector for NiceGUI's reset, which looks through everything twice a test: what a test leaves is young."""

    @staticmethod
    def collect() -> int:
        return gc.collect(1)


general.gc = _YoungGarbage  # type: ignore[assignment,attr-defined]


def _expects_arguments(handler: Any, original: Callable[[Any], bool] = helpers.expects_arguments) -> bool:
    """Look at the signature of a method once: NiceGUI does three times an element, and pages have hundreds."""
    return _of_method(handler.__func__, original) if isinstance(handler, MethodType) else original(handler)


@cache
def _of_method(function: Any, original: Callable[[Any], bool]) -> bool:
    return original(MethodType(function, function))


helpers.expects_arguments = _expects_arguments  # type: ignore[assignment]
PASSWORD = "correct horse"
PEOPLE = {
    "orlova": ("Орлова Н. В.", Role.REGISTRAR),
    "yudin": ("Юдин К. Е.", Role.TECHNOLOGIST),
    "volskaya": ("Вольская Т. А.", Role.RADIOLOGIST),
    "admin": ("Седов И. И.", Role.ADMINISTRATOR),
}


class Person(User):
    """NiceGUI's simulated person, who looks as often and for as long as all tests do."""

    async def should_see(self, target: Any = None, **filters: Any) -> None:
        """Wait until an element is there that the filters fit."""
        looked_for = [target, *map(filters.get, ("kind", "marker", "content"))]
        await wait_until_async(
            lambda: self._sees(*looked_for), lambda: f"at least one {self._build_error_message(*looked_for)}"
        )

    async def should_not_see(self, target: Any = None, **filters: Any) -> None:
        """Wait until no element is there that the filters fit."""
        looked_for = [target, *map(filters.get, ("kind", "marker", "content"))]
        await wait_until_async(
            lambda: not self._sees(*looked_for), lambda: f"no {self._build_error_message(*looked_for)}"
        )


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A clinic's day, with a clock of its own."""
    made = Scene(tmp_path / "worklist.sqlite")
    yield made
    made.store.close()


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """The scene's database where a test, or its file, has a scene; else one by the real clock, as everywhere."""
    if "scene" in request.fixturenames:
        yield request.getfixturevalue("scene").store
        return
    opened = factory.open_store(tmp_path / "worklist.sqlite")
    yield opened
    opened.close()


@dataclass
class Installation:
    """What works in the installation; a test may break it."""

    health: Health = field(default_factory=lambda: Health((Check("database", True, "takes changes"),)))


@pytest.fixture
def installation() -> Installation:
    """An installation in which everything works."""
    return Installation()


@pytest.fixture
def services(store: Store, tmp_path: Path, installation: Installation) -> Services:
    """What pages are given, with one account of every role."""
    for login, (name, role) in PEOPLE.items():
        store.write(
            accounts.add_account, accounts.new_account(login, name, frozenset({role}), PASSWORD), factory.SYSTEM
        )
    settings = ScreenSettings("Клиника на Заречной", tmp_path)
    return Services(
        store,
        factory.CLINIC,
        settings,
        Throttle(),
        lambda: installation.health,
        open_received=opening.open_stored,
        suggest=lambda received: learning.suggest(received.device, received.samples, store.clock()),
        explain=lambda reader, order: [
            explain.explain_order(reader, order, ae_title, store.clock(), factory.CLINIC)
            for step in order.steps
            for ae_title in step.station_ae_titles
        ],
    )


def session_of(services: Services, login: str) -> str:
    """Start a session as signing in does; give the cookie's value."""
    token = f"token-of-{login}-{os.urandom(8).hex()}"

    def start(tx: Any) -> None:
        account = accounts_table.by_login(tx, login)
        assert account is not None
        accounts_table.start_session(tx, sessions.token_hash(token), account.id, tx.now + timedelta(hours=1), "test")

    services.store.write(start)
    return token


@contextmanager
def application(services: Services) -> Iterator[FastAPI]:
    """Build the whole application in a NiceGUI of its own."""
    own = {name: module for name, module in sys.modules.items() if name == "ui" or name.startswith("ui.")}
    with ExitStack() as stack:
        # NiceGUI's reset forgets the modules of pages; they are ours and hold nothing.
        stack.callback(lambda: sys.modules.update(own))
        stack.enter_context(nicegui_reset_globals())
        yield web.create_app(replace(services, changed=Event()))
    # NiceGUI has just collected; what is left is there to stay, and need not be looked through again twice a test.
    gc.freeze()


def pages_being_built() -> list[str]:
    """Return the names of the tasks in which a person goes to a page."""
    names = [task.get_name() for task in background_tasks.running_tasks if not task.done()]
    return [name for name in names if name.startswith(("navigate ", "wait for result of page "))]


@asynccontextmanager
async def person(services: Services, login: str = "orlova") -> AsyncIterator[User]:
    """Simulate a signed-in person before a freshly started application."""
    with application(services) as app:
        os.environ["NICEGUI_USER_SIMULATION"] = "true"
        try:
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
            ):
                client.cookies.set(COOKIE, session_of(services, login))
                try:
                    yield Person(client)
                finally:
                    # A page that a person has just gone to is built to its end, else Python warns of what never began.
                    await wait_until_async(lambda: not pages_being_built())
                    # One that is about to send overhears that it is cancelled (wait_for before Python 3.12), and
                    # NiceGUI waits 2 s for it.
                    for each in Client.instances.values():
                        each.outbox.stop()
        finally:
            os.environ.pop("NICEGUI_USER_SIMULATION", None)
            ui.navigate = Navigate()
            ui.notify = notify


@pytest.fixture
async def user(services: Services) -> AsyncIterator[User]:
    """A registrar before the screens."""
    async with person(services) as somebody:
        yield somebody


@dataclass
class Site:
    """A real server and a browser-like client for it."""

    url: str
    http: httpx.Client
    services: Services

    def sign_in(self, login: str = "orlova", password: str = PASSWORD, **data: str) -> httpx.Response:
        """Send the sign-in form."""
        return self.post("/signin", name=login, password=password, **data)

    def post(self, path: str, **data: str) -> httpx.Response:
        """Send a form as a browser does, with the page's origin."""
        return self.http.post(path, data=data, headers={"Origin": self.url})


@pytest.fixture
def site(services: Services) -> Iterator[Site]:
    """The application behind uvicorn on a free port, in a thread of its own."""
    with application(services) as app, socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = web.make_server(app, services.settings.server)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), name="screens")
        thread.start()
        try:
            wait_until(lambda: server.started)
            with httpx.Client(base_url=url, trust_env=False) as http:
                yield Site(url, http, services)
        finally:
            server.should_exit = True
            thread.join(DEADLINE)
        assert not thread.is_alive()
