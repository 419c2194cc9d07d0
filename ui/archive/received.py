"""Reports of modalities that belong to no study yet, and the dialog in which a person says whose they are."""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import ui

from broker.domain.orders import Order
from broker.domain.patients import names
from broker.domain.patients.confirmation import Confirmation
from broker.domain.studies.received import StoredObject
from broker.store.queries.studies import received
from broker.store.queries.studies.received import HeldObject
from broker.workflow.studies import received_objects
from ui.live import attempt, current_actor, read_as_viewer
from ui.services import Services
from ui.text import links, words
from ui.text import received as said
from ui.widgets import theme
from ui.widgets.form_field import labelled_field
from ui.widgets.keyed_list import KeyedList, redraw_row
from ui.widgets.theme import text


class HeldSection:
    """The section of reports without a study; `links`: the person may join one with a study."""

    def __init__(self, services: Services, *, links: bool) -> None:
        self._services = services
        with ui.element("section").classes("section") as self._section:
            with ui.element("div").classes("head"):
                text("h2", said.HELD)
                self._count = text("span", "", "muted small")
            self._rows = KeyedList(ui.element("ol").classes("gap-list"), redraw_row("li", "", self._draw))
        self._dialog = JoinDialog(services) if links else None

    def show(self, held: Sequence[HeldObject]) -> None:
        """Show these objects; without one the section is hidden."""
        self._section.set_visibility(bool(held))
        self._count.set_text(str(len(held)))
        self._rows.show((each.stored.id, each) for each in held)

    def _draw(self, each: HeldObject) -> None:
        stored, named = each.stored, each.named
        with ui.element("div"):
            if stored.held:
                theme.state_chip("doubtful", said.reason(each))
        with ui.element("div"):
            text("b", said.described(stored))
            at = words.moment(stored.received_at, self._services.clinic.zone, self._services.today())
            why = said.why_held(each)
            text("p", f"{why} Получен {at}.", "muted small")
        with ui.element("div").classes("acts"):
            if named:
                ui.link("Открыть карточку", links.card(named.accession_number)).classes("btn btn-small")
            if self._dialog is not None:
                dialog = self._dialog
                theme.button("Найти исследование", lambda: dialog.ask(each), small=True).props("data-opens=join-report")


class JoinDialog:
    """The dialog that joins a report with a study: nothing without a study that was compared."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._asked: StoredObject | None = None
        self._compared: tuple[Order, tuple[str, ...]] | None = None
        with ui.element("dialog").props("id=join-report aria-labelledby=join-report-title"):
            text("h2", "Чей это отчёт?").props("id=join-report-title")
            self._about = text("p", "", "muted")
            self._number = labelled_field("Номер исследования", name="join-number")
            self._number.control.on_value_change(self._forget)
            self._found = text("p", "", "")
            self._warning = text("p", "", "attention-reason").props("role=alert")
            with ui.element("div").classes("acts").style("margin-top: 16px"):
                theme.button("Не относить").props("data-closes autofocus")
                theme.button("Сверить", self._compare)
                self._go = theme.button("Отнести", self._join).classes("btn-primary").props("data-closes")

    async def ask(self, each: HeldObject) -> None:
        """Show a report; the study that it names is compared at once."""
        self._asked = each.stored
        self._about.set_text(f"{said.described(each.stored)}. Назовите его исследование.")
        self._number.value = each.named.accession_number if each.named else ""
        self._forget()
        if each.named:
            await self._compare()

    def _forget(self) -> None:
        self._choose(None, "")

    async def _compare(self) -> None:
        """Show whose the study with the number that was typed is."""
        asked, typed = self._asked, str(self._number.value or "").strip()
        if asked is None or not typed:
            self._choose(None, "")
            return
        found = await read_as_viewer(self._services, lambda reader: received.compared(reader, asked, typed))
        self._choose(found, "" if found else "Такого номера нет.")

    def _choose(self, compared: tuple[Order, tuple[str, ...]] | None, problem: str) -> None:
        self._compared = compared
        order, fields = compared or (None, ())
        patient = order.patient if order else None
        who = f"{names.short(patient.name)}, {words.born(patient.birth_date)}" if patient else ""
        self._found.set_text(f"{who}, {words.procedure(order)}" if order else problem)
        wrong = words.contradictions(fields)
        self._warning.set_visibility(bool(fields))
        self._warning.set_text(f"Не сходится {wrong}. Относите, только если уверены, что это один человек.")
        self._go.set_text("Это один человек, отнести" if fields else "Отнести")
        if order:
            self._go.enable()
        else:
            self._go.disable()

    async def _join(self) -> None:
        if self._asked is None or self._compared is None:
            return
        services, actor, id = self._services, current_actor(self._services), self._asked.id
        order, fields = self._compared
        seen = Confirmation(order.patient, fields)
        if await attempt(lambda: services.store.write(received_objects.join, id, order.id, actor, seen)):
            theme.show_message(f"Отчёт отнесён: {order.accession_number}")
