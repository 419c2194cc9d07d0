"""What a doctor may do to a signed report: add to it, correct it, withdraw it. Each makes a new version beside it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from nicegui import ui

from broker.domain.actors import Actor
from broker.domain.errors import Invalid
from broker.domain.patients import names
from broker.domain.reading import report_form
from broker.domain.reading.leases import Lease
from broker.domain.reading.reports import Report, ReportChange, SeenImages
from broker.workflow.reading import reports
from broker.workflow.reading.reports import ReportText, Revision
from ui.live import attempt, current_actor
from ui.reading.report import dose, form_fields
from ui.reading.report.form_fields import FormFields
from ui.reading.report.writing_lease import WritingLease
from ui.services import Services
from ui.text import errors, words
from ui.widgets import theme
from ui.widgets.draft import Draft
from ui.widgets.form_field import FormField, labelled_field, text_area
from ui.widgets.memo import Memo
from ui.widgets.theme import text

# Of each change: the button that opens it, the label of the reason, the button that signs it, what is shown afterwards.
_WORDS = {
    ReportChange.ADDITION: ("Дополнить", "Дополнение к заключению", "Подписать дополнение", "Протокол дополнен"),
    ReportChange.CORRECTION: ("Исправить", "Что исправлено", "Подписать исправление", "Протокол исправлен"),
    ReportChange.WITHDRAWAL: ("Отозвать", "Почему отозван", "Отозвать протокол", "Протокол отозван"),
}
_TEXTS = {"description": "Описание", "conclusion": "Заключение", "recommendations": "Рекомендации"}


KeptDraft = tuple[dict[str, Any], datetime]  # what was typed, and when it was saved (UTC)


def draft_name(order_id: int) -> str:
    """Return under which name the database keeps what a doctor has typed to revise a report."""
    return f"revision {order_id}"


class RevisionPanel:
    """The buttons below a signed report, and the form that one of them opens.

    What is typed is kept until it is signed, and no newer version takes it away. `kept` is what the doctor had typed
    before. `seen` returns the images that the page shows now, `reread` shows the study again; `beside` is what the form
    takes the place of while it is open.
    """

    def __init__(
        self,
        services: Services,
        actor: Actor,
        report: Report,
        seen: Callable[[], SeenImages],
        *,
        kept: KeptDraft | None,
        sends: bool,
        reread: Callable[[], Awaitable[None]],
        beside: ui.element,
    ) -> None:
        self._services, self._report, self._seen, self._reread = services, report, seen, reread
        self._sends, self._beside = sends, beside
        self._change: ReportChange | None = None  # whose form is open
        self._newer: Report | None = None  # a version that came while the form was open, and is not heeded yet
        self._fields: dict[str, FormField] = {}
        self._lease = WritingLease(services, actor, report.order_id)
        self._restoring = False
        self._other: Lease | None = None  # of another doctor, who writes now
        self._buttons = Memo(ui.element("div").classes("acts"))
        self._box = ui.element("div")
        self._draft = Draft(services, actor, draft_name(report.order_id), self._content, self._show_draft_note)
        self.show(report)
        if kept:
            self._restore(*kept)
        self._draft.start()
        ui.context.client.on_disconnect(self._lease.leave)

    def show(self, report: Report, lease: Lease | None = None) -> None:
        """Show what may be done to a version; a form that is open stays, and says that there is a newer one.

        `lease`: who writes now; while that is another doctor, no form opens.
        """
        self._other = self._lease.of_another(lease)
        if self._change is None:
            self._report = report
        elif report.version != (self._newer or self._report).version:
            self._show_newer(report)
        free = self._other is None
        self._buttons.show((report.is_withdrawn, free), lambda: self._draw_buttons(report) if free else None)

    def _draw_buttons(self, report: Report) -> None:
        for change in ReportChange:
            if report.is_withdrawn and change is not ReportChange.CORRECTION:
                continue
            kind = "danger" if change is ReportChange.WITHDRAWAL else ""
            theme.button(_WORDS[change][0], lambda change=change: self._reopen(change), kind=kind, small=True)

    def propose(self, change: ReportChange, values: dict[str, str]) -> bool:
        """Open the form of a change with these texts; return False, and change nothing, where one is open already."""
        if self._change is not None or self._other is not None:
            return False
        self._open(change)
        for name, value in values.items():
            if name in self._fields:
                self._fields[name].value = value
        self._draft.touch()
        self._fields["reason"].focus()
        return True

    # ---- the form ----

    def _reopen(self, change: ReportChange) -> None:
        """Draw the form of a change in place of another one that is open, with the reason that is typed there."""
        if change is not self._change:
            reason = self._values().get("reason", "")
            newer = self._newer
            self._clear()
            self._open(change)
            self._fields["reason"].value = reason
            if newer:
                self._show_newer(newer)
            self._draft.touch()
        self._fields["reason"].focus()

    def _open(self, change: ReportChange) -> None:
        self._change = change
        self._beside.set_visibility(False)  # Ctrl+Enter signs, and does not lead away from what is typed
        _, label, sign, _ = _WORDS[change]
        with self._box:
            self._newer_box = ui.element("div")
        with self._box, ui.element("div").classes("form written-form").style("margin-top: 12px"):
            self._fields = {"reason": text_area(label, "reason", 2)}
            if change is ReportChange.CORRECTION:
                for name, word in _TEXTS.items():
                    self._fields[name] = text_area(word, f"corrected-{name}", 3)
                self._fields["effective_dose"] = labelled_field(
                    "Эффективная доза, мЗв", name="corrected-dose", span=4, narrow=12, props="inputmode=decimal"
                )
                self._fields |= FormFields("corrected-").fields
                self._fill(self._report)
        for field in self._fields.values():
            field.control.on_value_change(lambda field=field: self._touch(field))
            field.control.on("blur", self._draft.keep)
        with self._box:
            text("p", self._consequence(change), "muted small").style("margin-top: 12px")
            self._note = text("p", "", "bad").props("role=alert")
            self._draft_note = text("p", "", "muted small").props("role=status")
            with ui.element("div").classes("acts"):
                kind = "danger" if change is ReportChange.WITHDRAWAL else "primary"
                theme.button(sign, self._sign, kind=kind)
                theme.button("Не менять", self._leave)

    def _fill(self, report: Report) -> None:
        for name, value in _texts(report).items():
            if name in self._fields:
                self._fields[name].value = value

    def _touch(self, field: FormField) -> Awaitable[None] | None:
        field.show_error("")
        self._draft.touch()
        return None if self._restoring else self._begin_lease()

    async def _begin_lease(self) -> None:
        if self._change and not (self._lease.is_held or self._other) and not await self._lease.begin():
            self._show_note("Новую версию сейчас пишет другой врач. Ваш текст цел, подписать его можно после")

    async def _leave(self) -> None:
        with self._box:
            await self._close()
            await self._reread()

    async def _close(self) -> None:
        """Close the form, and forget what was typed."""
        self._clear()
        self._lease.leave()
        await self._draft.keep()  # nothing: it is deleted

    def _clear(self) -> None:
        self._change = self._newer = None
        self._fields = {}
        self._box.clear()
        self._beside.set_visibility(True)

    # ---- what is typed ----

    def _values(self) -> dict[str, str]:
        return {name: str(field.value or "") for name, field in self._fields.items()}

    def _content(self) -> dict[str, Any] | None:
        """Return what is worth keeping; None if nothing was typed."""
        if self._change is None:
            return None
        values = self._values()
        as_it_was = {name: _texts(self._report).get(name, "") for name in values}
        return None if values == as_it_was else self._as_draft(values)

    def _as_draft(self, values: dict[str, str]) -> dict[str, Any]:
        return {"change": str(self._change), "version": self._report.version, "fields": values}

    def _restore(self, content: dict[str, Any], saved_at: datetime) -> None:
        """Open the form with what was typed, also if the report has another version by now."""
        self._open(ReportChange(content["change"]))
        self._restoring = True  # who only opens the page again keeps no other doctor from writing
        for name, value in content["fields"].items():
            if name in self._fields:
                self._fields[name].value = value
        self._restoring = False
        self._draft.kept = True
        self._show_draft_note(f"Черновик от {self._moment(saved_at)}", False)
        if content["version"] != self._report.version:
            self._show_newer(self._report)

    def _show_newer(self, report: Report) -> None:
        """Show beside what is typed that somebody has signed another version, and offer a choice."""
        self._newer = report
        self._newer_box.clear()
        at = f", {self._moment(report.signed_at)}" if report.signed_at else ""
        who = f"{names.short(report.author_name)}{at}"
        with self._newer_box, ui.element("div").classes("attention-reason").props("role=alert"):
            text("p", f"Пока вы писали, появилась версия {report.version}: {who}. Ваш текст цел, но не подписан.")
            if report.is_withdrawn:
                text("p", f"Протокол отозван: {report.reason}")
            with ui.element("details").props("open"):
                text("summary", f"Что в версии {report.version}")
                for part in (report.description, report.conclusion, report.recommendations):
                    if part:
                        text("p", part, "written small")
            with ui.element("div").classes("acts"):
                theme.button("Оставить мой текст", lambda: self._heed(take=False), small=True)
                if self._change is ReportChange.CORRECTION and not report.is_withdrawn:
                    theme.button(f"Взять текст версии {report.version}", lambda: self._heed(take=True), small=True)

    def _heed(self, *, take: bool) -> None:
        """Go on with the newer version as the one to revise; with `take` its texts take the place of what is typed."""
        if self._newer is None:
            return
        self._report, self._newer = self._newer, None
        self._newer_box.clear()
        self._show_note("")
        if take:
            self._fill(self._report)
        self._draft.touch()

    def _consequence(self, change: ReportChange) -> str:
        stays = "Прежний протокол останется в карточке."
        if not self._sends:
            return stays
        if change is ReportChange.WITHDRAWAL:
            return f"{stays} Регион получит отзыв; клинике, которая могла прочитать протокол раньше, позвоните."
        return f"{stays} Регион получит его ещё раз; клинике, которая могла прочитать прежний, позвоните."

    # ---- signing ----

    async def _sign(self) -> None:
        change = self._change
        if change is None:
            return
        if self._newer:
            self._show_note("Сначала выберите, чей текст оставить")
            return
        values = self._values()
        number, problem = dose.typed(values.pop("effective_dose", ""))
        reason, content = values.pop("reason"), None
        if change is ReportChange.CORRECTION:
            texts = {name: values[name] for name in _TEXTS}
            content = ReportText(**texts, effective_dose=number, form=form_fields.pack(values))
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
            with self._box:  # the button that was pressed is gone with its form
                await self._close()
                theme.show_message(_WORDS[change][3])
                await self._reread()

    def _show_note(self, note: str) -> None:
        self._note.set_text(note)

    def _show_draft_note(self, note: str, bad: bool) -> None:
        if self._change is not None:
            self._draft_note.set_text(note)
            self._draft_note.classes(add="bad", remove="muted") if bad else self._draft_note.classes(
                "muted", remove="bad"
            )

    def _moment(self, at: datetime) -> str:
        return words.moment(at, self._services.clinic.zone, self._services.today())

    def _show_problems(self, problems: dict[str, str]) -> None:
        for name, field in self._fields.items():
            field.show_error(errors.problem(name, problems[name]) if name in problems else "")
        others = [errors.problem(name, code) for name, code in problems.items() if name not in self._fields]
        self._show_note(" ".join(["Не подписано.", *others]))


def _texts(report: Report) -> dict[str, str]:
    """Return the texts of a report as the fields of a correction have them."""
    texts: dict[str, str] = {name: getattr(report, name) for name in _TEXTS}
    further = dict.fromkeys(report_form.FIELDS, "") | report_form.unpack(report.form)
    return texts | further | {"effective_dose": dose.shown(report.effective_dose)}
