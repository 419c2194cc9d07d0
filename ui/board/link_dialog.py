"""The dialog that links a study made without an order."""

from __future__ import annotations

from urllib.parse import quote

from nicegui import ui

from broker.domain import names
from broker.store.queries.board import UnlinkedStep
from broker.store.queries.schedule import Visit
from broker.workflow import step_links
from ui.live import attempt, current_actor
from ui.services import Services
from ui.text import words
from ui.widgets import theme
from ui.widgets.theme import text


class LinkDialog:
    """The dialog that links a study; nothing is linked without a choice and a confirmation."""

    def __init__(self, services: Services, registers: bool) -> None:
        self._services = services
        self._study: UnlinkedStep | None = None
        self._chosen: Visit | None = None
        self._choices: dict[int, ui.element] = {}
        with ui.element("dialog").classes("wide").props("id=link aria-labelledby=link-title"):
            text("h2", "Чьи это снимки?").props("id=link-title")
            self._about = text("p", "", "muted")
            self._list = ui.element("div").classes("choices").props('role=radiogroup aria-labelledby="link-title"')
            text("p", "Нет в списке? Тогда исследование сделано без направления.", "muted small")
            with ui.element("div").classes("acts").style("margin-top: 16px"):
                self._walk_in = ui.link("Записать без направления", "").classes("btn")
                self._walk_in.set_visibility(registers)
                theme.button("Не связывать").props("data-closes autofocus")
                self._go = theme.button("Связать", self._link).classes("btn-primary").props("data-closes")

    def ask(self, study: UnlinkedStep, candidates: list[Visit]) -> None:
        """Show a study and the visits that it may belong to."""
        self._study, self._chosen = study, None
        self._go.set_text("Связать")
        self._go.disable()
        step = study.step
        self._walk_in.props["href"] = f"/desk?walkin={quote(step.sop_instance_uid, safe='')}"
        who = str(names.from_dicom(step.patient_name)) or "без имени"
        number = f", номер {step.patient_id}" if step.patient_id else ""
        at = f" в {step.start:%H:%M}" if step.start else ""
        self._about.set_text(
            f"{study.device_name}{at}: «{who}»{number}. Выберите направление; ошибку исправят в карточке."
        )
        self._list.clear()
        self._choices = {}
        with self._list:
            if not candidates:
                text("p", "В этот день подходящих направлений нет.", "muted")
            for visit in candidates:
                self._choices[visit.order.id] = self._draw(visit)

    def _draw(self, visit: Visit) -> ui.element:
        patient = visit.order.patient
        with ui.element("button").classes("choice").props("type=button role=radio aria-checked=false") as choice:
            text("span", f"{visit.start:%H:%M}", "time")
            text("span", f"{names.short(patient.name)}, {words.born(patient.birth_date)}", "name cut")
            text("span", words.procedure(visit.order), "what cut")
            theme.state_chip(words.visit_state(visit))
        return choice.on("click", lambda: self._choose(visit))

    def _choose(self, visit: Visit) -> None:
        self._chosen = visit
        for order_id, choice in self._choices.items():
            choice.props(f"aria-checked={'true' if order_id == visit.order.id else 'false'}")
        self._go.set_text(f"Связать: {names.short(visit.order.patient.name)}")
        self._go.enable()

    async def _link(self) -> None:
        study, visit, services = self._study, self._chosen, self._services
        if study is None or visit is None:
            return
        actor = current_actor(services)
        uid, order = study.step.sop_instance_uid, visit.order
        if await attempt(lambda: services.store.write(step_links.link, uid, order.id, actor, services.clinic)):
            theme.show_message(f"Снимки связаны: {order.accession_number}, {names.short(order.patient.name)}")
