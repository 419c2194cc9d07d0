"""The board: the day by device, live, and what needs attention. `layout` decides what is shown where."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import date as Date
from datetime import timedelta
from functools import lru_cache

from markupsafe import Markup
from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from broker.domain.actors import Actor
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.queries import inbox
from broker.workflow.referrals import incoming_referrals
from ui.board import layout
from ui.board.attention_column import AttentionColumn
from ui.board.cache import BoardCache, BoardPlan
from ui.board.layout import BoardDay, ClockRow, ColumnRow, DeviceColumn, FoldRow, GapRow, VisitRow
from ui.board.link_dialog import LinkDialog
from ui.layout.frame import frame
from ui.live import attempt, check_viewer, current_actor, follow, latest_only
from ui.services import Services
from ui.text import links, words
from ui.widgets import html, theme
from ui.widgets.html import tag
from ui.widgets.keyed_list import KeyedList, Redraw, html_row
from ui.widgets.memo import Memo
from ui.widgets.theme import text


def build(services: Services) -> None:
    """Add the route /board; `?date=` is a day in ISO 8601."""
    days = BoardCache(services)

    @ui.page("/board", title="Доска")
    async def board(date: str = "") -> None:
        actor = current_actor(services)
        with frame(services, actor, "/board", wall=True):
            page = BoardPage(services, days, actor, _read_day(date))
            refresh = latest_only(page.find, page.show)
            follow(services, refresh)
            await refresh()


class BoardPage:
    """One open board: a day, with a filter."""

    def __init__(self, services: Services, days: BoardCache, actor: Actor, on: Date | None) -> None:
        self._services = services
        self._plans = days
        self._fixed = on  # None: today, also after midnight
        self._amends = permissions.may(actor, Permission.AMEND)
        self._registers = permissions.may(actor, Permission.REGISTER)
        self._links = permissions.may(actor, Permission.LINK)
        self._filter = layout.ALL
        self._unfolded: frozenset[str] = frozenset()
        self._plan: BoardPlan | None = None
        with ui.element("div").classes("page-head board-head"):
            self._heading = text("h1", "")
            self._days = KeyedList(ui.element("nav").classes("days").props("aria-label=Дни"), _make_link)
            with ui.element("div").classes("filters").props("role=group aria-label=Показать"):
                self._filters = {word: self._make_filter(word) for word in layout.FILTERS}
            ui.element("div").classes("spring")
            with ui.element("span").classes("muted small key"):
                theme.key_hint("F11")
                text("span", " на весь экран")
        with ui.element("div").classes("board"):
            self._empty = Memo(ui.element("div"))
            # A scrolling area must take the focus to be scrolled by keys.
            self._area = (
                ui.element("div").classes("device-columns").props('tabindex=0 role=region aria-label="По аппаратам"')
            )
            self._columns = KeyedList(self._area, self._make_column)
            self._attention = AttentionColumn(
                self._open_link_dialog if self._links else None,
                self._acknowledge,
                has_archive=services.ask_archive is not None,
            )
        self._link_dialog = LinkDialog(services, self._registers and self._links)

    async def find(self) -> BoardPlan:
        """Return the day if the person may view it. Raise SessionEnded, Forbidden, StoreError."""
        check_viewer(self._services)
        today = self._services.today()
        return await self._plans.plan(self._fixed or today, today)

    def show(self, plan: BoardPlan) -> None:
        """Draw the day and remember it for filters and folds."""
        self._plan = plan
        self._draw()

    def _draw(self) -> None:
        plan, today = self._plan, self._services.today()
        assert plan is not None
        day, counts = plan.day, plan.counts
        self._heading.set_text(words.heading(day.on, today))
        self._days.show(_days(day.on, today))
        for word, (pill, count) in self._filters.items():
            count.set_text(str(counts[word]))
            pill.props(f"aria-pressed={'true' if word == self._filter else 'false'}")
            pill.set_visibility(word != layout.CANCELLED or counts[word] > 0 or word == self._filter)
        columns = plan.columns(self._services.now(), self._filter, self._unfolded)
        self._columns.show((column.ae_title, column) for column in columns)
        self._area.set_visibility(bool(day.visits))
        self._show_empty(day, today)
        self._attention.show(plan.attention_items(self._amends))

    def _show_empty(self, day: BoardDay, today: Date) -> None:
        self._empty.element.set_visibility(not day.visits)
        self._empty.show((day.on, today, bool(day.visits), bool(day.devices)), lambda: self._draw_empty(day, today))

    def _draw_empty(self, day: BoardDay, today: Date) -> None:
        if day.visits:
            return
        if not day.devices:
            theme.empty("Аппаратов ещё нет.", "Администратор добавит их на странице «Аппараты».")
        elif day.on >= today:
            when = "Сегодня" if day.on == today else f"На {words.day(day.on, today)}"
            how = ("Новое направление:", "F2") if self._registers else ("Как только их запишут, они появятся здесь.",)
            theme.empty(f"{when} ещё нет направлений.", *how)
        else:
            theme.empty("В этот день направлений не было.", "Выберите другой день.")

    def _make_filter(self, word: str) -> tuple[ui.element, TextElement]:
        with ui.element("button").props("type=button").on("click", lambda: self._choose(word)) as pill:
            text("span", word)
            count = text("span", "", "small")
        return pill, count

    def _choose(self, word: str) -> None:
        self._filter = word
        if self._plan:
            self._draw()

    def _unfold(self, ae_title: str) -> None:
        self._unfolded ^= {ae_title}
        if self._plan:
            self._draw()

    async def _open_link_dialog(self, uid: str) -> None:
        """Fill the dialog, which the browser has just opened, with possible orders of this study."""
        day = self._plan.day if self._plan else None
        found = next((each for each in day.unlinked if each.step.sop_instance_uid == uid), None) if day else None
        if day and found:
            await self._link_dialog.ask(found)

    async def _acknowledge(self, late: inbox.LateChange) -> None:
        """Acknowledge a change that came too late."""
        services, actor = self._services, current_actor(self._services)
        use_case, id, version = incoming_referrals.acknowledge, late.item_id, late.version
        await attempt(lambda: services.store.write(use_case, id, version, actor))

    # ---- columns and their rows ----

    def _make_column(self, column: DeviceColumn) -> tuple[ui.element, Redraw]:
        with ui.element("section").classes("device-column") as section:
            with ui.element("div").classes("head"):
                name = text("h2", "", "cut")
                room = text("span", "", "muted small nowrap")
                ui.element("div").classes("spring")
                count = text("span", "", "muted small nowrap count")
            rows = KeyedList(ui.element("div"), lambda row: self._make_row(row, column.ae_title))

        def redraw(column: DeviceColumn) -> None:
            name.set_text(column.name)
            name.props["title"] = column.name
            room.set_text(column.room)
            count.set_text(words.plural(column.count, "запись", "записи", "записей"))
            rows.show((row.key, row) for row in column.rows)

        redraw(column)
        return section, redraw

    def _make_row(self, row: ColumnRow, ae_title: str) -> tuple[ui.element, Redraw]:
        if isinstance(row, VisitRow):
            return _make_visit(row)
        if isinstance(row, FoldRow):
            return self._make_fold(row, ae_title)
        if isinstance(row, GapRow):
            return _make_gap(row)
        if isinstance(row, ClockRow):
            return _make_clock(row)
        return _make_note(row)

    def _make_fold(self, fold: FoldRow, ae_title: str) -> tuple[ui.element, Redraw]:
        button = text("button", "", "fold-line").props("type=button").on("click", lambda: self._unfold(ae_title))

        def redraw(fold: FoldRow) -> None:
            done = words.plural(fold.count, "выполнено", "выполнено", "выполнено")
            button.set_text(f"Скрыть прежние: {done}" if fold.open else f"Раньше {done}")
            button.props(f"aria-expanded={'true' if fold.open else 'false'}")

        redraw(fold)
        return button, redraw


def _make_visit(line: VisitRow) -> tuple[ui.element, Redraw]:
    row = theme.html_element("a", Markup(), "nicegui-link visit")
    row.props.update(href=links.card(line.number), target="_self")

    def redraw(line: VisitRow) -> None:
        row.classes(replace=f"nicegui-link visit {_STANDING.get(line.state, '')}")
        if row.props.get("title") != line.full:  # assigning it sends the row again
            row.props["title"] = line.full
        row.set_content(str(_write_visit(line)))

    redraw(line)
    return row, redraw


# The CSS class of a visit in this state.
_STANDING = {"running": "now", "reported": "done", "answered": "done", "imageless": "lacking"}


@lru_cache(1024)  # twenty boards show the same visits
def _write_visit(line: VisitRow) -> Markup:
    return html.join(
        tag("span", "time", line.at),
        tag("span", "name cut", line.name),
        tag("span", "mins nowrap", line.length),
        tag("span", "what cut", tag("b", "urgent", "Срочно") if line.urgent else "", tag("span", "", line.what)),
        tag("span", "chips", theme.state_chip_html(line.state, line.word), theme.DELIVERED if line.delivered else ""),
    )


def _write_gap(gap: GapRow) -> Markup:
    free = f"свободно до {gap.until}" if gap.until else "дальше свободно"
    return html.join(tag("span", "time", gap.at), tag("span", "", free))


_make_gap = html_row("div", "gap", _write_gap)
_make_clock = html_row("div", "clock", lambda clock: tag("span", "", clock.at))
_make_note = html_row("p", "note muted", lambda note: tag("span", "", note.word))


# ---- days ----


def _read_day(typed: str) -> Date | None:
    try:
        return Date.fromisoformat(typed)
    except ValueError:
        return None


def _days(on: Date, today: Date) -> list[tuple[Hashable, tuple[str, str]]]:
    """Return the links to the day before, to today unless it is near, and to the day after: key, (word, path)."""
    before, after = on - timedelta(days=1), on + timedelta(days=1)
    links = [(f"‹ {_near(before, today)}", before), (f"{_near(after, today)} ›", after)]
    if today not in (before, on, after):
        links.insert(1, ("сегодня", today))
    return [
        (f"day{place}", (word, "/board" if day == today else f"/board?date={day}"))
        for place, (word, day) in enumerate(links)
    ]


def _near(day: Date, today: Date) -> str:
    word = words.day(day, today)
    return word if word.isalpha() else f"{day.day} {words.MONTHS[day.month - 1]}"


def _make_link(model: tuple[str, str]) -> tuple[ui.element, Redraw]:
    link = ui.link("", "")

    def redraw(model: tuple[str, str]) -> None:
        link.set_text(model[0])
        link.props["href"] = model[1]

    redraw(model)
    return link, redraw
