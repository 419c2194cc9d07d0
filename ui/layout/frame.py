"""The frame around every page: places, search, the house's health, the person; and how pages talk to verbs.

Whatever goes wrong in a page's handler ends here as a Russian sentence, never as an exception in a red box.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import quote

from markupsafe import Markup
from nicegui import run, ui
from nicegui.elements.mixins.text_element import TextElement

from broker.domain.actors import Actor
from broker.domain.errors import BrokerError, SessionEnded
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.database import StoreError
from broker.store.queries import journal
from broker.store.tables import incoming as incoming_rows
from ui.services import Services, current_actor
from ui.text import bus, errors, words
from ui.widgets import html, theme
from ui.widgets.html import tag
from ui.widgets.theme import text

T = TypeVar("T")

# path, word, icon on the phone, what the role must be allowed
PLACES = [
    ("/desk", "Регистратура", "edit_note", Permission.REGISTER),
    ("/incoming", "Входящие", "move_to_inbox", Permission.REGISTER),
    ("/board", "Доска", "view_week", Permission.VIEW),
    ("/reading", "Описание", "description", Permission.REPORT),
    ("/studies", "Исследования", "list_alt", Permission.VIEW),
    ("/exchange", "Обмен", "sync_alt", Permission.VIEW),
    ("/devices", "Аппараты", "monitor_heart", Permission.VIEW),
]
KEYS = [
    ("F2", "Новое направление"),
    ("/", "Поиск по исследованиям"),
    ("G затем R", "Регистратура"),
    ("G затем I", "Входящие"),
    ("G затем B", "Доска"),
    ("G затем P", "Описание"),
    ("G затем S", "Исследования"),
    ("G затем O", "Обмен"),
    ("G затем D", "Аппараты"),
    ("Ctrl+Enter", "Сохранить или главное действие страницы"),
    ("↑ ↓ Enter", "Выбор в списке под полем"),
    ("Esc", "Назад, закрыть"),
    ("?", "Эта подсказка"),
]
THEMES = {"system": ("Тема как в системе", None), "light": ("Светлая тема", False), "dark": ("Тёмная тема", True)}
THEME_COOKIE = "wlb_theme"  # set by keys.js
SAFETY_NET = 30.0  # seconds after which a page reads again although nobody told it to


@contextmanager
def frame(services: Services, actor: Actor, place: str, *, wall: bool = False) -> Iterator[None]:
    """Draw bar, banner, shortcuts and phone places around a page's content; `place` is its path in PLACES."""
    request = ui.context.client.request
    pinned = request.cookies.get(THEME_COOKIE, "system") if request else "system"
    dark = ui.dark_mode(THEMES.get(pinned, THEMES["system"])[1])
    ui.on_exception(_say_exception)
    if wall:
        ui.query("body").classes("wall")
    incoming = _Incoming(services)
    allowed = [
        each for each in PLACES if permissions.may(actor, each[3]) and (each[0] != "/incoming" or incoming.wanted)
    ]
    with ui.element("header").classes("top"):
        ui.link(services.config.clinic.name, "/").classes("clinic")
        with ui.element("nav").classes("places").props("aria-label=Разделы"):
            for path, word, _, _ in allowed:
                with _current(ui.link(word, path), path == place):
                    if path == "/incoming":
                        incoming.add_badge()
        with ui.element("div").classes("tools"):
            find("find")
            with ui.link("", "/studies").classes("find-link").props("aria-label=Поиск"):
                ui.icon("search")
            house = _House(services)
            _person(actor, dark)
    house.place_banner()
    house.draw(house.troubles())
    with ui.element("main").props("id=main"):
        yield
    with ui.element("nav").classes("bottom").props("aria-label=Разделы"):
        for path, word, icon, _ in allowed:
            with _current(ui.link("", path), path == place):
                ui.icon(icon)
                text("span", word)
                if path == "/incoming":
                    incoming.add_badge()
    with theme.dialog("keys", "Клавиши"):
        closed = {word for _, word, _, _ in PLACES} - {word for _, word, _, _ in allowed}
        theme.html("div", _write_keys(closed), "keys")

    # Last: a timer makes NiceGUI send the page as far as it is, so what was still being read would come late and jump.
    async def refresh() -> None:
        await house.refresh()
        await incoming.refresh()

    follow(services, refresh)


def _write_keys(closed: set[str]) -> Markup:
    """Write what the keys do, without those that lead to places closed to this person."""
    lines = [
        html.join(tag("span", "nowrap", theme.written_keys(key)), tag("span", "", meaning))
        for key, meaning in KEYS
        if meaning not in closed and not (key == "F2" and "Регистратура" in closed)
    ]
    return html.join(*lines)


def find(name: str, value: str = "") -> None:
    """Draw the search: a plain GET form, so that it works before the page is connected and can be bookmarked."""
    with ui.element("form").classes("find").props("action=/studies method=get role=search"):
        ui.icon("search")
        box = ui.element("input").classes("control")
        box.props(f"id={name} name=q type=search autocomplete=off maxlength=200")
        box.props('placeholder="ФИО или номер" aria-label="Поиск по исследованиям"')
        box.props["value"] = value
        text("kbd", "/", "key").props("aria-hidden=true")


def _current(link: ui.link, current: bool) -> ui.link:
    return link.props("aria-current=page") if current else link


def _person(actor: Actor, dark: ui.dark_mode) -> None:
    with ui.element("button").classes("person").props('type=button aria-label="Пользователь и настройки"'):
        text("span", actor.title or actor.name, "who")
        ui.icon("expand_more").style("font-size: 20px")
        with ui.menu().props('transition-duration=0 anchor="bottom right" self="top right" :offset="[0, 4]"'):
            roles = ", ".join(words.ROLES[role] for role in sorted(actor.roles))
            text("p", f"{actor.title or actor.name}: {roles}", "muted small menu-note")
            for key, (word, value) in THEMES.items():
                choice = ui.menu_item(word, lambda value=value: dark.set_value(value))
                choice.props(f"data-theme={key}")
            ui.element("hr")
            ui.menu_item("Клавиши").props("data-opens=keys")
            ui.menu_item("Выйти").props("data-submits=signout")
    # A form, not a websocket event: only an HTTP answer can take the cookie away.
    ui.element("form").props("id=signout method=post action=/signout hidden")


class _House:
    """The dot and the banner: what does not work, in words."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._shown: list[tuple[str, str]] | None = None
        self._banner: ui.element | None = None
        with ui.link("", "/devices").classes("health") as self._dot:
            ui.element("i")
            self._tip = text("span", "", "tip").props("role=tooltip")

    def place_banner(self) -> None:
        """Put the banner here; it is empty while all is well."""
        self._banner = ui.element("div")

    def troubles(self) -> list[tuple[str, str]]:
        """List what is wrong: (sentence, path of the page that tells more)."""
        found = []
        for check in self._services.health().checks:
            if check.ok:
                continue
            if check.name != "bus":
                found.append((words.trouble(check), "/devices"))
                continue
            with self._services.store.read() as reader:
                exchange = journal.exchange(reader, 0)
            silent = self._services.store.clock() - exchange.oldest if exchange.oldest else None
            found.append((bus.bus_trouble(exchange.channel, silent), "/exchange"))
        return found

    async def refresh(self) -> None:
        """Look again, and leave the page when its session has ended."""
        current_actor(self._services)
        found = await run.io_bound(self.troubles)
        if found is not None:
            self.draw(found)

    def draw(self, found: list[tuple[str, str]]) -> None:
        """Show it, if it is not what is shown already."""
        if found == self._shown:
            return
        self._shown = found
        checks = self._services.health().checks
        works = [words.WORKING.get(check.name, check.name) for check in checks if check.ok]
        told = "\n".join([sentence for sentence, _ in found] or ["Всё работает.", *works])
        self._dot.props["aria-label"] = told
        self._tip.set_text(told)
        self._dot.classes(add="bad") if found else self._dot.classes(remove="bad")
        if self._banner is None:
            return
        self._banner.clear()
        if not found:
            return
        with self._banner, ui.element("div").classes("banner").props("role=status"):
            ui.icon("error")
            with text("p", " ".join(sentence for sentence, _ in found) + " "):
                ui.link("Подробнее", found[0][1])


class _Incoming:
    """The count of referrals from elsewhere that wait, beside the word of their page; not there where nothing comes."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._badges: list[TextElement] = []
        self._counted = self._count()
        self.wanted = bool(services.config.bus.url or self._counted[0])

    def add_badge(self) -> None:
        """Put the count here; nothing stands there while nobody waits."""
        self._badges.append(text("span", "", "badge"))
        self._draw()

    async def refresh(self) -> None:
        """Count again."""
        counted = await run.io_bound(self._count) if self.wanted else None
        if counted is not None and counted != self._counted:
            self._counted = counted
            self._draw()

    def _count(self) -> tuple[int, bool]:
        with self._services.store.read() as reader:
            return incoming_rows.count(reader)

    def _draw(self) -> None:
        waiting, urgent = self._counted
        for badge in self._badges:
            badge.set_text(str(waiting) if waiting else "")
            badge.classes(add="bad") if urgent else badge.classes(remove="bad")
            badge.props["title"] = "есть срочные" if urgent else "ждут записи"


# ---- how pages talk to verbs ----


@dataclass(frozen=True)
class Done(Generic[T]):
    """What a verb gave back, committed."""

    value: T


async def attempt(
    verb: Callable[[], T],
    *,
    let_pass: tuple[type[BrokerError], ...] = (),
    tell: Callable[[str], None] = lambda words: theme.say(words, bad=True),
) -> Done[T] | None:
    """Run a verb in another thread; tell in Russian what went wrong and give None then.

    Errors of the classes in `let_pass` are raised for the page to handle, for example Invalid at its fields.
    """
    try:
        done = await run.io_bound(lambda: Done(verb()))
    except let_pass:
        raise
    except SessionEnded:
        leave()
        return None
    except (BrokerError, StoreError) as caught:
        tell(errors.error(caught))
        return None
    if done is None:  # the program is stopping: whether it was committed is not known
        tell(errors.STOPPING)
    return done


def follow(services: Services, refresh: Callable[[], Awaitable[None]]) -> None:
    """Call `refresh` after every change and twice a minute, never twice at once."""
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
    ui.timer(SAFETY_NET, renew, immediate=False)


def leave() -> None:
    """Go to the sign-in page, and come back to this one after it."""
    request = ui.context.client.request
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "") if request else "/"
    ui.navigate.to(f"/signin?next={quote(here, safe='')}")


def _say_exception(caught: Exception) -> None:
    if isinstance(caught, SessionEnded):
        leave()
    else:
        theme.say(errors.error(caught), bad=True)
