"""The parts beside and under the referral form: the device's day, the patient's history, the last referrals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

from nicegui import ui

from broker.domain.clinic.devices import Device
from broker.domain.patients import names
from broker.store.queries.schedule import Visit
from ui.desk.history import HistorySection
from ui.desk.slots import DeviceDay
from ui.services import Services
from ui.text import links, words
from ui.widgets import theme
from ui.widgets.memo import Memo
from ui.widgets.theme import text


class Sidebar:
    """The right column; `choose` is called with the free time that was pressed, such as 09:30."""

    def __init__(self, services: Services, choose: Callable[[str], None]) -> None:
        self._services = services
        self._choose = choose
        with ui.element("section").classes("aside").props('aria-label="День аппарата"'):
            self._day = Memo(ui.element("div"))
            self.history = HistorySection(services)

    def show_external(self) -> None:
        """Explain that another clinic chooses the day and the time."""
        self._day.show("external", self._draw_external)

    def show_day(self, device: Device | None, on: date, day: DeviceDay, minutes: int, chosen: str) -> None:
        """Show a device's day with its free times.

        `minutes` is how long the study takes, `chosen` the time that is typed in the form.
        """
        now = self._services.now()
        before, slots, behind = day.rows(on, minutes, now)
        rows = [
            (
                f"{slot.start:%H:%M}",
                names.short(slot.visit.order.patient.name) if slot.visit else "",
                words.visit_state(slot.visit) if slot.visit else "",
                slot.visit.order.accession_number if slot.visit else "",
            )
            for slot in slots
        ]
        key = (device, on, words.day(on, now.date()), before, rows, behind, chosen)

        def draw() -> None:
            with ui.element("div").classes("head"):
                when = words.day(on, now.date())
                name = device.name if device else "Аппараты"
                text("h2", f"{name} {when}" if when.isalpha() else f"{name}, {when}")
                count = words.plural(len(day.visits), "запись", "записи", "записей") if day.visits else "записей нет"
                text("span", count, "muted small")
            if device is None:
                text("p", "Подходящего аппарата нет. Аппараты добавляет администратор.", "muted")
                return
            with ui.element("ol").classes("slots"):
                if before:
                    self._fold(f"раньше ещё {before}")
                for at, who, state, number in rows:
                    with ui.element("li"):
                        if who:
                            self._draw_visit(at, who, state, number)
                        else:
                            self._draw_free(at, at == chosen)
                if behind:
                    self._fold(f"дальше ещё {behind}, последняя в {day.visits[-1].start:%H:%M}")

        self._day.show(key, draw)

    @staticmethod
    def _draw_external() -> None:
        with ui.element("div").classes("head"):
            text("h2", "В другую клинику")
        text("p", "День и время назначит она; дата здесь пожелание. Результат придёт по шине.", "muted")

    def _draw_visit(self, at: str, who: str, state: str, number: str) -> None:
        text("time", at, "muted")
        with ui.link("", links.card(number)).classes("quiet cut"):
            text("span", who)
        theme.state_chip(state)

    def _draw_free(self, at: str, chosen: bool) -> None:
        free = ui.element("button").classes("slot-free").props("type=button")
        free.props(f"aria-pressed={'true' if chosen else 'false'}")
        free.on("click", lambda: self._choose(at))
        with free:
            text("time", at)
            text("span", "выбрано" if chosen else "свободно")

    @staticmethod
    def _fold(word: str) -> None:
        with ui.element("li"):
            text("span", "")
            text("span", word, "muted small")


class RecentReferrals:
    """The last referrals of today, to reprint a label or to correct a mistake at once."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._box = Memo(ui.element("section").classes("recent").props('aria-label="Записаны сегодня"'))

    def show(self, visits: Sequence[Visit]) -> None:
        """Show these visits, newest first."""
        today = self._services.today()
        rows = [
            (
                visit.order.accession_number,
                _when(visit, today),
                str(visit.order.patient.name),
                words.procedure(visit.order),
                chip if (chip := words.visit_state(visit)) in ("cancelled", "referred") else "",
            )
            for visit in visits
        ]
        self._box.show(rows, lambda: self._draw(rows))

    @staticmethod
    def _draw(rows: Sequence[tuple[str, str, str, str, str]]) -> None:
        with ui.element("div").classes("head"):
            text("h2", "Записаны сегодня")
            text("span", "последние", "muted small")
        if not rows:
            theme.empty("Сегодня ещё нет направлений.", "Начните с фамилии в поиске. Новое направление:", "F2")
            return
        with ui.element("ol"):
            for number, when, who, what, chip in rows:
                with ui.element("li"):
                    with ui.link("", links.card(number)).classes("mono"):
                        text("span", number)
                    text("time", when, "muted rest nowrap")
                    text("span", who, "cut")
                    text("span", what, "cut muted rest")
                    if chip:
                        theme.state_chip(chip)
                    else:
                        label = theme.button("Этикетка", small=True)
                        label.props(f'href="{links.label(number)}" target=_blank aria-label="Этикетка {number}"')


def _when(visit: Visit, today: date) -> str:
    if visit.order.owner and not visit.station_ae_titles:
        return ""  # the other clinic chooses the time
    return f"{visit.start:%H:%M}" if visit.start.date() == today else f"{visit.start:%d.%m}"
