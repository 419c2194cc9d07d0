"""One request of another clinic: what it asks, about whom and which study; the doctor's answer, or why not."""

from __future__ import annotations

from nicegui import ui

from broker.domain.actors import Actor
from broker.domain.errors import Invalid
from broker.domain.incoming import IncomingState
from broker.domain.opinions.requests import asked_about
from broker.domain.orders import Priority
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.database import Reader
from broker.store.queries.opinions import opinion_lists
from broker.store.queries.opinions.opinion_lists import AskedOfUs
from broker.workflow import accounts
from broker.workflow.opinions import answering
from broker.workflow.reading.reports import ReportText, problems
from broker.workflow.referrals import incoming_referrals
from ui.layout.frame import frame
from ui.live import attempt, current_actor, follow, latest, read_as_viewer
from ui.services import Services
from ui.text import errors, opinions, words
from ui.widgets import theme
from ui.widgets.draft import Draft
from ui.widgets.form_field import FormField, text_area
from ui.widgets.memo import Memo
from ui.widgets.theme import text

_TEXTS = {"description": "Описание", "conclusion": "Заключение", "recommendations": "Рекомендации"}


def build(services: Services) -> None:
    """Add the route /opinions/{id}."""

    @ui.page("/opinions/{incoming_id}", title="Мнение")
    async def opinion(incoming_id: int) -> None:
        actor = current_actor(services)
        with frame(services, actor, "/opinions"):
            ui.link("Назад", "/opinions").classes("unseen").props("data-back tabindex=-1")
            if not permissions.may(actor, Permission.REPORT):
                theme.empty("На просьбы о мнении отвечают врачи.", "Вам открыты доска и исследования.")
                return
            found = await read_as_viewer(services, lambda reader: opinion_lists.of_us(reader, incoming_id))
            if found is None:
                theme.empty("Такой просьбы нет.", "Посмотрите список «Мнения».")
                return
            form = f"opinion {incoming_id}"
            kept = await read_as_viewer(services, lambda reader: accounts.load_draft(reader, form, actor))
            page = AnswerPage(services, actor, found)
            if kept and page.is_open:
                page.restore({str(name): str(value) for name, value in kept[0].items()})
            refresh = latest(services, page.read, page.show)
            follow(services, refresh)


class AnswerPage:
    """One open page of a request; what is typed outlives what changes on it, and is kept as a draft."""

    def __init__(self, services: Services, actor: Actor, found: AskedOfUs) -> None:
        self._services, self._actor, self._found = services, actor, found
        referral = found.referral
        with ui.element("div").classes("page-head card-head"), text("h1", ""):
            theme.patient_line(str(referral.patient.name), referral.patient.born, services.today())
        with ui.element("div").classes("card reading"):
            self._facts = Memo(ui.element("div"))
            with ui.element("div").classes("writing"):
                self._ended = Memo(ui.element("div"))
                self._form = ui.element("div")
                with self._form:
                    self._draw_form()
        self.show(found)

    @property
    def is_open(self) -> bool:
        """True while the request waits for an answer."""
        return self._found.referral.state is IncomingState.WAITING

    def read(self, reader: Reader) -> AskedOfUs | None:
        """Return the request as it is now."""
        return opinion_lists.of_us(reader, self._found.referral.stored_id)

    def show(self, found: AskedOfUs | None) -> None:
        """Draw what has changed."""
        if found is None:
            return
        self._found = found
        self._facts.show(found.referral, self._draw_facts)
        self._ended.show((found.referral.state, found.answer), self._draw_ended)
        self._form.set_visibility(self.is_open)

    def restore(self, values: dict[str, str]) -> None:
        """Put what was typed before into the form."""
        for name, value in values.items():
            if name in self._fields:
                self._fields[name].value = value
        self._note.set_text("Черновик восстановлен")

    def _draw_facts(self) -> None:
        referral = self._found.referral
        about = asked_about(referral.comment)
        clinic = words.clinic(self._found.clinic, referral.requester or "")
        with theme.section("Спрашивают", clinic):
            text("p", f"«{about.question or 'вопроса нет'}»", "written concluded")
        with theme.section("Исследование", "сделано там; на аппараты оно не попадёт"):
            theme.facts(
                [
                    ("Что сделано", opinions.study(referral)),
                    ("Номер и день", about.study),
                    ("Срочность", "Срочно" if referral.priority is Priority.URGENT else "Планово"),
                    ("Диагноз", referral.diagnosis),
                    ("Направил", referral.referring_doctor),
                    *(("Приложено", each) for each in referral.attached),
                ]
            )
            if about.images.startswith(("http://", "https://")):
                link = ui.link("Открыть снимки", about.images.split()[0], new_tab=True).classes("btn btn-small")
                link.props("rel='noopener noreferrer'")
            elif about.images:
                theme.facts([("Снимки", about.images)])
            else:
                text("p", "Где снимки, в просьбе не сказано.", "muted small")
        with theme.section("Их заключение"):
            text("p", about.conclusion or "Не передано.", "written" if about.conclusion else "muted small")

    def _draw_ended(self) -> None:
        found, zone, today = self._found, self._services.clinic.zone, self._services.today()
        if self.is_open:
            return
        with theme.section("Ответ"):
            theme.state_chip(*opinions.ENDED.get(found.referral.state, ("unknown", "Не прочитать")))
            if found.referral.decline_reason:
                text("p", found.referral.decline_reason, "written")
            if answer := found.answer:
                at = words.moment(answer.signed_at, zone, today)
                text("p", f"{answer.author_name}, {at}", "muted small")
                for name, word in _TEXTS.items():
                    if part := getattr(answer, name):
                        text("h3", word, "muted small")
                        text("p", part, "written concluded" if name == "conclusion" else "written")

    def _draw_form(self) -> None:
        with ui.element("div").classes("form written-form"):
            self._fields: dict[str, FormField] = {
                name: text_area(word, name, 5 if name == "description" else 3) for name, word in _TEXTS.items()
            }
        clinic = words.clinic(self._found.clinic, self._found.referral.requester or "")
        text("p", f"Ответ уйдёт: {clinic}. Наш протокол не создаётся, снимки остаются там.", "muted small")
        self._note = text("p", "", "muted small").props("role=status")
        with ui.element("div").classes("acts").style("margin-top: 12px"):
            theme.button("Подписать и ответить", self._answer, kind="primary", key="Ctrl+Enter")
            theme.button("Отказать…").props("data-opens=refuse")
        with theme.dialog(
            "refuse", "Отказать в мнении?", danger="Отказать", on_danger=self._refuse, leave="Не отказывать"
        ):
            self._reason = text_area("Почему", "refuse_reason", 2)
            reaches = "Клиника узнает об отказе и его причине."
            if not self._services.settings.corrects_on_bus:
                reaches = "Клиника узнает об отказе. Причину эта шина не передаёт: если она важна, позвоните."
            text("p", reaches, "muted small")
        form = f"opinion {self._found.referral.stored_id}"
        self._draft = Draft(self._services, self._actor, form, self._content, self._show_kept)
        self._draft.start()
        for field in self._fields.values():
            field.control.on_value_change(self._draft.touch)
            field.control.on("blur", self._draft.keep)

    def _content(self) -> dict[str, str] | None:
        values = {name: str(field.value or "") for name, field in self._fields.items()}
        return values if any(values.values()) and self.is_open else None

    def _show_kept(self, note: str, bad: bool) -> None:
        self._note.set_text(note)

    async def _answer(self) -> None:
        services, found = self._services, self._found
        description, conclusion, recommendations = (str(self._fields[name].value or "") for name in _TEXTS)
        typed = ReportText(description, conclusion, recommendations)
        if wrong := problems(typed, signing=True):
            self._show_problems(wrong)
            return
        actor = current_actor(services)
        try:
            done = await attempt(
                lambda: services.store.write(
                    answering.answer, found.referral.stored_id, typed, found.referral, actor, services.clinic
                ),
                let_pass=(Invalid,),
            )
        except Invalid as caught:
            self._show_problems(caught.problems)
            return
        if done is not None:
            await self._reread()
            await self._draft.keep()  # nothing: it is deleted
            theme.show_message("Мнение подписано и уйдёт клинике, которая просила")

    async def _refuse(self) -> None:
        services, found, reason = self._services, self._found, str(self._reason.value or "").strip()
        if not reason:
            theme.show_message("Не отказано. Напишите, почему", bad=True)
            return
        actor = current_actor(services)
        done = await attempt(
            lambda: services.store.write(
                incoming_referrals.decline,
                found.referral.stored_id,
                reason,
                actor,
                services.clinic,
                seen=found.referral,
            )
        )
        if done is not None:
            await self._reread()
            theme.show_message("Отказано; клиника узнает об этом")

    async def _reread(self) -> None:
        self.show(await read_as_viewer(self._services, self.read))

    def _show_problems(self, wrong: dict[str, str]) -> None:
        for name, field in self._fields.items():
            field.show_error(errors.problem(name, wrong[name]) if name in wrong else "")
        first = next((name for name in self._fields if name in wrong), "conclusion")
        self._fields[first].focus()
