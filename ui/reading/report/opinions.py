"""Other clinics' opinions on a signed report: asking one, what became of it, and the answer beside ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from nicegui import ui

from broker.domain.actors import Actor
from broker.domain.errors import Invalid
from broker.domain.opinions.requests import OpinionState
from broker.domain.orders import Priority
from broker.domain.reading.reports import Report, ReportChange
from broker.store.database import Reader
from broker.store.queries import directory_search
from broker.store.queries.opinions import opinion_lists
from broker.store.queries.opinions.opinion_lists import AskedByUs
from broker.workflow.opinions import asking
from ui.live import attempt, current_actor
from ui.services import Services
from ui.text import errors, opinions, words
from ui.widgets import external_report, theme
from ui.widgets.form_field import FormField, labelled_field, text_area
from ui.widgets.memo import Memo
from ui.widgets.theme import text


class Partner(NamedTuple):
    """A clinic that may be asked."""

    organisation: str  # GUID
    name: str
    understands: bool
    needs_confirmation: bool


@dataclass(frozen=True, slots=True)
class OpinionsData:
    """What the page knows of other clinics' opinions on a report."""

    found: tuple[AskedByUs, ...] = ()  # the newest first
    partners: tuple[Partner, ...] = ()


NONE = OpinionsData()


def read(reader: Reader, services: Services, order_id: int) -> OpinionsData:
    """Return the opinions on a signed report, and who may be asked."""
    rules = services.clinic.opinions
    partners = [
        Partner(
            each.organisation,
            words.clinic(directory_search.organisation_name(reader, each.organisation), each.organisation),
            each.understands,
            asking.needs_confirmation(reader, rules, each.organisation),
        )
        for each in rules.partners
    ]
    return OpinionsData(opinion_lists.of_report(reader, order_id), tuple(partners))


class OpinionsPanel:
    """The opinions of other clinics on one report; a form that is open outlives what else changes.

    `take` opens the form of a new version with texts, and returns False if one is open; `reread` shows the study again.
    """

    def __init__(
        self,
        services: Services,
        actor: Actor,
        order_id: int,
        take: Callable[[ReportChange, dict[str, str]], bool],
        reread: Callable[[], Awaitable[None]],
        beside: ui.element,
    ) -> None:
        self._services, self._actor, self._order_id = services, actor, order_id
        self._take, self._reread, self._beside = take, reread, beside
        self._report: Report | None = None
        self._data = NONE
        self._fields: dict[str, FormField] = {}
        self._shown = Memo(ui.element("div"))
        self._box = ui.element("div")
        self._buttons = Memo(ui.element("div").classes("acts").style("margin-top: 8px"))

    def show(self, report: Report, data: OpinionsData) -> None:
        """Draw what has changed."""
        self._report, self._data = report, data
        now, rules = self._services.store.clock(), self._services.clinic.opinions
        hanging = tuple(each.request.hangs(now, rules) for each in data.found)
        self._shown.show((data.found, hanging, report.is_withdrawn, self._services.today()), self._draw)
        self._buttons.show((bool(data.partners), report.is_withdrawn, bool(self._fields)), self._draw_buttons)

    def _draw(self) -> None:
        if not self._data.found:
            return
        with theme.section("Мнения других клиник", "наше заключение само не меняется"):
            for each in self._data.found:
                self._draw_one(each)

    def _draw_one(self, each: AskedByUs) -> None:
        request, services = each.request, self._services
        now, zone, today = services.store.clock(), services.clinic.zone, services.today()
        clinic = words.clinic(each.clinic, request.partner)
        with ui.element("div").classes("row-line signed"):
            theme.state_chip(*opinions.STATES[request.state])
            if request.hangs(now, services.clinic.opinions):
                within = services.clinic.opinions.within(request.priority)
                theme.state_chip("overdue", opinions.waits(request.asked_at, within, now))
            text("span", opinions.asked(request, clinic, zone, today), "muted small")
        text("p", f"«{request.question}»", "written")
        if request.reason:
            text("p", request.reason, "written small")
        if request.answer is not None:
            external_report.draw(request.answer, {request.answer.organisation: clinic})
        with ui.element("div").classes("acts"):
            is_signed = self._report is not None and not self._report.is_withdrawn
            if is_signed and opinions.may_be_taken_over(request):
                theme.button("Взять дополнением", lambda: self._take_over(each), small=True)
            if request.is_open:
                theme.button("Забрать просьбу о мнении", lambda: self._withdraw(each), small=True)
            elif request.heeded_at is None and request.state is not OpinionState.WITHDRAWN:
                theme.button("Принято к сведению", lambda: self._heed(each), small=True)

    async def _take_over(self, each: AskedByUs) -> None:
        clinic = words.clinic(each.clinic, each.request.partner)
        values = opinions.taken_over(each.request, clinic, self._services.clinic.zone)
        if not self._take(ReportChange.ADDITION, values):
            theme.show_message("Сначала подпишите или закройте открытую форму", bad=True)
            return
        await self._heed(each)

    async def _heed(self, each: AskedByUs) -> None:
        services, actor = self._services, current_actor(self._services)
        await attempt(lambda: services.store.write(asking.heed, each.request.stored_id, actor))

    async def _withdraw(self, each: AskedByUs) -> None:
        services, actor = self._services, current_actor(self._services)
        if await attempt(lambda: services.store.write(asking.withdraw, each.request.stored_id, "", actor)):
            theme.show_message("Просьба о мнении отозвана")

    # ---- asking ----

    def _draw_buttons(self) -> None:
        report = self._report
        if self._data.partners and not self._fields and report is not None and not report.is_withdrawn:
            theme.button("Спросить мнение другой клиники", self._open, small=True)

    def _open(self) -> None:
        self._beside.set_visibility(False)
        options = {each.organisation: each.name for each in self._data.partners}
        with self._box, ui.element("div").classes("form written-form").style("margin-top: 12px"):
            self._fields = {
                "partner": labelled_field(
                    "Кого просим",
                    ui.select,
                    name="partner",
                    options=options,
                    value=next(iter(options)),
                    span=6,
                    narrow=12,
                ),
                "priority": labelled_field(
                    "Срок",
                    ui.select,
                    name="opinion-priority",
                    options=self._terms(),
                    value="routine",
                    span=6,
                    narrow=12,
                ),
                "question": text_area("Что спрашиваем", "opinion-question", 2),
            }
        self._fields["partner"].control.on_value_change(self._show_warning)
        with self._box:
            self._warning = text("p", "", "attention-reason").style("margin-top: 8px")
            self._fields["confirmed"] = labelled_field(
                "Клиника принимает такие просьбы, снимать ещё раз не будут",
                ui.checkbox,
                name="opinion-confirmed",
                narrow=12,
            )
            text("p", "Уйдут вопрос, наше заключение и адрес снимков, если он настроен.", "muted small")
            self._note = text("p", "", "bad").props("role=alert")
            with ui.element("div").classes("acts").style("margin-top: 12px"):
                theme.button("Спросить", self._ask, kind="primary", key="Ctrl+Enter")
                theme.button("Не спрашивать", self._close)
        self._show_warning()
        self._buttons.show((), lambda: None)
        self._fields["question"].focus()

    def _terms(self) -> dict[str, str]:
        rules = self._services.clinic.opinions
        return {
            Priority.ROUTINE.value: f"Планово, {rules.hours} ч",
            Priority.URGENT.value: f"Срочно, {rules.urgent_hours} ч",
        }

    def _show_warning(self) -> None:
        partner = self._partner()
        asks = partner is not None and partner.needs_confirmation
        word = opinions.FIRST if partner is not None and partner.understands else opinions.ORDINARY
        self._warning.set_text(f"{partner.name}. {word}" if partner is not None and asks else "")
        self._warning.set_visibility(asks)
        self._fields["confirmed"].box.set_visibility(asks)
        self._fields["confirmed"].value = False

    def _partner(self) -> Partner | None:
        chosen = self._fields["partner"].value
        return next((each for each in self._data.partners if each.organisation == chosen), None)

    async def _ask(self) -> None:
        services, report, fields = self._services, self._report, self._fields
        assert report is not None
        actor, partner = current_actor(services), str(fields["partner"].value)
        question, priority = str(fields["question"].value or ""), Priority(fields["priority"].value)
        is_confirmed = bool(fields["confirmed"].value)
        for field in fields.values():
            field.show_error("")
        try:
            done = await attempt(
                lambda: services.store.write(
                    asking.ask,
                    self._order_id,
                    report.version,
                    partner,
                    question,
                    priority,
                    actor,
                    services.clinic,
                    is_confirmed=is_confirmed,
                ),
                let_pass=(Invalid,),
                report=self._refused,
            )
        except Invalid as caught:
            for name, code in caught.problems.items():
                said = errors.problem("opinion_question" if name == "question" else name, code)
                at = "confirmed" if (name, code) == ("partner", "unconfirmed") else name
                if at in fields:
                    fields[at].show_error(said)
                else:
                    self._refused(said)
            return
        if done is not None:
            theme.show_message("Просьба о мнении уйдёт на шину")
            with self._box:  # the button that was pressed is gone with the form
                self._close()
                await self._reread()

    def _refused(self, why: str) -> None:
        self._note.set_text(f"Не отправлено. {why}")

    def _close(self) -> None:
        self._fields = {}
        self._box.clear()
        self._beside.set_visibility(True)
        if self._report is not None:
            self.show(self._report, self._data)
