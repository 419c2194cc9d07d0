"""«Мнения»: requests of other clinics that wait for a doctor, ours with their answers, and what was answered. Live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from nicegui import ui

from broker.domain.actors import Actor
from broker.domain.opinions.requests import asked_about
from broker.domain.patients import names
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.database import Reader
from broker.store.queries.opinions import opinion_lists
from broker.store.queries.opinions.opinion_lists import AskedByUs, AskedOfUs
from ui.layout.frame import frame
from ui.live import current_actor, follow, latest
from ui.services import Services
from ui.text import links, opinions, words
from ui.widgets import theme
from ui.widgets.memo import Memo
from ui.widgets.theme import text


def build(services: Services) -> None:
    """Add the route /opinions."""

    @ui.page("/opinions", title="Мнения")
    async def listed() -> None:
        actor = current_actor(services)
        with frame(services, actor, "/opinions"), ui.element("div").classes("page"):
            if not permissions.may(actor, Permission.REPORT):
                theme.empty("На просьбы о мнении отвечают врачи.", "Вам открыты доска и исследования.")
                return
            page = OpinionsPage(services, actor)
            refresh = latest(services, page.read, page.show)
            follow(services, refresh)
            await refresh()


@dataclass(frozen=True, slots=True)
class OpinionsPageData:
    """What the page is drawn from."""

    waiting: tuple[AskedOfUs, ...]
    ended: tuple[AskedOfUs, ...]
    ours: tuple[AskedByUs, ...]


class OpinionsPage:
    """One open page of opinions."""

    def __init__(self, services: Services, actor: Actor) -> None:
        self._services, self._actor = services, actor
        with ui.element("div").classes("page-head"):
            text("h1", "Мнения")
        self._waiting = Memo(ui.element("div"))
        self._ours = Memo(ui.element("div"))
        self._ended = Memo(ui.element("div"))

    def read(self, reader: Reader) -> OpinionsPageData:
        """Return the requests of others and ours."""
        return OpinionsPageData(
            tuple(opinion_lists.waiting_for_us(reader)),
            tuple(opinion_lists.ended_for_us(reader)),
            tuple(opinion_lists.asked_by_us(reader)),
        )

    def show(self, found: OpinionsPageData) -> None:
        """Draw what has changed; how long they wait changes with every minute."""
        now = self._services.store.clock()
        minute = now.replace(second=0, microsecond=0)
        self._waiting.show((found.waiting, minute), lambda: self._draw_waiting(found.waiting, now))
        self._ours.show((found.ours, minute), lambda: self._draw_ours(found.ours, now))
        self._ended.show((found.ended, self._services.today()), lambda: self._draw_ended(found.ended))

    def _draw_waiting(self, waiting: Sequence[AskedOfUs], now: datetime) -> None:
        with theme.section("Просят мнение", opinions.NOT_FOR_DEVICES if waiting else ""):
            if not waiting:
                theme.empty("Никто не просит мнения.", "Просьба другой клиники появится здесь.")
            with ui.element("div").classes("waits-list"):
                for each in waiting:
                    self._draw_one(each, now)

    def _draw_one(self, each: AskedOfUs, now: datetime) -> None:
        referral, today = each.referral, self._services.today()
        within = self._services.clinic.opinions.within(referral.priority)
        with ui.element("div").classes("income"):
            with ui.element("div").classes("who"):
                text("span", str(referral.patient.name) or "имя неизвестно", "name")
                text("span", f", {theme.born_and_age(referral.patient.born, today)}", "muted nowrap")
            if since := referral.received_at:
                waits = opinions.waits(since, within, now)
                with ui.element("span").classes("since small nowrap"):
                    if now - since >= within:
                        theme.state_chip("overdue", waits)
                    else:
                        text("span", waits, "muted")
            clinic = words.clinic(each.clinic, referral.requester or "")
            text("span", f"{opinions.study(referral)} · {clinic}", "what muted")
            text("p", f"«{asked_about(referral.comment).question or 'вопроса нет'}»", "bearer small")
            ui.link("Читать", f"/opinions/{referral.stored_id}").classes("btn")

    def _draw_ours(self, ours: Sequence[AskedByUs], now: datetime) -> None:
        if not ours:
            return
        rules = self._services.clinic.opinions
        with theme.section("Мы просим", str(len(ours))), ui.element("div").classes("waits-list"):
            for each in ours:
                request = each.request
                with ui.element("div").classes("income"):
                    with ui.element("div").classes("who"):
                        text("span", str(each.order.patient.name), "name")
                    with ui.element("span").classes("since small nowrap"):
                        waits = opinions.waits(request.asked_at, rules.within(request.priority), now)
                        if request.hangs(now, rules):
                            theme.state_chip("overdue", waits)
                        elif request.is_open:
                            text("span", waits, "muted")
                    clinic = words.clinic(each.clinic, request.partner)
                    text("span", f"{words.procedure(each.order)} · {clinic}", "what muted")
                    with ui.element("div").classes("bearer row-line"):
                        theme.state_chip(*opinions.STATES[request.state])
                        text("span", request.reason or f"«{names.cut(request.question, 120)}»", "small")
                    ui.link("Открыть", links.reading(each.order.accession_number)).classes("btn")

    def _draw_ended(self, ended: Sequence[AskedOfUs]) -> None:
        if not ended:
            return
        with theme.section("Отвечены", str(len(ended))):
            for each in ended:
                referral = each.referral
                with ui.element("div").classes("row-line").style("margin-top: 8px"):
                    theme.state_chip(*opinions.ENDED.get(referral.state, ("unknown", "")))
                    ui.link(names.short(referral.patient.name), f"/opinions/{referral.stored_id}")
                    clinic = words.clinic(each.clinic, referral.requester or "")
                    said = each.answer.conclusion if each.answer else referral.decline_reason
                    text("span", f"{clinic}: {opinions.study(referral)}. {names.cut(said, 120)}", "muted small cut")
