"""The list of studies: today's, or those that were searched for; a scanned number opens its card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from fastapi.responses import RedirectResponse
from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement
from starlette.responses import Response

from broker.domain.clinic.devices import Device
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.database import Reader
from broker.store.queries import device_registry, schedule
from broker.store.queries.schedule import FoundStudies, Visit
from broker.store.queries.studies import archive_gaps
from broker.store.queries.studies.archive_gaps import Lack
from ui.layout.frame import frame, search_box
from ui.live import current_actor, follow, latest, read_as_viewer
from ui.services import Services
from ui.text import links, visit_states, words
from ui.widgets import theme
from ui.widgets.theme import text

MOST = 100  # found studies that are shown
LONGEST = 100  # characters of a query
ALL = "Все"
# A filter's word and what it shows.
_FILTERS: Mapping[str, Callable[[Visit], bool]] = {ALL: lambda visit: True, **visit_states.LACKING}


def build(services: Services) -> None:
    """Add the route /studies; `?q=` searches."""

    @ui.page("/studies", title="Исследования")
    async def studies(q: str = "") -> Response | None:
        typed = q.strip()[:LONGEST]
        actor = current_actor(services)
        if typed:
            found = await read_as_viewer(services, lambda reader: schedule.studies(reader, typed, services.today(), 2))
            numbers = {visit.order.accession_number for visit in found.visits}
            if found.numbered and len(numbers) == 1:
                return RedirectResponse(links.card(numbers.pop()), 303)
        with frame(services, actor, "/studies"), ui.element("div").classes("page"):
            page = StudyListPage(services, typed, permissions.may(actor, Permission.REGISTER))
            refresh = latest(services, page.read, page.show)
            follow(services, refresh)
            await refresh()
        return None


class StudyListData(NamedTuple):
    """What the list is drawn from."""

    studies: FoundStudies
    lacks: Mapping[int, Lack]  # by order id
    devices: Sequence[Device]


class StudyListPage:
    """One open list of studies."""

    def __init__(self, services: Services, typed: str, registers: bool) -> None:
        self._services = services
        self._typed = typed
        self._found: StudyListData | None = None
        self._filter = ALL
        with ui.element("div").classes("page-head"):
            self._heading = text("h1", "")
            with ui.element("div").classes("filters").props("role=group aria-label=Показать") as self._pills:
                self._filters = {word: self._make_filter(word) for word in _FILTERS}
        search_box("find-here", typed)
        self._none = ui.element("div")
        with self._none:
            if typed:
                how = "Проверьте фамилию или наберите номер целиком. Новый поиск:"
                theme.empty("По этому запросу ничего нет.", how, "/")
            elif registers:
                theme.empty("Сегодня ещё нет направлений.", "Новое направление:", "F2")
            else:
                theme.empty("Сегодня ещё нет направлений.", "Как только их запишут, они появятся здесь.")
        self._table = _make_table()
        self._empty_filter = text("p", "Таких нет.", "muted")
        self._more = text("p", "Найдено больше, чем показано: уточните имя или дату рождения.", "muted small more")

    def read(self, reader: Reader) -> StudyListData:
        """Return the day's visits, or those that match the query, what they lack, and the devices."""
        found = schedule.studies(reader, self._typed, self._services.today(), MOST)
        return StudyListData(
            found,
            archive_gaps.lacks(reader, self._services.images_due(), [visit.order.id for visit in found.visits]),
            device_registry.approved(reader),
        )

    def show(self, found: StudyListData) -> None:
        """Draw the list, if it differs from what is shown."""
        self._found = found
        self._draw()

    def _draw(self) -> None:
        if self._found is None:
            return
        (visits, more, _), lacks, devices = self._found
        self._heading.set_text(f"Найдено по «{self._typed}»" if self._typed else "Исследования сегодня")
        for word, (pill, count) in self._filters.items():
            count.set_text(str(sum(map(_FILTERS[word], visits))))
            pill.props(f"aria-pressed={'true' if word == self._filter else 'false'}")
        self._pills.set_visibility(bool(visits))
        self._none.set_visibility(not visits)
        self._table.set_visibility(bool(visits))
        self._more.set_visibility(more)
        today = self._services.today()
        device_names = {device.ae_title: device.name for device in devices}
        now, zone = self._services.now(), self._services.clinic.zone
        shown = [visit for visit in visits if _FILTERS[self._filter](visit)]
        self._empty_filter.set_visibility(bool(visits) and not shown)
        rows = [
            _row(visit, today, device_names)
            | dict(zip(("state", "word"), visit_states.state(visit, lacks.get(visit.order.id), now, zone), strict=True))
            for visit in shown
        ]
        if rows != self._table.rows:
            self._table.rows = rows

    def _make_filter(self, word: str) -> tuple[ui.element, TextElement]:
        with ui.element("button").props("type=button").on("click", lambda: self._choose(word)) as pill:
            text("span", word)
            count = text("span", "", "small")
        return pill, count

    def _choose(self, word: str) -> None:
        self._filter = word
        self._draw()


_COLUMNS = (  # name, field, label, extra classes
    ("time", "start", "Время", "nowrap"),
    ("patient", "patient", "Пациент", ""),
    ("what", "what", "Исследование", ""),
    ("device", "device", "Аппарат", "c-rare"),
    ("number", "number", "Номер", "c-rare mono"),
    ("state", "state", "Состояние", ""),
)


def _make_table() -> ui.table:
    columns = [
        {
            "name": name,
            "label": label,
            "field": field,
            "align": "left",
            "sortable": True,
            "classes": f"c-{name} {extra}",
            "headerClasses": "c-rare" if "c-rare" in extra else "",
        }
        for name, field, label, extra in _COLUMNS
    ]
    table = ui.table(columns=columns, rows=[], row_key="id").style("width: 100%")
    table.props('flat dense hide-pagination binary-state-sort :rows-per-page-options="[0]"')
    table.add_slot("body-cell-time", '<q-td :props="props">{{ props.row.time }}</q-td>')
    # A real link, so that a middle click opens a tab; a click on the row works too.
    table.add_slot(
        "body-cell-patient",
        '<q-td :props="props"><div class="whole"><a class="cut" @click.stop'
        ' :href="`/order/${encodeURIComponent(props.row.number)}`">'
        '{{ props.value }},</a> <span class="muted nowrap">{{ props.row.born }}</span></div></q-td>',
    )
    table.add_slot("body-cell-state", theme.STATE_CELL)
    table.on("row-click", lambda event: ui.navigate.to(links.card(event.args[1]["number"])))
    return table


def _row(visit: Visit, today: date, device_names: Mapping[str, str]) -> dict[str, Any]:
    order, patient = visit.order, visit.order.patient
    on = visit.start.date()
    return {
        "id": f"{order.id} {visit.start:%Y%m%d%H%M}",
        "start": visit.start.isoformat(),
        "time": words.day(on, today)
        if order.owner and not visit.station_ae_titles  # the other clinic chooses the time
        else f"{visit.start:%H:%M}"
        if on == today
        else f"{words.day(on, today)} {visit.start:%H:%M}",
        "patient": str(patient.name),
        "born": f" {theme.born_and_age(patient.born, today)}",
        "what": words.procedure(order),
        "device": ", ".join(device_names.get(ae_title, ae_title) for ae_title in visit.station_ae_titles),
        "number": order.accession_number,
        "delivered": visit.delivered,
    }
