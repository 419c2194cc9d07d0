"""The look of the screens: colours, states and the few components that every page is made of.

Colours live here and nowhere else; theme.css holds the rules, keys.js the shortcuts. No page sets a colour, a font or
a size of its own. Nothing here knows about the database or the workflow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse
from markupsafe import Markup
from nicegui import __version__ as nicegui_version
from nicegui import ui
from nicegui.elements.mixins.content_element import ContentElement
from nicegui.elements.mixins.text_element import TextElement

from ui.text import words
from ui.widgets import html

HERE = Path(__file__).parent
FILES = {"theme.css": "text/css", "keys.js": "text/javascript"}

SIZES = {
    "size": "15px",
    "radius": "6px",
    # Roboto with Cyrillic travels with NiceGUI and is served locally, so the last resort is the same on every machine.
    "font": '"Segoe UI", -apple-system, "Noto Sans", Roboto, sans-serif',
    "mono": '"Cascadia Mono", Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace',
}
# Text has a contrast of at least 4.5 on every ground, edges of at least 3 (WCAG 2.2, 1.4.3 and 1.4.11).
LIGHT = {
    "ground": "#ffffff",
    "side": "#f5f7f9",
    "hover": "#edf2f5",
    "line": "#d9e0e6",
    "edge": "#7d8b98",
    "text": "#1c2733",
    "muted": "#52616f",
    "accent": "#0b6e99",
    "accent-deep": "#095a7d",
    "accent-tint": "#e3f1f8",
    "on-accent": "#ffffff",
    "slate": "#52616f",
    "blue": "#1d5fc4",
    "amber": "#8a5200",
    "teal": "#0a6e63",
    "red": "#b42318",
    "indigo": "#5145c0",
    "green": "#1c7034",
    "amber-tint": "#fdf5e6",
    "red-tint": "#fdf0ee",
    "red-fill": "#b42318",
    "on-red": "#ffffff",
    "lift": "0 4px 12px rgba(28, 39, 51, .10)",
    "veil": "rgba(28, 39, 51, .35)",
}
DARK = {
    "ground": "#12181d",
    "side": "#182027",
    "hover": "#202a32",
    "line": "#2c3741",
    "edge": "#6b7a87",
    "text": "#e4eaef",
    "muted": "#a2b0bc",
    "accent": "#5cb8de",
    "accent-deep": "#83cbea",
    "accent-tint": "#15303d",
    "on-accent": "#06222e",
    "slate": "#a9b6c1",
    "blue": "#7db4ff",
    "amber": "#f0b35a",
    "teal": "#4fc7b6",
    "red": "#ff8f85",
    "indigo": "#aba6ff",
    "green": "#74cc8a",
    "amber-tint": "#2a2215",
    "red-tint": "#2f1a19",
    "red-fill": "#ff8f85",
    "on-red": "#2b0503",
    "lift": "0 4px 12px rgba(0, 0, 0, .5)",
    "veil": "rgba(0, 0, 0, .6)",
}

# The reading room is darker, its letters dimmer: bright ones beside a radiograph tire the eye.
ROOM = {
    "ground": "#0b0e11",
    "side": "#11161a",
    "hover": "#1a2127",
    "line": "#252e36",
    "edge": "#63717d",
    "text": "#c9d2d9",
    "muted": "#93a1ad",
    "accent": "#57aed1",
    "accent-deep": "#7cc3e0",
    "accent-tint": "#10262f",
    "on-accent": "#041a23",
    "amber": "#d9a24f",
    "amber-tint": "#211b10",
    "red": "#ee8279",
    "red-tint": "#261615",
    "green": "#69b97d",
}

# A state is an icon, a word and a colour, never a colour alone. See `words.visit_state`.
STATES = {
    "waiting": ("schedule", "Ожидает", "slate"),
    "seen": ("visibility", "Виден аппарату", "blue"),
    "running": ("play_arrow", "Выполняется", "amber"),
    "done": ("check", "Выполнено", "teal"),
    "stopped": ("stop", "Прервано", "red"),
    "archived": ("photo", "Снимки в архиве", "indigo"),
    "reported": ("description", "Описано", "green"),
    "sent": ("cloud_done", "Шина приняла", "green"),
    "referred": ("north_east", "Направлен", "indigo"),
    "answered": ("description", "Есть результат", "green"),
    "cancelled": ("block", "Отменено", "slate"),
    "unknown": ("help", "Неизвестно", "amber"),
    "doubtful": ("person_search", "Не сходится", "red"),
    "imageless": ("hide_image", "Снимков нет", "red"),
    "attention": ("error", "Требует внимания", "red"),
    "first_read": ("looks_one", "Первое чтение", "blue"),
    "second_read": ("looks_two", "Второе чтение", "indigo"),
    "third_read": ("looks_3", "Решает третий", "amber"),
    "norm": ("check", "Норма", "green"),
    "known": ("info", "Особенности", "blue"),
    "recall": ("manage_search", "Дообследование", "amber"),
    "technical": ("replay", "Брак, переснять", "red"),
    "over_read": ("rate_review", "Ждёт второго мнения", "amber"),
    "agrees": ("check", "Согласен", "green"),
    "differs": ("compare_arrows", "Другое мнение", "amber"),
    "soon": ("hourglass_bottom", "Скоро", "amber"),
    "overdue": ("error", "Просрочено", "red"),
}


def tokens() -> str:
    """Return the variables as CSS: for the system's dark or light, and for Quasar's class on the body."""

    def block(values: dict[str, str]) -> str:
        return "".join(f"--{name}:{value};" for name, value in values.items())

    quasar = "--q-primary:var(--accent);--q-negative:var(--red);--q-dark:var(--ground);--q-dark-page:var(--ground);"
    tones = "".join(f".tone-{tone}{{--tone:var(--{tone})}}" for tone in sorted({tone for *_, tone in STATES.values()}))
    return (
        f"body{{color-scheme:light;{block(SIZES)}{block(LIGHT)}{quasar}}}"
        f"@media(prefers-color-scheme:dark){{body:not(.body--light){{color-scheme:dark;{block(DARK)}}}}}"
        f"body.body--dark{{color-scheme:dark;{block(DARK)}}}body.room.body--dark{{{block(ROOM)}}}{tones}"
    )


def head(plain: bool = False) -> str:
    """Return the head of any page: variables inline (no flash), rules and shortcuts from cached files.

    A plain page, which NiceGUI does not make, also needs the fonts.
    """
    fonts = f'<link rel="stylesheet" href="/_nicegui/{nicegui_version}/static/fonts.css">' if plain else ""
    return (
        f'{fonts}<style>{tokens()}</style><link rel="stylesheet" href="/theme/theme.css?{_version("theme.css")}">'
        f'<script defer src="/theme/keys.js?{_version("keys.js")}"></script>'
    )


def install(app: FastAPI) -> None:
    """Serve the two files and put the head on every NiceGUI page; call once before the pages."""
    for name, kind in FILES.items():

        def serve(name: str = name, kind: str = kind) -> FileResponse:
            # The address changes with the content, so a browser may keep it.
            return FileResponse(HERE / name, media_type=kind, headers={"Cache-Control": "max-age=31536000, immutable"})

        app.add_api_route(f"/theme/{name}", serve, methods=["GET"], include_in_schema=False)
    ui.add_head_html(head(), shared=True)


def _version(name: str) -> str:
    return hashlib.sha256((HERE / name).read_bytes()).hexdigest()[:12]


# ---- components ----


def text(tag: str, content: str, classes: str = "") -> TextElement:
    """Draw an element with this text, escaped."""
    return TextElement(tag=tag, text=content).classes(classes)


def html_element(tag: str, content: Markup, classes: str = "") -> ContentElement:
    """Return an element with this HTML inside: one element of the page, however much the HTML holds."""
    return ContentElement(tag=tag, content=str(content)).classes(classes)


def button(
    word: str,
    on_click: Callable[..., Any] | None = None,
    *,
    kind: str = "",
    icon: str | None = None,
    key: str = "",
    small: bool = False,
) -> ui.button:
    """Draw a button; kind is '', 'primary' (one a screen) or 'danger' (asks before it acts)."""
    made = ui.button(word, on_click=on_click, icon=icon, color=None).props("flat no-caps :ripple=false")
    made.classes("btn" + (f" btn-{kind}" if kind else "") + (" btn-small" if small else ""))
    if kind == "primary":
        made.props("data-primary")
    if key:
        with made:
            text("kbd", key, "key")
    return made


@contextmanager
def dialog(
    name: str,
    title: str,
    *,
    danger: str = "",
    on_danger: Callable[..., Any] | None = None,
    leave: str = "Закрыть",
) -> Iterator[None]:
    """Draw a native dialog, opened by any element with data-opens=name; the browser handles focus and Esc.

    With `danger` it asks before what cannot be undone; the title then names the object.
    """
    with ui.element("dialog").props(f"id={name} aria-labelledby={name}-title"):
        text("h2", title).props(f"id={name}-title")
        yield
        with ui.element("div").classes("acts").style("margin-top: 16px"):
            button(leave).props("data-closes autofocus")
            if danger:
                button(danger, on_danger, kind="danger").props("data-closes")


def key_hint(keys: str) -> None:
    """Draw `F2`, `Ctrl+Enter` or `G затем B` as key caps."""
    for part in keys.split(" "):
        text("span" if part == "затем" else "kbd", f" {part} " if part == "затем" else part)


def key_hint_html(keys: str) -> Markup:
    """Return what `key_hint` draws."""
    caps = (("span", f" {part} ") if part == "затем" else ("kbd", part) for part in keys.split(" "))
    return html.join(*(html.tag(tag, "", part) for tag, part in caps))


def state_chip(state: str, word: str = "") -> None:
    """Draw a state as icon, word and colour."""
    classes, title, content = _state(state, word)
    html_element("span", content, classes).props["title"] = title


def state_chip_html(state: str, word: str = "") -> Markup:
    """Return what `state_chip` draws."""
    classes, title, content = _state(state, word)
    return html.tag("span", classes, content, title=title)


# The sign beside a state: the bus has taken all that it was to learn.
DELIVERED = html.tag("span", "on-bus", html.icon("cloud_done"), title=STATES["sent"][1])


def _state(state: str, word: str) -> tuple[str, str, Markup]:
    icon, usual, tone = STATES[state]
    content = html.join(html.icon(icon), html.tag("span", "", word or usual))
    return f"state state-{state} tone-{tone}", word or usual, content


_JS_STATES = "{" + ",".join(f"{key}:{list(value)}" for key, value in STATES.items()) + "}"
# The same chip as a cell of ui.table: the column's value is the state's key, the row's `word` stands for the state's.
STATE_CELL = (
    '<q-td :props="props"><span :class="`state state-${props.value} tone-${(%s)[props.value][2]}`">'
    '<q-icon :name="(%s)[props.value][0]" aria-hidden="true"></q-icon>'
    "<span>{{ props.row.word || (%s)[props.value][1] }}</span></span>"
    '<span v-if="props.row.delivered" class="on-bus" title="Шина приняла">'
    '<q-icon name="cloud_done" aria-hidden="true"></q-icon></span></q-td>'
) % ((_JS_STATES,) * 3)


def patient_line(name: str, born: date | int | None, today: date, former: str = "") -> None:
    """Draw a patient the way every page does: «Фамилия Имя Отчество, 12.03.1961 (65 лет)», and a name of before."""
    with text("span", name, "patient"):
        text("span", f", {born_and_age(born, today)}", "muted nowrap")
    if former:
        text("span", f"ранее: {former}", "was")


def born_and_age(born: date | int | None, today: date) -> str:
    """Return «12.03.1961 (65 лет)», «1961 г. р. (около 65 лет)», or that it is not known."""
    return f"{words.born(born)} ({age(born, today)})" if born else words.born(born)


def age(born: date | int, today: date) -> str:
    """Return an age: 1 год, 3 года, 65 лет; about, where only the year of birth is known."""
    if isinstance(born, int):
        return f"около {_years(today.year - born, 'года', 'лет')}" if born < today.year else "до года"
    years = today.year - born.year - ((today.month, today.day) < (born.month, born.day))
    return words.plural(years, "год", "года", "лет")


def _years(count: int, one: str, many: str) -> str:
    return f"{count} {one if count % 10 == 1 and count % 100 != 11 else many}"


@contextmanager
def section(title: str, remark: str = "") -> Iterator[None]:
    """Draw a group of content under a small heading, divided from its neighbours by a line."""
    with ui.element("section").classes("section"):
        with ui.element("div").classes("head"):
            text("h2", title)
            if remark:
                text("span", remark, "muted small")
        yield


def facts(pairs: Sequence[tuple[str, str]]) -> None:
    """Draw names and values; an empty value is shown as a dash."""
    with ui.element("dl").classes("facts"):
        for name, value in pairs:
            text("dt", name)
            text("dd", value or "–")


def empty(what: str, how: str, key: str = "") -> None:
    """Draw what an empty screen shows: what is not here and what to do."""
    with ui.element("div").classes("empty"):
        text("b", what)
        with text("span", how + " "):
            if key:
                key_hint(key)


def show_message(message: str, *, bad: bool = False) -> None:
    """Show in one line what has happened; it disappears by itself, an error later, and can be closed."""
    ui.notify(
        message,
        position="bottom",
        timeout=12_000 if bad else 4_000,
        close_button="Закрыть" if bad else False,
        classes="say say-bad" if bad else "say",
        attrs={"role": "alert" if bad else "status"},
    )
