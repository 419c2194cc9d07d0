"""The frame of a reading session: its bar, its foot, its end. Draws only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, tzinfo

from nicegui import ui

from broker.domain.patients import names
from ui.reading.session.cases import Session, SessionCase
from ui.text import reading, words
from ui.widgets import html, theme
from ui.widgets.html import tag
from ui.widgets.theme import text

REST_AFTER = 40  # minutes of reading after which a break is proposed
_KEYS = (("S", "в конец"), ("D", "отложить"), ("V", "{v}"), ("Ctrl+Z", "вернуть прошлый"))


def draw_bar(session: Session, case: SessionCase | None, reader: str, minutes: int, dark: ui.dark_mode) -> None:
    """Draw what is read, how far the session has got, and who reads."""
    wanted, passed = session.wanted, session.read + session.deferred
    with ui.element("header").classes("roombar"):
        with ui.link("", "/reading").classes("btn btn-small").props("data-back"):
            text("kbd", "Esc")
            text("span", "Выйти")
        modality = case.opened.order.modality if case else wanted.modality
        name = reading.queue_name(modality, case.opened.needed if case else wanted.needed)
        text("h1", name if modality else "Чтение", "cut")
        if case and case.opened.needed > 1:
            theme.state_chip(reading.STAGES[case.opened.case.stage][0])
        ui.element("div").classes("spring")
        number = passed + (1 if case else 0)
        text("span", f"{number} из {wanted.size}" if wanted.size else f"случай {number}", "muted nowrap")
        if wanted.size:
            done = tag("i", "", style=f"width:{min(100, round(100 * passed / wanted.size))}%")
            theme.html_element("span", done, "meter wide-meter").props("aria-hidden=true")
        text("span", f"сеанс {minutes} мин", "muted nowrap")
        ui.element("div").classes("spring")
        text("span", reader, "muted nowrap cut")
        lighter = theme.button(_other_theme(dark), small=True)
        lighter.on("click", lambda: _switch(dark, lighter))
        lighter.props(f"data-theme={'light' if dark.value else 'dark'}")


def _switch(dark: ui.dark_mode, button: ui.button) -> None:
    dark.set_value(not dark.value)
    button.set_text(_other_theme(dark))
    button.props(f"data-theme={'light' if dark.value else 'dark'}")


def _other_theme(dark: ui.dark_mode) -> str:
    return "Светлее" if dark.value else "Темнее"


def draw_foot(case: SessionCase, zone: tzinfo, *, opens_images: bool = False) -> None:
    """Draw the keys, and what can be taken back; `opens_images`: key V opens the viewer, else the card."""
    viewed = "снимки" if opens_images else "карточка"
    with ui.element("footer").classes("roomfoot"):
        keys = [tag("span", "nowrap", theme.key_hint_html(key), f" {word.format(v=viewed)}") for key, word in _KEYS]
        theme.html_element("span", html.join(*keys), "keyline")
        ui.element("div").classes("spring")
        with ui.element("span").classes("back-lines"):
            for each in case.held[:2]:
                until = (each.read.stands_at or datetime.now(UTC)).astimezone(zone)
                said = f"{names.short(each.order.patient.name)}: {reading.said(each.read.opinion)}"
                content = (html.icon("undo"), tag("span", "", said), tag("span", "muted", f"до {until:%H:%M}"))
                theme.html_element("span", html.join(*content), "back-line")


def draw_end(
    session: Session,
    hold_minutes: int,
    minutes: int,
    *,
    more: Callable[[], Awaitable[None]],
    finish: Callable[[], Awaitable[None]],
) -> None:
    """Draw what was read, and what may be done now."""
    counts = [f"{reading.SHORT[finding]} {count}" for finding, count in session.findings.items() if count]
    counts += [f"отложено {session.deferred}"] if session.deferred else []
    with ui.element("div").classes("reading-end"), ui.element("div"):
        done = words.plural(session.read, "случай", "случая", "случаев")
        text("h2", f"Сеанс прочитан: {done}" if session.read else "Читать нечего", "case-who")
        if counts:
            text("p", ", ".join(counts).capitalize() + ".", "anamnesis-words")
        if not session.is_over:
            text("p", "Больше ничего не ждёт вашего чтения.", "muted")
        if session.read and hold_minutes:
            hold = words.plural(hold_minutes, "минуту", "минуты", "минут")
            text("p", f"Каждое мнение можно вернуть {hold} (Ctrl+Z). Потом оно станет окончательным само.", "muted")
        with ui.element("div").classes("acts"):
            if session.is_over:
                theme.button(f"Ещё {session.wanted.size}", more, kind="primary", key="Ctrl+Enter")
            if session.read:
                theme.button("Завершить все сейчас", finish)
            ui.link("К спискам", "/reading").classes("btn").props("data-back")
        if minutes >= REST_AFTER:
            text("p", "Вы читаете давно. Десять минут отдыха сберегают внимание.", "muted small")


def draw_toast(said: str, *, undo: bool) -> None:
    """Draw what has just been done, and how it is taken back."""
    parts = [html.icon("check_circle"), tag("span", "", said)]
    parts += [tag("span", "", "отменить"), tag("kbd", "", "Ctrl+Z")] if undo else []
    theme.html_element("div", html.join(*parts), "toast")
