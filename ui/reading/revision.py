"""What a doctor may do to a signed report: add to it, correct it, withdraw it. Each makes a new version beside it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from broker.domain.errors import Invalid
from broker.domain.studies.reports import Report, ReportChange, SeenImages
from broker.workflow.studies import reports
from broker.workflow.studies.reports import ReportText, Revision
from ui.live import attempt, current_actor
from ui.reading import dose
from ui.services import Services
from ui.text import errors
from ui.widgets import theme
from ui.widgets.form_field import FormField, labelled_field
from ui.widgets.theme import text

# Of each change: the button that opens it, the label of the reason, the button that signs it, what is shown afterwards.
_WORDS = {
    ReportChange.ADDITION: ("Дополнить", "Дополнение к заключению", "Подписать дополнение", "Протокол дополнен"),
    ReportChange.CORRECTION: ("Исправить", "Что исправлено", "Подписать исправление", "Протокол исправлен"),
    ReportChange.WITHDRAWAL: ("Отозвать", "Почему отозван", "Отозвать протокол", "Протокол отозван"),
}
_TEXTS = {"description": "Описание", "conclusion": "Заключение", "recommendations": "Рекомендации"}


class RevisionPanel:
    """The buttons below a signed report, and the form that one of them opens.

    `seen` returns the images that the page shows now, `reread` shows the study again; `beside` is what the form takes
    the place of while it is open.
    """

    def __init__(
        self,
        services: Services,
        report: Report,
        seen: Callable[[], SeenImages],
        *,
        sends: bool,
        reread: Callable[[], Awaitable[None]],
        beside: ui.element,
    ) -> None:
        self._services, self._report, self._seen, self._reread = services, report, seen, reread
        self._sends, self._beside = sends, beside
        self._fields: dict[str, FormField] = {}
        with ui.element("div").classes("acts"):
            for change in ReportChange:
                if report.is_withdrawn and change is not ReportChange.CORRECTION:
                    continue
                kind = "danger" if change is ReportChange.WITHDRAWAL else ""
                theme.button(_WORDS[change][0], lambda change=change: self._open(change), kind=kind, small=True)
        self._box = ui.element("div")

    def _open(self, change: ReportChange) -> None:
        """Draw the form of a change in place of another one that is open."""
        self._close()
        self._beside.set_visibility(False)  # Ctrl+Enter signs, and does not lead away from what is typed
        _, label, sign, _ = _WORDS[change]
        with self._box, ui.element("div").classes("form written-form").style("margin-top: 12px"):
            self._fields = {"reason": _area(label, "reason", 2)}
            if change is ReportChange.CORRECTION:
                for name, word in _TEXTS.items():
                    self._fields[name] = _area(word, f"corrected-{name}", 3)
                    self._fields[name].value = getattr(self._report, name)
                self._fields["effective_dose"] = labelled_field(
                    "Эффективная доза, мЗв", name="corrected-dose", span=4, narrow=12, props="inputmode=decimal"
                )
                self._fields["effective_dose"].value = dose.shown(self._report.effective_dose)
        with self._box:
            text("p", self._consequence(change), "muted small").style("margin-top: 12px")
            self._note = text("p", "", "bad").props("role=alert")
            with ui.element("div").classes("acts"):
                kind = "danger" if change is ReportChange.WITHDRAWAL else "primary"
                theme.button(sign, lambda: self._sign(change), kind=kind)
                theme.button("Не менять", self._close)
        self._fields["reason"].focus()

    def _close(self) -> None:
        self._box.clear()
        self._beside.set_visibility(True)

    def _consequence(self, change: ReportChange) -> str:
        stays = "Прежний протокол останется в карточке."
        if not self._sends:
            return stays
        if change is ReportChange.WITHDRAWAL:
            return f"{stays} Регион получит отзыв; клинике, которая могла прочитать протокол раньше, позвоните."
        return f"{stays} Регион получит его ещё раз; клинике, которая могла прочитать прежний, позвоните."

    async def _sign(self, change: ReportChange) -> None:
        values = {name: str(field.value or "") for name, field in self._fields.items()}
        number, problem = dose.typed(values.pop("effective_dose", ""))
        reason, content = values.pop("reason"), None
        if change is ReportChange.CORRECTION:
            content = ReportText(**values, effective_dose=number)
        if problem:
            self._show_problems({"effective_dose": problem})
            return
        services, report, seen = self._services, self._report, self._seen()
        actor, revision = current_actor(services), Revision(change, reason, content)
        try:
            done = await attempt(
                lambda: services.store.write(
                    reports.revise, report.order_id, report.version, revision, actor, services.clinic, seen
                ),
                let_pass=(Invalid,),
                report=lambda why: self._show_note(f"Не подписано. {why}"),
            )
        except Invalid as caught:
            self._show_problems(caught.problems)
            return
        if done is not None:
            self._close()
            theme.show_message(_WORDS[change][3])
            await self._reread()

    def _show_note(self, note: str) -> None:
        self._note.set_text(note)

    def _show_problems(self, problems: dict[str, str]) -> None:
        for name, field in self._fields.items():
            field.show_error(errors.problem(name, problems[name]) if name in problems else "")
        others = [errors.problem(name, code) for name, code in problems.items() if name not in self._fields]
        self._show_note(" ".join(["Не подписано.", *others]))


def _area(label: str, name: str, rows: int) -> FormField:
    style = f'autogrow input-style="min-height: {rows * 22}px"'
    return labelled_field(label, ui.textarea, name=name, narrow=12, props=style)
