"""The form of a report: a draft is saved after every pause; signing shows first what will be sent.

Typed text is never overwritten unseen: if somebody else has saved meanwhile, the person chooses.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from typing import Any

from nicegui import ui

from broker.documents import report_pdf
from broker.domain.actors import Actor
from broker.domain.errors import BrokerError, Invalid, Occupied, Stale
from broker.domain.orders import OrderState
from broker.domain.patients import names
from broker.domain.reading import report_form
from broker.domain.reading.leases import Lease
from broker.domain.reading.reports import Report, ReportState
from broker.domain.studies.effective_dose import CalculatedDose
from broker.store.database import StoreError
from broker.store.queries.reading.reading_list import StudyToRead
from broker.workflow.reading import kept_texts, reports
from broker.workflow.reading.reports import ReportText
from ui.live import attempt, current_actor
from ui.reading.report import dose
from ui.reading.report.form_fields import FormFields
from ui.reading.report.writing_lease import WritingLease
from ui.services import Services
from ui.text import errors, words
from ui.widgets import theme
from ui.widgets.form_field import FormField, labelled_field, text_area
from ui.widgets.memo import Memo
from ui.widgets.theme import text

PAUSE = 1.5  # seconds without a keystroke after which the draft is saved
MAX_UNSAVED = 8.0  # seconds after which it is saved without a pause
_OPEN_DIALOG = 'document.getElementById("sign").showModal()'


class ReportForm:
    """The form; `reread` shows the study again after a change."""

    def __init__(
        self, services: Services, actor: Actor, study: StudyToRead, reread: Callable[[], Awaitable[None]]
    ) -> None:
        self._lease = WritingLease(services, actor, study.card.order.id)
        self._other: Lease | None = None  # of another doctor, who writes now
        self._aside: ReportText | None = None  # what was typed here and could not be saved, but is kept
        self._services = services
        self._actor = actor
        self._study = study
        self._reread = reread
        self._saved_text = ReportText()  # the text in the database, as this page has last read it
        self._revision = 0
        self._changed: float | None = None  # time of the last keystroke
        self._unsaved_since: float | None = None  # time of the first keystroke since the draft was saved
        self._refused = False  # signing was refused, and nothing was typed since
        self._lock = asyncio.Lock()
        self._clash: Report | None = None  # another person's draft, saved after this page had read its own
        self._closed = False  # signed
        self._asked = ReportText()  # the text in the dialog: exactly this is signed
        self._seen = study.card.images  # with which it is signed
        self._box = ui.element("div")
        with self._box:
            self._none = Memo(ui.element("div"))
            self._make_clash()
            self._fields = self._make_fields()
            self._make_actions()
        self._make_dialog()
        client = ui.context.client
        client.on_disconnect(self._keep_last)
        ui.timer(PAUSE / 3, self._keep_if_quiet)

    def show(self, study: StudyToRead, signed: bool, lease: Lease | None = None) -> None:
        """Show a newer draft from the database, unless something typed here would be lost by that.

        `lease`: who writes now; while that is another doctor, the text can be read only.
        """
        self._study = study
        self._closed = signed
        self._box.set_visibility(not signed)
        self._show_writer(self._lease.of_another(lease) if not signed else None)
        if signed:
            return
        started = study.card.order.state in (OrderState.IN_PROGRESS, OrderState.COMPLETED) and bool(
            study.card.performed
        )
        self._show_started(started)
        found = self._calculated()
        hint = f"Рассчитана по аппарату: {dose.shown(found.millisieverts)}" if found else ""
        self._fields["effective_dose"].show_hint(hint)
        report = study.card.report
        if self._aside is not None and self._text() == self._aside and not self._lock.locked():
            self._take(report or Report(study.card.order.id))  # what was typed here stands below the report now
        elif report and report.revision > self._revision and not self._lock.locked():
            if self._text() in (self._saved_text, ReportText.of(report)):
                self._take(report)
            else:
                self._show_clash(report)

    def write_instead(self, content: ReportText) -> None:
        """Write a text into the fields, in place of what is there."""
        if self._other is None and not self._closed:
            self._fill(content)

    def _show_writer(self, other: Lease | None) -> None:
        if (other is None) != (self._other is None):
            for field in self._fields.values():
                field.control.props("readonly") if other else field.control.props(remove="readonly")
            self._sign_button.set_visibility(other is None)
        self._other = other

    # ---- the form ----

    def _make_fields(self) -> dict[str, FormField]:
        with ui.element("div").classes("form written-form") as self._form:
            made = {
                "description": text_area("Описание", "description", 11),
                "conclusion": text_area("Заключение", "conclusion", 4),
                "recommendations": text_area("Рекомендации", "recommendations", 2),
                "effective_dose": labelled_field(
                    "Эффективная доза, мЗв",
                    name="effective_dose",
                    span=4,
                    narrow=12,
                    props="inputmode=decimal",
                    quick=[("рассчитанная", self._take_calculated)] if self._calculated() else (),
                ),
            }
            self._more = FormFields()
        made |= self._more.fields
        for each in made.values():
            each.control.on_value_change(self._touch)
            each.control.on("blur", self._keep)
        made["description"].control.props("autofocus")
        return made

    def _calculated(self) -> CalculatedDose | None:
        found = self._study.effective_dose
        return found if isinstance(found, CalculatedDose) else None

    def _take_calculated(self) -> None:
        """Write the calculated dose into the field, where the doctor sees what is signed."""
        found = self._calculated()
        if found and self._other is None:
            self._fields["effective_dose"].value = dose.shown(found.millisieverts)

    def _make_actions(self) -> None:
        with ui.element("div").classes("actions") as self._actions:
            self._sign_button = theme.button("Подписать", self._ask, kind="primary", key="Ctrl+Enter")
            self._note = text("p", "", "muted small").props("role=status")

    def _show_started(self, started: bool) -> None:
        self._form.set_visibility(started)
        self._actions.set_visibility(started)

        def draw() -> None:
            if not started:
                theme.empty("Снимков ещё нет.", "Описать можно, когда аппарат начнёт исследование.")

        self._none.show(started, draw)

    def _typed(self) -> tuple[ReportText, dict[str, str]]:
        """Return what is typed, normalised, and its problems: field -> code."""
        texts = {name: str(self._fields[name].value or "") for name in reports.LONGEST}
        number, problem = dose.typed(str(self._fields["effective_dose"].value or ""))
        content = ReportText(**texts, effective_dose=number, form=self._more.typed())
        return reports.tidy(content), {"effective_dose": problem} if problem else {}

    def _text(self) -> ReportText:
        return self._typed()[0]

    def _fill(self, content: ReportText) -> None:
        values: dict[str, Any] = {
            "description": content.description,
            "conclusion": content.conclusion,
            "recommendations": content.recommendations,
            "effective_dose": dose.shown(content.effective_dose),
        }
        for name, value in values.items():
            if self._fields[name].value != value:
                self._fields[name].value = value
        self._more.fill(content.form)

    def _take(self, report: Report) -> None:
        """Show a draft as the database has it."""
        self._revision, self._saved_text, self._aside = report.revision, ReportText.of(report), None
        if self._text() != self._saved_text:
            self._fill(self._saved_text)
        self._changed = self._unsaved_since = None
        if not report.revision:
            return
        at = self._moment(report)
        whose = "" if report.author == self._actor.name else f", {names.short(report.author_name)}"
        self._show_kept(f"{at}{whose}")

    # ---- keeping ----

    def _touch(self) -> None:
        self._refused = False
        self._changed = time.monotonic()
        self._unsaved_since = self._unsaved_since or self._changed
        for field in self._fields.values():
            field.show_error("")

    async def _keep_if_quiet(self) -> None:
        now = time.monotonic()
        begins = self._unsaved_since and not (self._lease.is_held or self._other or self._closed)
        if begins and self._text() != self._saved_text and not await self._lease.begin():
            await self._reread()
        if (
            self._changed
            and self._unsaved_since
            and (now - self._changed >= PAUSE or now - self._unsaved_since >= MAX_UNSAVED)
        ):
            await self._keep()

    async def _keep(self) -> bool:
        """Save the draft, without an unreadable dose; return True if the database has everything that is typed."""
        async with self._lock:
            self._changed = self._unsaved_since = None
            content, problems = self._typed()
            if self._closed or self._clash:
                return False
            if "effective_dose" in reports.problems(content):
                content = replace(content, effective_dose=None)
            if content == self._saved_text:
                return not problems
            try:
                actor = current_actor(self._services)
                order, revision = self._study.card.order, self._revision
                done = await attempt(
                    lambda: self._services.store.write(
                        reports.save_report, order.id, revision, content, actor, self._services.clinic
                    ),
                    let_pass=(Invalid, Stale, Occupied),
                    report=lambda why: self._show_note(f"Черновик не сохранён. {why}", bad=True),
                )
            except Invalid as caught:
                self._show_problems(caught.problems)
                self._show_note("Черновик не сохраняется: сократите текст", bad=True)
                return False
            except Occupied:
                await self._set_aside(content)
                done = None
            except Stale:
                done = None
            else:
                if done is not None:
                    self._revision, self._saved_text = done.value.revision, content
                    self._show_kept(self._moment(done.value))
                    return not problems
        await self._reread()
        return False

    async def _set_aside(self, content: ReportText) -> None:
        """Keep for this doctor what was typed here while another one writes the report."""
        order_id, actor = self._study.card.order.id, current_actor(self._services)
        done = await attempt(
            lambda: (self._services.store.write(kept_texts.set_aside, order_id, asdict(content), actor), True),
            report=lambda why: self._show_note(f"Не сохранено. {why}", bad=True),
        )
        if done is not None:
            self._aside = content
            self._show_note("Протокол пишет другой врач. Ваш текст цел: он ниже", bad=True)

    def _keep_last(self) -> None:
        """Save the last typed text when the page is closed; a newer draft stays, errors cannot be shown."""
        self._save_last()
        self._lease.leave()

    def _save_last(self) -> None:
        content, _ = self._typed()
        if self._closed or content in (self._saved_text, self._aside) or reports.problems(content):
            return
        store, order_id, actor = self._services.store, self._study.card.order.id, self._actor
        try:
            if not self._clash:
                store.write(reports.save_report, order_id, self._revision, content, actor, self._services.clinic)
                return
        except (Occupied, Stale):
            pass  # another text stands there: this one is kept beside it
        except (BrokerError, StoreError):
            return
        with contextlib.suppress(BrokerError, StoreError):
            store.write(kept_texts.set_aside, order_id, asdict(content), actor)

    # ---- conflicts with another writer ----

    def _make_clash(self) -> None:
        with ui.element("div").classes("attention-reason").props("role=alert") as self._clashing:
            self._clash_words = text("p", "")
            self._clash_text = ui.element("details")
            with ui.element("div").classes("acts"):
                theme.button("Оставить мой текст", self._keep_mine, small=True)
                theme.button("Взять сохранённый", self._take_theirs, small=True)
        self._clashing.set_visibility(False)

    def _show_clash(self, report: Report) -> None:
        """Show what somebody else has saved, and offer a choice between the two texts."""
        if self._clash == report:
            return
        self._clash = report
        own = report.author == self._actor.name
        who = "в другом окне" if own else names.short(report.author_name)
        at = self._moment(report)
        self._clash_words.set_text(f"Пока вы писали, протокол сохранён: {who}, {at}. Ваш текст цел, но не сохранён.")
        self._clash_text.clear()
        with self._clash_text:
            text("summary", "Что там написано")
            for part in (report.description, report.conclusion, report.recommendations):
                if part:
                    text("p", part, "written small")
        self._clashing.set_visibility(True)
        self._show_note("Не сохранено", bad=True)

    async def _keep_mine(self) -> None:
        if self._clash:
            self._revision, self._saved_text = self._clash.revision, ReportText.of(self._clash)
        self._end_clash()
        await self._keep()

    def _take_theirs(self) -> None:
        report = self._clash
        self._end_clash()
        if report:
            self._take(report)

    def _end_clash(self) -> None:
        self._clash = None
        self._clashing.set_visibility(False)

    # ---- signing ----

    def _make_dialog(self) -> None:
        with ui.element("dialog").classes("wide").props("id=sign aria-labelledby=sign-title"):
            text("h2", "Подписать протокол?").props("id=sign-title")
            self._summary = ui.element("div")
            with ui.element("div").classes("acts").style("margin-top: 16px"):
                button = theme.button("Подписать", self._sign, kind="primary")
                button.props("data-closes autofocus").props(remove="data-primary")
                theme.button("Вернуться").props("data-closes")

    async def _ask(self) -> None:
        """Validate and save the draft, and show what will be signed."""
        if self._other:
            return
        if self._clash:
            self._show_note("Сначала выберите, чей текст оставить", bad=True)
            return
        content, problems = self._typed()
        problems = reports.problems(content, signing=True) | problems
        card = self._study.card
        if card.conflicts:
            problems["images"] = "other_patient"
        elif card.order.state is not OrderState.COMPLETED:
            problems["images"] = "unfinished"
        if problems:
            self._refused = True
            self._show_problems(problems)
            return
        if not await self._keep():
            return
        self._asked, self._seen = content, self._study.card.images
        self._summary.clear()
        with self._summary:
            self._draw_summary(content)
        ui.run_javascript(_OPEN_DIALOG)

    def _draw_summary(self, content: ReportText) -> None:
        order, today = self._study.card.order, self._services.today()
        with ui.element("p").style("margin-top: 8px"):
            theme.patient_line(str(order.patient.name), order.patient.born, today)
        text("p", f"{words.procedure(order)}, {order.accession_number}", "muted")
        text("p", content.conclusion, "written concluded outgoing")
        theme.facts(
            [
                ("Описание", words.plural(len(content.description.split()), "слово", "слова", "слов")),
                ("Рекомендации", names.cut(content.recommendations, 200)),
                ("Доза", report_pdf.dose(content.effective_dose)),
                *((report_pdf.FORM_LABELS[name], value) for name, value in report_form.unpack(content.form).items()),
                ("Снимков", str(self._seen.count or "")),
                ("Подписывает", self._actor.title or self._actor.name),
            ]
        )
        sends = self._services.clinic.sends_to_bus and order.bus_role
        goes = "Протокол и его PDF уйдут на шину." if sends else "На шину ничего не уйдёт."
        text("p", f"{goes} Подписанное не меняют: исправление будет новой версией.", "muted small").style(
            "margin-top: 12px"
        )

    async def _sign(self) -> None:
        """Sign what the dialog showed, and nothing typed since."""
        services, order, content, revision = self._services, self._study.card.order, self._asked, self._revision
        actor, seen = current_actor(services), self._seen
        async with self._lock:
            try:
                done = await attempt(
                    lambda: services.store.write(
                        reports.sign, order.id, revision, content, actor, services.clinic, seen
                    ),
                    let_pass=(Invalid, Stale),
                    report=lambda why: self._show_note(f"Не подписано. {why}", bad=True),
                )
            except Invalid as caught:
                self._show_problems(caught.problems)
                return
            except Stale:
                done = None
            if done is not None and done.value.state is ReportState.SIGNED:
                self._closed = True
                theme.show_message(f"Протокол {order.accession_number} подписан")
        await self._reread()

    def _show_problems(self, problems: dict[str, str]) -> None:
        for name, field in self._fields.items():
            field.show_error(errors.problem(name, problems[name]) if name in problems else "")
        self._more.show_problems(problems)
        first = next((name for name in self._fields if name in problems), "")
        if first:
            self._fields[first].focus()
        if "images" in problems:
            self._show_note(errors.problem("images", problems["images"]), bad=True)
        else:
            self._show_note(f"Не подписано: исправьте {words.plural(len(problems), 'поле', 'поля', 'полей')}", bad=True)

    # ---- words ----

    def _show_kept(self, when: str) -> None:
        """Show that the draft is saved, unless the reason is shown why it was not signed."""
        if not self._refused:
            self._show_note(f"Черновик сохранён {when}")

    def _show_note(self, note: str, bad: bool = False) -> None:
        self._note.set_text(note)
        self._note.classes(add="bad", remove="muted") if bad else self._note.classes(add="muted", remove="bad")

    def _moment(self, report: Report) -> str:
        at = report.saved_at or self._services.store.clock()
        return words.moment(at, self._services.clinic.zone, self._services.today())
