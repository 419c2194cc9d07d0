"""The page on which two readers who differ decide together: both reads on the left, what they decide on the right.

One writes, the other confirms the very same words: in a window of their own, or here by their password. Live: what the
other proposes shows at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nicegui import ui

from broker.domain.actors import Actor
from broker.domain.errors import Forbidden, Invalid, NotFound, WrongState
from broker.domain.patients import names
from broker.domain.reading.joint_decisions import JointDecision
from broker.domain.reading.opinions import OpinionForm, Read, form_of
from broker.domain.reading.reports import SeenImages
from broker.security import permissions, sessions
from broker.security.permissions import Permission
from broker.store.database import Reader
from broker.store.queries import order_card
from broker.store.queries.order_card import Card
from broker.workflow import accounts
from broker.workflow.reading import joint_decisions
from broker.workflow.reading.joint_decisions import OpenTogether
from broker.workflow.reading.reports import ReportText
from ui.layout.frame import frame
from ui.live import attempt, current_actor, follow, latest, read_as_viewer
from ui.reading import viewer_window
from ui.reading.report.revision import KeptDraft
from ui.reading.together.decision_form import DecisionForm
from ui.services import Services
from ui.text import links, reading, words
from ui.widgets import theme
from ui.widgets.draft import Draft
from ui.widgets.form_field import FormField, labelled_field
from ui.widgets.memo import Memo
from ui.widgets.theme import text


def build(services: Services) -> None:
    """Add the route /together/{accession_number}."""

    @ui.page("/together/{accession_number:path}", title="Решаем вместе")
    async def together(accession_number: str) -> None:
        actor = current_actor(services)
        with frame(services, actor, "/reading"):
            ui.link("Назад", "/reading").classes("unseen").props("data-back tabindex=-1")
            if not permissions.may(actor, Permission.REPORT):
                theme.empty("Решают врачи.", "Подписанный протокол виден в карточке исследования.")
                return
            found = await read_as_viewer(services, lambda reader: _read(reader, services, accession_number, actor))
            if found is None:
                theme.empty("Решать вместе здесь нечего.", "Решают двое, чьи мнения разошлись, пока решения нет.")
                ui.link("К списку", "/reading").classes("btn")
                return
            page = TogetherPage(services, actor, found)
            refresh = latest(services, page.read, page.show)
            follow(services, refresh)
            await refresh()


@dataclass(frozen=True, slots=True)
class TogetherData:
    """The data of the page."""

    opened: OpenTogether
    card: Card
    kept: KeptDraft | None  # what this reader has typed


def _read(reader: Reader, services: Services, accession_number: str, actor: Actor) -> TogetherData | None:
    card = order_card.card(reader, accession_number, services.images_due())
    if card is None:
        return None
    now, order_id = services.store.clock(), card.order.id
    try:
        opened = joint_decisions.open_together(reader, order_id, actor, services.clinic, now)
    except (Forbidden, NotFound, WrongState):
        return None
    return TogetherData(opened, card, accounts.load_draft(reader, _draft_name(order_id), actor))


def _draft_name(order_id: int) -> str:
    return f"together {order_id}"


class TogetherPage:
    """One open page of one of the two readers."""

    def __init__(self, services: Services, actor: Actor, found: TogetherData) -> None:
        self._services, self._actor, self._found = services, actor, found
        self._order = found.opened.order
        self._form: DecisionForm | None = None
        self._draft = Draft(services, actor, _draft_name(self._order.id), self._content, self._show_kept)
        self._revision = 0  # of the proposal that the form takes the place of
        with ui.element("div").classes("page-head card-head"):
            with ui.element("h1"):
                theme.patient_line(str(self._order.patient.name), self._order.patient.born, services.today())
            ui.element("div").classes("spring")
            if links.images(services.settings.viewer, found.card):
                viewer_window.draw_link(services.settings.viewer, found.card)
            with ui.link("", links.card(self._order.accession_number)).classes("btn"):
                text("span", "Карточка")
        with ui.element("div").classes("card together"):
            self._reads = Memo(ui.element("div"))
            hint = "один пишет, второй подтверждает эти же слова"
            with ui.element("div").classes("writing"), theme.section("Решаем вместе", hint):
                self._note = text("p", "", "bad").props("role=alert")
                self._proposal = Memo(ui.element("div"))
                self._box = ui.element("div")
        self.show(found)
        if found.kept and found.opened.proposal is None and self._form:
            self._form.fill(found.kept[0])
            self._draft.kept = True
        self._draft.start()

    def read(self, reader: Reader) -> TogetherData | None:
        """Return the data of the page; None once it is decided."""
        return _read(reader, self._services, self._order.accession_number, self._actor)

    def show(self, found: TogetherData | None) -> None:
        """Draw what has changed; when it is decided, go to the report."""
        if found is None:
            ui.navigate.to(links.reading(self._order.accession_number))
            return
        self._found = found
        opened = found.opened
        self._reads.show((opened.reads, self._services.today()), lambda: self._draw_reads(opened.reads))
        proposal = opened.proposal
        self._proposal.show((proposal, self._form is not None), lambda: self._draw_proposal(proposal))
        if proposal is None and self._form is None:
            self._open_form()

    # ---- the two reads ----

    def _draw_reads(self, reads: tuple[Read, Read]) -> None:
        zone, today = self._services.clinic.zone, self._services.today()
        with theme.section("Мнения разошлись", words.procedure(self._order)):
            if self._order.comment:
                text("p", f"Анамнез: {self._order.comment}", "written")
            with ui.element("div").classes("two-reads"):
                for read in reads:
                    with ui.element("article"):
                        text("h3", names.short(read.reader_name))
                        if read.opinion:
                            theme.state_chip(read.opinion.finding.value, reading.said(read.opinion).capitalize())
                        text("span", words.moment(read.given_at, zone, today) if read.given_at else "", "muted small")
                        for part, classes in (
                            (read.description, "written"),
                            (read.conclusion, "written concluded"),
                            (read.recommendations, "written muted"),
                        ):
                            if part:
                                text("p", part, classes)
                        theme.button("Взять эти слова", lambda read=read: self._take(read), small=True)

    def _take(self, read: Read) -> None:
        if self._form is None:
            self._open_form()
        assert self._form is not None
        said = ReportText(read.description, read.conclusion, read.recommendations)
        self._form.take(read.opinion, said)

    # ---- what is proposed ----

    def _draw_proposal(self, proposal: JointDecision | None) -> None:
        if proposal is None:
            return
        is_own = proposal.writer == self._actor.name
        at = words.moment(proposal.proposed_at, self._services.clinic.zone, self._services.today())
        with ui.element("div").classes("row-line signed"):
            theme.state_chip("over_read", "Предложено")
            text("span", f"{self._name(proposal.writer)}, {at}", "muted small")
        theme.state_chip(proposal.opinion.finding.value, reading.said(proposal.opinion).capitalize())
        said = ReportText(**proposal.said)
        for part, classes in (
            (said.description, "written"),
            (said.conclusion, "written concluded"),
            (said.recommendations, "written muted"),
        ):
            if part:
                text("p", part, classes)
        if is_own:
            text("p", f"Ждёт подтверждения: {self._name(proposal.confirmer)}", "muted")
            self._draw_confirming_here(proposal)
        with ui.element("div").classes("acts").style("margin-top: 12px"):
            if not is_own:
                confirm = theme.button("Согласен, решаем так", lambda: self._confirm(proposal), kind="primary")
                confirm.set_visibility(self._form is None)
            if self._form is None:
                theme.button("Изменить", lambda: self._change(proposal))
            theme.button("Убрать предложение", self._withdraw)

    def _draw_confirming_here(self, proposal: JointDecision) -> None:
        """Let the other reader confirm at this screen, by their own password."""
        name = self._name(proposal.confirmer)
        with ui.element("details"):
            text("summary", f"{name} рядом: подтвердить здесь")
            with ui.element("div").classes("form"):
                field = labelled_field(
                    f"Пароль: {name}", name="together-password", span=6, narrow=12, props="type=password"
                )
            with ui.element("div").classes("acts").style("margin-top: 8px"):
                theme.button("Подтвердить и подписать", lambda: self._confirm_here(proposal, field))

    def _name(self, login: str) -> str:
        return next((names.short(read.reader_name) for read in self._found.opened.reads if read.reader == login), login)

    # ---- the form ----

    def _open_form(self) -> None:
        proposal = self._found.opened.proposal
        self._revision = proposal.revision if proposal else 0
        with self._box:
            self._form = DecisionForm(self._opinion_form, self._draft.touch)
            self._kept = text("p", "", "muted small").props("role=status")
            with ui.element("div").classes("acts").style("margin-top: 12px"):
                theme.button("Предложить решение", self._propose, kind="primary", key="Ctrl+Enter")
                if proposal:
                    theme.button("Не менять", self._leave)

    @property
    def _opinion_form(self) -> OpinionForm:
        return form_of(self._order.modality)

    def _change(self, proposal: JointDecision) -> None:
        with self._box:
            self._open_form()
            assert self._form is not None
            self._form.take(proposal.opinion, ReportText(**proposal.said))
            self.show(self._found)

    async def _leave(self) -> None:
        with self._box:
            await self._close_form()
            self.show(self._found)

    async def _close_form(self) -> None:
        self._form = None
        self._box.clear()
        await self._draft.keep()  # nothing: it is deleted

    def _content(self) -> dict[str, Any] | None:
        values = self._form.values if self._form else {}
        return dict(values) if any(values.values()) else None

    def _show_kept(self, note: str, bad: bool) -> None:
        if self._form is not None:
            self._kept.set_text(note)

    # ---- doing it ----

    async def _propose(self) -> None:
        form = self._form
        if form is None:
            return
        opinion, said = form.read()
        if opinion is None:
            form.show_problems({"opinion": "required"})
            return
        services, seen, revision = self._services, self._found.opened.images, self._revision
        order_id = self._order.id
        await self._do(
            lambda actor: services.store.write(
                joint_decisions.propose, order_id, revision, opinion, said, actor, services.clinic, seen
            )
        )

    async def _confirm(self, proposal: JointDecision) -> None:
        services, seen, order_id = self._services, self._found.opened.images, self._order.id
        await self._do(
            lambda actor: services.store.write(
                joint_decisions.confirm, order_id, proposal.revision, actor, services.clinic, seen
            )
        )

    async def _confirm_here(self, proposal: JointDecision, password: FormField) -> None:
        services, seen, order_id = self._services, self._found.opened.images, self._order.id
        request, typed = ui.context.client.request, str(password.value or "")
        address = request.client.host if request and request.client else ""

        def confirm(_: Actor) -> object:
            return confirm_by_password(services, order_id, proposal, typed, address, seen)

        password.value = ""
        await self._do(confirm)

    async def _withdraw(self) -> None:
        services, order_id = self._services, self._order.id
        await self._do(
            lambda actor: (services.store.write(joint_decisions.withdraw, order_id, actor, services.clinic), True)
        )

    def _say(self, said: str) -> None:
        self._note.set_text(said)

    async def _do(self, use_case: Callable[[Actor], object]) -> None:
        actor = current_actor(self._services)
        self._note.set_text("")
        try:
            done = await attempt(lambda: use_case(actor), let_pass=(Invalid,), report=self._say)
        except Invalid as caught:
            rest = self._form.show_problems(dict(caught.problems)) if self._form else str(caught)
            self._say(rest)
            return
        if done is not None:
            with self._box:  # the button that was pressed is gone with what it stood below
                await self._close_form()
                self.show(await read_as_viewer(self._services, self.read))


def confirm_by_password(
    services: Services, order_id: int, proposal: JointDecision, password: str, address: str, seen: SeenImages
) -> JointDecision:
    """Let the other reader confirm by their password at this screen: a sign-in of their own, which ends with it."""
    hours = services.settings.server.session_hours
    token = sessions.sign_in(services.store, services.throttle, proposal.confirmer, password, address, hours)
    other = sessions.actor_of(services.store, token)
    assert other is not None
    try:
        return services.store.write(joint_decisions.confirm, order_id, proposal.revision, other, services.clinic, seen)
    finally:
        services.store.write(sessions.sign_out, other)
