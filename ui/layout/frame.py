"""The frame around every page: places, search, health of the installation, the person, shortcuts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from markupsafe import Markup
from nicegui import ui

from broker.domain.actors import Actor
from broker.security import permissions
from broker.security.permissions import Permission
from ui.layout.health import HealthIndicator
from ui.layout.incoming_badge import IncomingBadge
from ui.layout.opinion_badge import OpinionBadge
from ui.live import follow, show_exception
from ui.services import Services
from ui.text import words
from ui.widgets import html, theme
from ui.widgets.html import tag
from ui.widgets.theme import text

# path, word, icon on the phone, what the role must be allowed
PLACES = [
    ("/desk", "Регистратура", "edit_note", Permission.REGISTER),
    ("/incoming", "Входящие", "move_to_inbox", Permission.REGISTER),
    ("/board", "Доска", "view_week", Permission.VIEW),
    ("/reading", "Описание", "description", Permission.REPORT),
    ("/opinions", "Мнения", "forum", Permission.REPORT),
    ("/studies", "Исследования", "list_alt", Permission.VIEW),
    ("/exchange", "Обмен", "sync_alt", Permission.VIEW),
    ("/devices", "Аппараты", "monitor_heart", Permission.VIEW),
    ("/figures", "Согласие", "balance", Permission.MANAGE),
]
_VIEWS = "V"
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
    ("Alt+1 Alt+2 Alt+3", "Похожий пациент: это он"),
    ("Alt+0", "Похожий пациент: другой человек"),
    ("1 2 0", "Расхождения с архивом: наше, чужое, позже"),
    (_VIEWS, "Расхождения с архивом: открыть снимки"),
    ("Esc", "Назад, закрыть"),
    ("?", "Эта подсказка"),
]
THEMES = {"system": ("Тема как в системе", None), "light": ("Светлая тема", False), "dark": ("Тёмная тема", True)}
THEME_COOKIE = "wlb_theme"  # set by keys.js


@contextmanager
def frame(services: Services, actor: Actor, place: str, *, wall: bool = False) -> Iterator[None]:
    """Draw bar, banner, shortcuts and the phone's places around a page's content.

    `place` is the page's path in PLACES; `wall` makes the page readable from afar in full screen.
    """
    request = ui.context.client.request
    pinned = request.cookies.get(THEME_COOKIE, "system") if request else "system"
    dark = ui.dark_mode(THEMES.get(pinned, THEMES["system"])[1])
    ui.on_exception(show_exception)
    if wall:
        ui.query("body").classes("wall")
    incoming, asked = IncomingBadge(services), OpinionBadge(services)
    badges: dict[str, IncomingBadge | OpinionBadge] = {"/incoming": incoming, "/opinions": asked}
    allowed = [
        each for each in PLACES if permissions.may(actor, each[3]) and (each[0] not in badges or badges[each[0]].wanted)
    ]
    with ui.element("header").classes("top"):
        ui.link(services.settings.clinic_name, "/").classes("clinic")
        with ui.element("nav").classes("places").props("aria-label=Разделы"):
            for path, word, _, _ in allowed:
                with _current(ui.link(word, path), path == place):
                    if path in badges:
                        badges[path].add_badge()
        with ui.element("div").classes("tools"):
            search_box("find")
            with ui.link("", "/studies").classes("find-link").props("aria-label=Поиск"):
                ui.icon("search")
            health = HealthIndicator(services)
            _person(actor, dark)
    health.place_banner()
    health.draw(health.problems())
    with ui.element("main").props("id=main"):
        yield
    with ui.element("nav").classes("bottom").props("aria-label=Разделы"):
        for path, word, icon, _ in allowed:
            with _current(ui.link("", path), path == place):
                ui.icon(icon)
                text("span", word)
                if path in badges:
                    badges[path].add_badge()
    with theme.dialog("keys", "Клавиши"):
        closed = {word for _, word, _, _ in PLACES} - {word for _, word, _, _ in allowed}
        theme.html_element("div", _write_keys(closed, has_viewer=services.settings.viewer is not None), "keys")

    # Last: a timer makes NiceGUI send the page as it is, and parts that are read later would make it jump.
    async def refresh() -> None:
        await health.refresh()
        await incoming.refresh()
        await asked.refresh()

    follow(services, refresh)


def _write_keys(closed: set[str], *, has_viewer: bool) -> Markup:
    """Return the list of shortcuts, without those to the places in `closed`, which the person may not see."""
    lines = [
        html.join(tag("span", "nowrap", theme.key_hint_html(key)), tag("span", "", meaning))
        for key, meaning in KEYS
        if meaning not in closed
        and (has_viewer or key != _VIEWS)
        and not (key.startswith(("F2", "Alt")) and "Регистратура" in closed)
    ]
    return html.join(*lines)


def search_box(name: str, value: str = "") -> None:
    """Draw the search: a plain GET form, which works before the page is connected and can be bookmarked."""
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
