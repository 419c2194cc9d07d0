"""What the pages are given: the database, the rules of the house, the news that something has changed.

Pages read by `look` and change by `attempt` (in frame.py), both with the actor of the page, whose session is checked
each time: a tab that stayed open after a sign-out shows and saves nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, TypeVar

from nicegui import Event, core, run, ui

from broker.config.configuration import Config
from broker.domain.actors import Actor
from broker.domain.clinic import Clinic
from broker.domain.device_advice import Explained, Suggestion
from broker.domain.errors import Forbidden, SessionEnded
from broker.domain.health import Health
from broker.domain.orders import Order
from broker.security import permissions, sessions
from broker.security.permissions import Permission
from broker.security.throttle import Throttle
from broker.store.database import Reader, Store
from broker.store.queries.journal import Heard

T = TypeVar("T")

COOKIE = "wlb_session"
COALESCE = 0.1  # seconds in which several commits become one piece of news
SPACING = 0.5  # seconds between two pieces of news: what modalities wait for is not to wait for twenty open boards


@dataclass(frozen=True)
class Services:
    """Everything that a page may use."""

    store: Store
    clinic: Clinic
    config: Config
    throttle: Throttle
    health: Callable[[], Health]  # cheap: the last result of checks that run elsewhere
    changed: Event[[]] = field(default_factory=Event)
    suggest: Callable[[Heard], list[Suggestion]] = lambda heard: []  # what a device's messages teach
    explain: Callable[[Reader, Order], list[Explained]] = lambda reader, order: []  # why devices see an order or not
    ask_elsewhere: Callable[[int], object] | None = None  # have the region asked about a patient; None: there is none

    def now(self) -> datetime:
        """Give the local clinic time, naive, as the verbs take it."""
        return self.store.clock().astimezone(self.clinic.zone).replace(tzinfo=None)

    def today(self) -> date:
        """Give the clinic's day."""
        return self.now().date()


def current_actor(services: Services) -> Actor:
    """Give who is signed in on this page, looked up anew; raise SessionEnded when that is over."""
    request = ui.context.client.request
    actor = sessions.actor_of(services.store, request.cookies.get(COOKIE, "")) if request else None
    if actor is None:
        raise SessionEnded
    return actor


async def look(services: Services, read: Callable[[Reader], T]) -> T:
    """Read in another thread and give the result, after checking that the person is still signed in and may view.

    Raise SessionEnded, Forbidden, StoreError; CancelledError while the program stops.
    """
    check_viewer(services)
    return await fetch(services, read)


def check_viewer(services: Services) -> None:
    """Raise SessionEnded or Forbidden unless somebody who may view is signed in on this page."""
    actor = current_actor(services)
    if not permissions.may(actor, Permission.VIEW):
        raise Forbidden(f"view by {actor.name}")


async def fetch(services: Services, read: Callable[[Reader], T]) -> T:
    """Read in another thread, whoever asks; raise StoreError; CancelledError while the program stops."""

    def reading() -> tuple[T]:
        with services.store.read() as reader:
            return (read(reader),)

    found = await run.io_bound(reading)
    if found is None:  # NiceGUI's way to say that the program is stopping
        raise asyncio.CancelledError
    return found[0]


class News:
    """Carries the store's news from the writer thread to the event loop, several commits as one."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard = False
        self._told_at = 0.0  # by the loop's clock

    def start(self) -> None:
        """Begin to listen; called on the event loop."""
        self._loop, self._heard = core.loop or asyncio.get_running_loop(), False
        self._services.store.subscribe(self._committed)

    def stop(self) -> None:
        """Stop listening; what was on its way is dropped."""
        self._services.store.unsubscribe(self._committed)
        if self._timer:
            self._timer.cancel()
        self._loop = self._timer = None

    def _committed(self) -> None:
        """Hear of a commit, on the writer thread."""
        loop = self._loop
        if loop is not None and not self._heard:  # else the loop has been woken for what comes together with this
            self._heard = True
            try:
                loop.call_soon_threadsafe(self._arm)
            except RuntimeError:  # the loop was closed between the two lines: nobody is left to be told
                return

    def _arm(self) -> None:
        if self._timer is None and self._loop is not None:
            now = self._loop.time()
            self._timer = self._loop.call_at(max(now + COALESCE, self._told_at + SPACING), self._tell)

    def _tell(self) -> None:
        self._timer = None
        self._heard = False  # before anybody reads: what is committed from now on is news again
        if self._loop is not None:
            self._told_at = self._loop.time()
        self._services.changed.emit()


def safe_path(next_page: Any) -> str:
    """Give a local path to go to after signing in; whatever leads elsewhere becomes the desk."""
    path = next_page if isinstance(next_page, str) else ""
    # Browsers read a backslash as a slash and skip control characters: //host, /\host and /\t/host leave the house.
    local = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if local and not path.startswith(("/signin", "/signout", "/_nicegui")) else "/"
