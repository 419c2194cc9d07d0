"""Templates of reports: the clinic's and the doctor's own, by procedure, edited in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nicegui import ui

from broker.domain.actors import Actor
from broker.domain.clinic.devices import ProcedureType
from broker.domain.errors import Invalid
from broker.domain.reading.opinions import Finding
from broker.domain.reading.report_templates import ReportTemplate
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.database import Reader
from broker.store.queries import lookups
from broker.store.queries.reading import reading_cases
from broker.workflow.reading import report_templates
from ui.layout.frame import frame
from ui.live import attempt, current_actor, follow, latest
from ui.services import Services
from ui.text import errors, reading
from ui.widgets import theme
from ui.widgets.form_field import FormField, labelled_field, text_area
from ui.widgets.memo import Memo
from ui.widgets.theme import text

_NO_KEY = ""


def build(services: Services) -> None:
    """Add the route /templates."""

    @ui.page("/templates", title="Шаблоны протоколов")
    async def templates() -> None:
        actor = current_actor(services)
        with frame(services, actor, "/reading"):
            ui.link("Назад", "/reading").classes("unseen").props("data-back tabindex=-1")
            if not permissions.may(actor, Permission.REPORT):
                theme.empty("Шаблоны пишут врачи.", "Здесь им нечего показать вашей роли.")
                return
            page = TemplatesPage(services, actor)
            refresh = latest(services, page.read, page.show)
            follow(services, refresh)
            await refresh()


@dataclass(frozen=True, slots=True)
class TemplatesData:
    """The procedures, and the templates that this doctor has."""

    procedures: tuple[ProcedureType, ...]
    templates: tuple[ReportTemplate, ...]


class TemplatesPage:
    """One open page of templates."""

    def __init__(self, services: Services, actor: Actor) -> None:
        self._services, self._actor = services, actor
        self._edited = ReportTemplate("", "")
        self._procedures: dict[str, str] = {}
        with ui.element("div").classes("with-aside wide-aside"):
            with ui.element("section").classes("page"):
                with ui.element("div").classes("page-head"):
                    text("h1", "Шаблоны протоколов")
                    ui.element("div").classes("spring")
                    theme.button("Новый шаблон", self._begin, small=True)
                self._list = Memo(ui.element("div"))
            with ui.element("aside").classes("side-panel").props("aria-label=Шаблон"):
                self._heading = text("h2", "Новый шаблон")
                with ui.element("div").classes("form written-form"):
                    self._fields = self._make_fields()
                with ui.element("div").classes("acts"):
                    theme.button("Сохранить", self._save, kind="primary", key="Ctrl+Enter")
                    self._remove = theme.button("Удалить").props("data-opens=remove-template")
        with theme.dialog(
            "remove-template", "Удалить шаблон?", danger="Удалить", on_danger=self._delete, leave="Не удалять"
        ):
            text("p", "Подписанные протоколы останутся как есть.", "muted small")
        self._fill(self._edited)

    def read(self, reader: Reader) -> TemplatesData:
        """Return what the page shows."""
        return TemplatesData(
            tuple(lookups.procedures(reader)), tuple(reading_cases.all_templates(reader, self._actor.name))
        )

    def show(self, found: TemplatesData) -> None:
        """Draw what has changed; what is typed into the form stays."""
        self._procedures = {each.code: each.name for each in found.procedures}
        self._fields["procedure_code"].control.set_options(
            self._procedures, value=self._fields["procedure_code"].value or None
        )
        self._list.show(found, lambda: self._draw_list(found.templates))

    def _make_fields(self) -> dict[str, FormField]:
        findings = {_NO_KEY: "Без клавиши"} | {
            finding.value: f"{key} · {word}" for finding, (key, word, _, _) in reading.FINDINGS.items()
        }
        whose = {"": "Шаблон клиники", self._actor.name: "Только мой"}
        return {
            "procedure_code": labelled_field(
                "Исследование", ui.select, name="procedure_code", options={}, with_input=True, narrow=12
            ),
            "name": labelled_field("Название", name="name", narrow=12),
            "finding": labelled_field(
                "Клавиша при чтении", ui.select, name="finding", options=findings, span=7, narrow=12
            ),
            "owner": labelled_field("Чей", ui.select, name="owner", options=whose, span=5, narrow=12),
            "description": text_area("Описание", "description", 6),
            "conclusion": text_area("Заключение", "conclusion", 2),
            "recommendations": text_area("Рекомендации", "recommendations", 1),
        }

    def _draw_list(self, templates: Sequence[ReportTemplate]) -> None:
        if not templates:
            theme.empty(
                "Шаблонов нет.", "Норма одной клавишей работает у исследований, у которых есть шаблон с клавишей 1."
            )
            return
        with ui.element("ol").classes("past"):
            for each in templates:
                with ui.element("li"):
                    with ui.element("div").classes("row-line"):
                        edit = text("button", each.name, "quick").props("type=button")
                        edit.on("click", lambda _, each=each: self._fill(each))
                        if each.finding:
                            theme.state_chip(each.finding.value, reading.SHORT[each.finding])
                        if each.owner:
                            text("span", "мой", "muted small")
                    text("p", self._procedures.get(each.procedure_code, each.procedure_code), "muted small")

    def _begin(self) -> None:
        self._fill(ReportTemplate(self._edited.procedure_code, ""))
        self._fields["name"].focus()

    def _fill(self, template: ReportTemplate) -> None:
        self._edited = template
        self._heading.set_text(template.name or "Новый шаблон")
        self._remove.set_visibility(template.id is not None)
        values = {
            "procedure_code": template.procedure_code or None,
            "name": template.name,
            "finding": template.finding.value if template.finding else _NO_KEY,
            "owner": template.owner,
            "description": template.description,
            "conclusion": template.conclusion,
            "recommendations": template.recommendations,
        }
        for name, field in self._fields.items():
            field.value = values[name]
            field.show_error("")

    async def _save(self) -> None:
        values = {name: str(field.value or "") for name, field in self._fields.items()}
        finding = Finding(values["finding"]) if values["finding"] else None
        template = replace(
            self._edited,
            procedure_code=values["procedure_code"],
            name=values["name"],
            owner=values["owner"],
            finding=finding,
            description=values["description"],
            conclusion=values["conclusion"],
            recommendations=values["recommendations"],
        )
        actor = current_actor(self._services)
        if not template.procedure_code:
            self._fields["procedure_code"].show_error("Выберите исследование")
            return
        try:
            done = await attempt(
                lambda: self._services.store.write(report_templates.put, template, actor), let_pass=(Invalid,)
            )
        except Invalid as caught:
            for name, field in self._fields.items():
                wrong = caught.problems.get(name)
                field.show_error(errors.problem(name, wrong) if wrong else "")
            return
        if done is not None:
            self._fill(done.value)
            theme.show_message(f"Шаблон сохранён: {done.value.name}")

    async def _delete(self) -> None:
        if (id := self._edited.id) is None:
            return
        actor = current_actor(self._services)
        if await attempt(lambda: self._services.store.write(report_templates.delete, id, actor)):
            self._fill(ReportTemplate(self._edited.procedure_code, ""))
