"""The dialog that links a study made without an order."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from nicegui import ui

from broker.domain.patients import names
from broker.domain.patients.confirmation import Confirmation
from broker.domain.patients.people import Sex
from broker.domain.studies.performed import PerformedStep
from broker.store.queries.board import UnlinkedStep
from broker.store.queries.patients import patient_index
from broker.store.queries.schedule import Visit
from broker.workflow import step_links
from ui.board import layout
from ui.live import attempt, current_actor, read_as_viewer
from ui.services import Services
from ui.text import words
from ui.widgets import theme
from ui.widgets.form_field import labelled_field
from ui.widgets.theme import text


class LinkDialog:
    """The dialog that links a study; nothing is linked without a choice and a confirmation."""

    def __init__(self, services: Services, registers: bool) -> None:
        self._services = services
        self._study: UnlinkedStep | None = None
        self._candidates: list[Visit] = []
        self._chosen: Visit | None = None
        self._contradicts: list[str] = []  # what does not agree between the device and the chosen one
        self._choices: dict[int, ui.element] = {}
        with ui.element("dialog").classes("wide").props("id=link aria-labelledby=link-title"):
            text("h2", "Чьи это снимки?").props("id=link-title")
            self._about = text("p", "", "muted")
            self._search = labelled_field("Найти: фамилия, номер направления или карты", name="link-search")
            self._search.control.on_value_change(lambda: self._show(str(self._search.value or "")))
            self._list = ui.element("div").classes("choices").props('role=radiogroup aria-labelledby="link-title"')
            self._warning = text("p", "", "attention-reason").props("role=alert")
            text("p", "Нет в списке? Тогда исследование сделано без направления.", "muted small")
            with ui.element("div").classes("acts").style("margin-top: 16px"):
                self._walk_in = ui.link("Записать без направления", "").classes("btn")
                self._walk_in.set_visibility(registers)
                theme.button("Не связывать").props("data-closes autofocus")
                self._go = theme.button("Связать", self._link).classes("btn-primary").props("data-closes")

    def ask(self, study: UnlinkedStep, candidates: list[Visit]) -> None:
        """Show a study and the visits that it may belong to."""
        self._study, self._candidates = study, candidates
        self._search.value = ""
        step = study.step
        self._walk_in.props["href"] = f"/desk?walkin={quote(step.sop_instance_uid, safe='')}"
        at = f" в {step.start:%H:%M}" if step.start else ""
        self._about.set_text(
            f"{study.device_name}{at}: {_reported(step)}. Выберите направление; ошибку исправят в карточке."
        )
        self._show("")

    def _show(self, typed: str) -> None:
        """Show the visits that what was typed finds; all of them while nothing is typed."""
        found = [visit for visit in self._candidates if layout.is_found(visit, typed)]
        self._choose(None)
        self._list.clear()
        self._choices = {}
        with self._list:
            if not found:
                day = "В этот день подходящих направлений нет."
                text("p", "Такого в списке дня нет." if self._candidates else day, "muted")
            for visit in found:
                self._choices[visit.order.id] = self._draw(visit)

    def _draw(self, visit: Visit) -> ui.element:
        patient = visit.order.patient
        with ui.element("button").classes("choice").props("type=button role=radio aria-checked=false") as choice:
            text("span", f"{visit.start:%H:%M}", "time")
            text("span", f"{names.short(patient.name)}, {words.born(patient.born)}", "name cut")
            text("span", words.procedure(visit.order), "what cut")
            theme.state_chip(words.visit_state(visit))
        return choice.on("click", lambda: self._compare(visit))

    async def _compare(self, visit: Visit) -> None:
        """Choose a visit, after its patient was compared with the device's."""
        if self._study is None:
            return
        patient, step = visit.order.patient, self._study.step
        differ = await read_as_viewer(
            self._services, lambda reader: patient_index.contradictions_of(reader, patient, step)
        )
        self._choose(visit, differ)

    def _choose(self, visit: Visit | None, contradicts: Sequence[str] = ()) -> None:
        self._chosen, self._contradicts = visit, list(contradicts)
        for order_id, choice in self._choices.items():
            choice.props(f"aria-checked={'true' if visit and order_id == visit.order.id else 'false'}")
        if visit is None or self._study is None:
            self._warning.set_visibility(False)
            self._go.set_text("Связать")
            self._go.disable()
            return
        patient, step = visit.order.patient, self._study.step
        self._warning.set_visibility(bool(self._contradicts))
        self._warning.set_text(
            f"Не сходится {words.contradictions(self._contradicts)}: на аппарате {_reported(step)}, в направлении"
            f" {patient.name}, {_SEXES[patient.sex]}, {words.born(patient.born)}, номер {patient.patient_id}."
            " Связывайте, только если уверены, что это один человек."
        )
        sure = "Это один человек, связать" if self._contradicts else "Связать"
        self._go.set_text(f"{sure}: {names.short(patient.name)}")
        self._go.enable()

    async def _link(self) -> None:
        study, visit, services = self._study, self._chosen, self._services
        if study is None or visit is None:
            return
        actor = current_actor(services)
        uid, order = study.step.sop_instance_uid, visit.order
        seen = Confirmation(order.patient, tuple(self._contradicts))
        if await attempt(lambda: services.store.write(step_links.link, uid, order.id, actor, services.clinic, seen)):
            theme.show_message(f"Снимки связаны: {order.accession_number}, {names.short(order.patient.name)}")


_SEXES = {Sex.FEMALE: "жен.", Sex.MALE: "муж.", Sex.OTHER: "пол не указан"}


def _reported(step: PerformedStep) -> str:
    """Return how the device named its patient: name, sex, birth date, number, as far as it did."""
    born = step.patient_birth_date
    parts = (
        f"«{names.from_dicom(step.patient_name)}»" if step.patient_name.strip("^ ") else "без имени",
        _SEXES[Sex(step.patient_sex)] if step.patient_sex in ("M", "F") else "",
        f"{born[6:]}.{born[4:6]}.{born[:4]}" if len(born) == 8 and born.isdigit() else "",
        f"номер {step.patient_id}" if step.patient_id else "",
    )
    return ", ".join(part for part in parts if part)
