"""The dialog that links a study made without an order."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from nicegui import ui

from broker.domain.orders import OrderState
from broker.domain.patients import names
from broker.domain.patients.confirmation import Confirmation
from broker.domain.patients.people import Sex
from broker.domain.studies.performed import PerformedStep
from broker.store.queries.board import UnlinkedStep
from broker.store.queries.patients import patient_index
from broker.store.queries.schedule import Visit
from broker.store.queries.studies.archive_gaps import Lack
from broker.workflow.studies import step_links
from ui.board import link_candidates
from ui.board.link_candidates import LinkCandidates
from ui.live import attempt, current_actor, latest_only, read_as_viewer
from ui.services import Services
from ui.text import visit_states, words
from ui.widgets import theme
from ui.widgets.form_field import labelled_field
from ui.widgets.theme import text


class LinkDialog:
    """The dialog that links a study; nothing is linked without a choice and a confirmation."""

    def __init__(self, services: Services, registers: bool) -> None:
        self._services = services
        self._study: UnlinkedStep | None = None
        self._on = services.today()  # the day of the study
        self._typed = ""
        self._chosen: Visit | None = None
        self._contradicts: list[str] = []  # what does not agree between the device and the chosen one
        self._choices: dict[int, ui.element] = {}
        with ui.element("dialog").classes("wide").props("id=link aria-labelledby=link-title"):
            text("h2", "Чьи это снимки?").props("id=link-title")
            self._about = text("p", "", "muted")
            self._search = labelled_field("Найти: фамилия, номер направления или карты", name="link-search")
            self._found = latest_only(self._find, self._show)
            self._search.control.on_value_change(self._search_again)
            self._list = ui.element("div").classes("choices").props('role=radiogroup aria-labelledby="link-title"')
            self._warning = text("p", "", "attention-reason").props("role=alert")
            text("p", "Нет в списке? Тогда исследование сделано без направления.", "muted small")
            with ui.element("div").classes("acts").style("margin-top: 16px"):
                self._walk_in = ui.link("Записать без направления", "").classes("btn")
                self._walk_in.set_visibility(registers)
                theme.button("Не связывать").props("data-closes autofocus")
                self._go = theme.button("Связать", self._link).classes("btn-primary").props("data-closes")

    async def ask(self, study: UnlinkedStep) -> None:
        """Show a study and the visits of its day that it may belong to."""
        self._study, self._typed = study, ""
        self._search.value = ""
        step, zone = study.step, self._services.clinic.zone
        self._on = (step.start or study.created_at.astimezone(zone)).date()
        self._walk_in.props["href"] = f"/desk?walkin={quote(step.sop_instance_uid, safe='')}"
        at = f" в {step.start:%H:%M}" if step.start else ""
        self._about.set_text(
            f"{study.device_name}{at}: {_reported(step).rstrip('.')}. Выберите направление; ошибку исправят в карточке."
        )
        self._show(LinkCandidates())
        await self._found()

    async def _search_again(self) -> None:
        typed = str(self._search.value or "").strip()
        if self._study is not None and typed != self._typed:
            self._typed = typed
            await self._found()

    async def _find(self) -> LinkCandidates:
        """Return the visits that what was typed finds, of any day; those of the study's day while nothing is typed."""
        if self._study is None:
            return LinkCandidates()
        step, on, typed, due = self._study.step, self._on, self._typed, self._services.images_due()
        return await read_as_viewer(self._services, lambda reader: link_candidates.find(reader, step, on, typed, due))

    def _show(self, found: LinkCandidates) -> None:
        self._choose(None)
        self._list.clear()
        self._choices = {}
        with self._list:
            if not found.visits:
                text("p", "Таких направлений нет." if self._typed else "В этот день направлений нет.", "muted")
            for visit in found.visits:
                self._choices[visit.order.id] = self._draw(visit, found.lacks.get(visit.order.id))
            if found.more:
                text("p", "Показаны не все: уточните фамилию или номер.", "muted")

    def _draw(self, visit: Visit, lack: Lack | None) -> ui.element:
        order, patient = visit.order, visit.order.patient
        with ui.element("button").classes("choice").props("type=button role=radio aria-checked=false") as choice:
            text("span", f"{visit.start:%H:%M}" if visit.start.date() == self._on else f"{visit.start:%d.%m}", "time")
            text("span", f"{names.short(patient.name)}, {words.born(patient.born)}", "name cut")
            text("span", f"{order.accession_number}, {words.procedure(order)}", "what cut")
            theme.state_chip(*visit_states.state(visit, lack, self._services.now(), self._services.clinic.zone))
        full = f"{visit.start:%d.%m.%Y %H:%M}, {patient.name}, {words.procedure(order)}"
        choice.props["title"] = full
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
        warnings = [_CLOSED[visit.order.state]] if visit.order.state in _CLOSED else []
        if self._contradicts:
            patient, step = visit.order.patient, self._study.step
            warnings.append(
                f"Не сходится {words.contradictions(self._contradicts)}: на аппарате {_reported(step)}, в направлении"
                f" {patient.name}, {_SEXES[patient.sex]}, {words.born(patient.born)}, номер {patient.patient_id}."
                " Связывайте, только если уверены, что это один человек."
            )
        self._warning.set_visibility(bool(warnings))
        self._warning.set_text(" ".join(warnings))
        sure = "Это один человек, связать" if self._contradicts else "Связать"
        self._go.set_text(f"{sure}: {names.short(visit.order.patient.name)}")
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


# What is said of a visit that a person would hardly expect images of.
_CLOSED = {
    OrderState.COMPLETED: "Направление уже выполнено: эти снимки добавятся к нему.",
    OrderState.CANCELLED: "Направление отменено: со снимками оно будет считаться начатым или выполненным.",
    OrderState.REFERRED: "Направлено в другую клинику: со снимками оно будет считаться выполненным здесь.",
}
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
