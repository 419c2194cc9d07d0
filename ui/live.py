"""How an open page reads, changes and follows the data, in the name of the page's session.

The session is checked again each time, so a tab that stayed open after a sign-out shows and saves nothing. Exceptions
in a page's handler are shown as Russian sentences.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import quote

from nicegui import core, run, ui

from broker.domain.actors import Actor
from broker.domain.errors import BrokerError, Forbidden, SessionEnded
from broker.security import permissions, sessions
from broker.security.permissions import Permission
from broker.store.database import Reader, StoreError
from ui.services import COOKIE, Services
from ui.text import errors
from ui.widgets import theme

T = TypeVar("T")
Refresh = Callable[[], Awaitable[None]]

COALESCE = 0.1  # seconds in which several commits become one notification
SPACING = 0.5  # seconds between two notifications: modalities must not wait for twenty open boards
POLL_INTERVAL = 30.0  # seconds after which a page reads again although it was not notified


# ---- the person ----


def current_actor(services: Services) -> Actor:
    """Return the person who is signed in on this page, read again; raise SessionEnded if the session has ended."""
    request = ui.context.client.request
    actor = sessions.actor_of(services.store, request.cookies.get(COOKIE, "")) if request else None
    if actor is None:
        raise SessionEnded
    return actor


def check_viewer(services: Services) -> None:
    """Raise SessionEnded or Forbidden unless a person who may view is signed in on this page."""
    actor = current_actor(services)
    if not permissions.may(actor, Permission.VIEW):
        raise Forbidden(f"view by {actor.name}")


def leave() -> None:
    """Go to the sign-in page, which leads back to this one."""
    request = ui.context.client.request
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "") if request else "/"
    ui.navigate.to(f"/signin?next={quote(here, safe='')}")


# ---- reading ----


async def read_as_viewer(services: Services, read: Callable[[Reader], T]) -> T:
    """Return what `read` returns in another thread, after `check_viewer`.

    Raise SessionEnded, Forbidden, StoreError; CancelledError while the program stops.
    """
    check_viewer(services)
    return await read_in_thread(services, read)


async def read_in_thread(services: Services, read: Callable[[Reader], T]) -> T:
    """Return what `read` returns in another thread, without a permission check.

    Raise StoreError; CancelledError while the program stops.
    """

    def reading() -> tuple[T]:
        with services.store.read() as reader:
            return (read(reader),)

    found = await run.io_bound(reading)
    if found is None:  # NiceGUI returns None if the program stops
        raise asyncio.CancelledError
    return found[0]


def latest(services: Services, read: Callable[[Reader], T], show: Callable[[T], None]) -> Refresh:
    """Return a function that reads with `read_as_viewer` and shows the result as `latest_only` does."""
    return latest_only(lambda: read_as_viewer(services, read), show)


def latest_only(find: Callable[[], Awaitable[T]], show: Callable[[T], None]) -> Refresh:
    """Return a function that finds and shows; of runs that overlap, an older one is never shown after a newer one."""
    client = ui.context.client
    started = shown = 0

    async def refresh() -> None:
        nonlocal started, shown
        started += 1
        generation = started
        found = await find()
        if generation > shown and not client.is_deleted:
            shown = generation
            show(found)

    return refresh


def follow(services: Services, refresh: Refresh) -> None:
    """Call `refresh` after every change of the data and every POLL_INTERVAL, never twice at once."""
    busy = again = False

    async def renew() -> None:
        nonlocal busy, again
        again = True
        if busy:
            return
        busy = True
        try:
            while again:
                again = False
                await refresh()
        except SessionEnded:
            leave()
        except asyncio.CancelledError:
            return  # the program is stopping
        finally:
            busy = False

    services.changed.subscribe(renew)
    ui.timer(POLL_INTERVAL, renew, immediate=False)


# ---- changing ----


@dataclass(frozen=True)
class Done(Generic[T]):
    """What a committed use case returned."""

    value: T


async def attempt(
    use_case: Callable[[], T],
    *,
    let_pass: tuple[type[BrokerError], ...] = (),
    report: Callable[[str], None] = lambda sentence: theme.show_message(sentence, bad=True),
) -> Done[T] | None:
    """Run a use case in another thread; return None after reporting in Russian what went wrong.

    Errors of the classes in `let_pass` are raised for the page to handle, for example Invalid at its fields.
    """
    try:
        done = await run.io_bound(lambda: Done(use_case()))
    except let_pass:
        raise
    except SessionEnded:
        leave()
        return None
    except (BrokerError, StoreError) as caught:
        report(errors.error(caught))
        return None
    if done is None:  # the program stops: it is unknown whether it was committed
        report(errors.STOPPING)
    return done


def show_exception(caught: Exception) -> None:
    """Show an exception of a page's handler as a sentence; after SessionEnded go to the sign-in page."""
    if isinstance(caught, SessionEnded):
        leave()
    else:
        theme.show_message(errors.error(caught), bad=True)


# ---- notifications ----


class ChangeNotifier:
    """Passes the store's notifications from the writer thread to the event loop, several commits as one."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pending = False
        self._sent_at = 0.0  # by the loop's clock

    def start(self) -> None:
        """Subscribe to the store; called on the event loop."""
        self._loop, self._pending = core.loop or asyncio.get_running_loop(), False
        self._services.store.subscribe(self._committed)

    def stop(self) -> None:
        """Unsubscribe; a notification on its way is dropped."""
        self._services.store.unsubscribe(self._committed)
        if self._timer:
            self._timer.cancel()
        self._loop = self._timer = None

    def _committed(self) -> None:
        """Note a commit, on the writer thread."""
        loop = self._loop
        if loop is not None and not self._pending:  # otherwise the loop has been woken for an earlier commit already
            self._pending = True
            try:
                loop.call_soon_threadsafe(self._arm)
            except RuntimeError:  # the loop was closed between the two lines: no page is left to notify
                return

    def _arm(self) -> None:
        if self._timer is None and self._loop is not None:
            now = self._loop.time()
            self._timer = self._loop.call_at(max(now + COALESCE, self._sent_at + SPACING), self._send)

    def _send(self) -> None:
        self._timer = None
        self._pending = False  # before any page reads: later commits need another notification
        if self._loop is not None:
            self._sent_at = self._loop.time()
        self._services.changed.emit()
