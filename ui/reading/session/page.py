"""Reading in a loop: the next case opens by itself, opinions are keys, the last ones can be taken back.

What is typed is kept as the reader's own draft. The words of others are drawn only for the third reader, who decides.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime

from nicegui import run, ui
from nicegui.events import KeyEventArguments

from broker.domain.actors import Actor
from broker.domain.errors import BrokerError, Invalid, Stale
from broker.domain.patients import names
from broker.domain.reading.opinions import Opinion, OpinionForm
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.database import Reader, StoreError
from broker.store.queries import directory_search
from broker.store.queries.reading import reading_cases
from broker.workflow.reading import reads, writing
from broker.workflow.reading.reports import ReportText
from ui.layout.frame import THEME_COOKIE, THEMES
from ui.live import attempt, current_actor, show_exception
from ui.reading import viewer_window
from ui.reading.session import case_view, frame
from ui.reading.session.cases import Session, SessionCase, open_one, take, wanted_of
from ui.reading.session.opinion_panel import PAUSE, OpinionPanel, PanelActions
from ui.services import Services
from ui.text import errors, links, reading, words
from ui.widgets import theme
from ui.widgets.form_field import labelled_field
from ui.widgets.theme import text
from ui.writing_windows import Place

_DEFER = "defer"


def build(services: Services) -> None:
    """Add the route /read; what is read stands in the address: `session.wanted_of`."""

    @ui.page("/read", title="Чтение")
    async def read() -> None:
        actor = current_actor(services)
        request = ui.context.client.request
        pinned = request.cookies.get(THEME_COOKIE, "dark") if request else "dark"
        dark = ui.dark_mode(THEMES.get(pinned, THEMES["dark"])[1])
        ui.on_exception(show_exception)
        ui.query("body").classes("room")
        if not permissions.may(actor, Permission.REPORT):
            theme.empty("Читают врачи.", "Подписанный протокол виден в карточке исследования.")
            return
        page = SessionPage(services, actor, Session(wanted_of(request.query_params if request else {})), dark)
        await page.go_on()


class SessionPage:
    """One open session of a reader."""

    def __init__(self, services: Services, actor: Actor, session: Session, dark: ui.dark_mode) -> None:
        self._services, self._actor, self._session, self._dark = services, actor, session, dark
        self._case: SessionCase | None = None
        self._panel: OpinionPanel | None = None
        self._clinics: dict[str, str] = {}
        self._revision = 0  # of the own draft
        self._drawn = self._began = time.monotonic()
        self._busy = asyncio.Lock()
        self._deferring = False
        self._viewer_opened = False  # in this session, by its key
        self._window = ui.context.client.id
        self._hold = ui.element("main").classes("grow reading-hold").props("id=main")
        self._toast = ui.element("div").classes("toast-hold").props("role=status")
        self._make_deferral()
        ui.keyboard(on_key=self._key, repeating=False, ignore=["input", "select", "textarea"])
        ui.timer(PAUSE / 3, self._keep_if_quiet)
        ui.context.client.on_disconnect(self._leave_case)

    # ---- cases ----

    async def go_on(self) -> None:
        """Open the next case and draw it, or the end of the session."""
        services, session, actor = self._services, self._session, current_actor(self._services)
        if session.is_over:
            self._show(None)
            return
        done = await attempt(lambda: take(services, session, actor))
        if done is None:
            return
        await self._show_case(done.value)
        if session.has_missed_first(done.value):
            next_one = "Открыт следующий." if done.value else ""
            _say_bad(f"Этот случай сейчас читает другой, или он уже прочитан. {next_one}".strip())

    async def _show_case(self, case: SessionCase | None) -> None:
        guids = {each.organisation for each in case.external if each.organisation} if case else set()
        self._clinics = (await run.io_bound(lambda: self._names_of(guids)) or {}) if guids else {}
        self._show(case)

    def _names_of(self, guids: set[str]) -> dict[str, str]:
        with self._services.store.read() as reader:
            known = {guid: directory_search.organisation_name(reader, guid) for guid in guids}
        return {guid: words.clinic(name, guid) for guid, name in known.items()}

    def _leave_case(self) -> None:
        """End the lease when the page is closed; the draft stays."""
        if self._case is None:
            return
        if not self._services.writing.close(self._place(self._case), self._window):
            return  # its reader has it open in another window, too
        try:
            self._services.store.write(writing.leave, self._case.opened.order.id, self._actor)
        except (BrokerError, StoreError):
            return  # it ends by itself

    # ---- keys ----

    async def _key(self, event: KeyEventArguments) -> None:
        if not event.action.keydown or event.action.repeat or event.modifiers.alt or event.modifiers.meta:
            return
        code = event.key.code
        digit = code.removeprefix("Digit").removeprefix("Numpad")
        is_digit = len(digit) == 1 and digit.isdigit()
        if event.modifiers.ctrl:
            if code == "KeyZ" and not self._deferring:
                await self._take_back()
        elif self._deferring:
            if is_digit and 1 <= int(digit) <= len(reading.DEFERRED_BECAUSE):
                await self._defer(reading.DEFERRED_BECAUSE[int(digit) - 1])
        elif self._case is None or self._panel is None or self._panel.text_is_open:
            return
        elif code == "KeyS" or (digit == "0" and self._case.form is OpinionForm.FINDINGS):
            await self._skip()
        elif code == "KeyD":
            self._deferring = True
            ui.run_javascript(f'document.getElementById("{_DEFER}").showModal()')
        elif code == "KeyV":
            self._show_images(self._case)
        elif code in ("ArrowLeft", "ArrowRight") and self._case.opened.arbitrates:
            self._take_words(0 if code == "ArrowLeft" else 1)
        elif is_digit:
            await self._digit(int(digit))

    async def _digit(self, digit: int) -> None:
        if self._panel is None:
            return
        if time.monotonic() - self._drawn < self._services.clinic.reading.pause_seconds:
            self._panel.say_early()
        else:
            await self._panel.press(digit)

    def _show_images(self, case: SessionCase) -> None:
        """Open the images in the viewer; without one, or without images, the study's card."""
        viewer, address = self._services.settings.viewer, self._images_of(case)
        if viewer and address:
            self._viewer_opened = True
            viewer_window.show(viewer, address)
        else:
            ui.navigate.to(links.card(case.opened.order.accession_number), new_tab=True)

    def _images_of(self, case: SessionCase | None) -> str:
        return links.images(self._services.settings.viewer, case.study.card) if case else ""

    def _take_words(self, place: int) -> None:
        """Let the third reader begin with the words of one of the two."""
        standing = self._case.opened.case.standing if self._case else ()
        if self._panel is None or len(standing) <= place or (opinion := standing[place].opinion) is None:
            return
        taken = standing[place]
        self._draw_case(taken.reader)
        self._panel.open_text(opinion, ReportText(taken.description, taken.conclusion, taken.recommendations))

    # ---- what a reader does ----

    async def _give(self, opinion: Opinion, said: ReportText) -> None:
        """Give an opinion on the case that is shown, and open the next one."""
        if self._busy.locked() or self._case is None or self._panel is None:
            return  # one press, one opinion
        async with self._busy:
            opened, services, revision = self._case.opened, self._services, self._revision
            actor, who = current_actor(services), names.short(opened.order.patient.name)
            try:
                done = await attempt(
                    lambda: services.store.write(
                        reads.give, opened.order.id, revision, opinion, said, actor, services.clinic, opened.images
                    ),
                    let_pass=(Invalid, Stale),
                    report=lambda why: _say_bad(f"Мнение не записано: {who}. {why}"),
                )
            except Invalid as caught:
                if "images" in caught.problems:
                    _say_bad(f"Мнение не записано: {who}. {errors.problem('images', caught.problems['images'])}")
                else:
                    self._panel.show_problems(opinion, caught.problems)
                return
            except Stale:
                _say_bad(f"Мнение не записано: {who} открыт и в другом окне, прочитайте его там")
                return
            if done is None:
                return
            self._session.count(opened.order.id, opinion)
            await self.go_on()
            self._show_toast(f"{reading.said(opinion).capitalize()}: {who}")

    async def _skip(self) -> None:
        """Put the case to the end of the session."""
        if self._case is None or self._busy.locked():
            return
        async with self._busy:
            self._leave_case()
            self._session.skip(self._case.opened.order.id)
            await self.go_on()

    async def _defer(self, reason: str) -> None:
        if self._case is None or self._busy.locked():
            return
        async with self._busy:
            order, services, actor = self._case.opened.order, self._services, current_actor(self._services)
            try:
                done = await attempt(
                    lambda: services.store.write(reads.defer, order.id, reason, actor, services.clinic),
                    let_pass=(Invalid,),
                )
            except Invalid as caught:
                self._reason.show_error(errors.problems(caught.problems))
                return
            if done is None:
                return
            ui.run_javascript(f'document.getElementById("{_DEFER}").close()')
            self._reason.value = ""
            self._session.defer(order.id)
            await self.go_on()
            self._show_toast(f"Отложено: {names.short(order.patient.name)}", undo=False)

    async def _take_back(self) -> None:
        """Take the last opinion back and open its case again."""
        if self._busy.locked():
            return
        async with self._busy:
            services, actor = self._services, current_actor(self._services)

            def back() -> SessionCase | None:
                with services.store.read() as reader:
                    held = _held(reader, actor.name, services.store.clock())
                if not held:
                    return None
                services.store.write(reads.take_back, held[0], actor, services.clinic)
                return open_one(services, held[0], actor)

            done = await attempt(back)
            if done is None:
                return
            if done.value is None:
                _say_bad("Возвращать нечего: мнения уже окончательны")
                return
            self._leave_case()
            self._session.uncount(done.value.opened.order.id, done.value.opened.own.opinion)
            await self._show_case(done.value)
            self._show_toast(f"Вернули: {names.short(done.value.opened.order.patient.name)}", undo=False)

    async def _finish(self) -> None:
        """Let everything that this reader still could take back stand now."""
        services, actor = self._services, current_actor(self._services)

        def finish() -> int:
            with services.store.read() as reader:
                held = _held(reader, actor.name, services.store.clock())
            return services.store.write(reads.finish, tuple(held), actor, services.clinic)

        done = await attempt(finish)
        if done is not None:
            theme.show_message(f"Завершено: {words.plural(done.value, 'мнение', 'мнения', 'мнений')}")
            self._show(None)

    async def _more(self) -> None:
        self._session = self._session.again()
        await self.go_on()

    # ---- the draft ----

    async def _keep_if_quiet(self) -> None:
        if self._panel is not None and self._panel.is_quiet and not self._busy.locked():
            async with self._busy:
                await self._keep()

    async def _keep(self) -> None:
        """Save what is typed as the reader's own draft."""
        panel = self._panel
        if self._case is None or panel is None or not panel.text_is_open:
            return
        services, order, opinion, said = self._services, self._case.opened.order, panel.opinion, panel.typed()
        revision, actor = self._revision, current_actor(services)
        try:
            done = await attempt(
                lambda: services.store.write(reads.keep, order.id, revision, opinion, said, actor, services.clinic),
                let_pass=(Invalid, Stale),
                report=lambda why: panel.show_note(f"Черновик не сохранён. {why}"),
            )
        except Invalid as caught:
            panel.show_note(f"Черновик не сохранён. {errors.problems(caught.problems)}")
            return
        except Stale:
            panel.show_note("Черновик не сохранён: случай открыт и в другом окне")
            return
        if done is not None:
            self._revision = done.value.revision
            panel.show_note("Черновик сохранён")

    async def _close_text(self) -> None:
        """Go back to the opinions; what was typed stays as the draft."""
        if self._busy.locked() or self._case is None or self._panel is None:
            return
        async with self._busy:
            await self._keep()
            order_id, actor = self._case.opened.order.id, current_actor(self._services)
            done = await attempt(lambda: open_one(self._services, order_id, actor))
            if done is not None:
                self._case = done.value
                self._draw_case()
                self._panel.close_text(done.value)

    # ---- drawing ----

    def _place(self, case: SessionCase) -> Place:
        return Place(case.opened.order.id, self._actor.name)

    def _show(self, case: SessionCase | None) -> None:
        if self._case:
            self._services.writing.close(self._place(self._case), self._window)
        if case:
            self._services.writing.open(self._place(case), self._window)
        self._case, self._panel = case, None
        viewer, address = self._services.settings.viewer, self._images_of(case)
        if viewer and self._viewer_opened:
            viewer_window.follow(viewer, address)
        self._revision = case.opened.own.revision if case else 0
        self._hold.clear()
        with self._hold:
            minutes = int((time.monotonic() - self._began) / 60)
            frame.draw_bar(self._session, case, self._actor.title or self._actor.name, minutes, self._dark)
            if case is None:
                hold = self._services.clinic.reading.hold_minutes
                frame.draw_end(self._session, hold, minutes, more=self._more, finish=self._finish)
                return
            with ui.element("div").classes("casegrid" + (" three" if case.opened.arbitrates else "")):
                self._left = ui.element("section").classes("case").props("aria-label=Случай")
                self._panel = OpinionPanel(case, PanelActions(self._give, self._digit, self._close_text))
            frame.draw_foot(case, self._services.clinic.zone, opens_images=bool(address))
        self._draw_case()
        self._drawn = time.monotonic()

    def _draw_case(self, taken: str = "") -> None:
        assert self._case is not None
        services = self._services
        waits = words.duration(services.store.clock() - self._case.study.card.since)
        self._left.clear()
        with self._left:
            shown = case_view.write(self._case, self._clinics, services.now(), waits, taken=taken)
            theme.html_element("div", shown, "case-words")

    def _show_toast(self, said: str, *, undo: bool = True) -> None:
        self._toast.clear()
        with self._toast:
            frame.draw_toast(said, undo=undo)

    def _make_deferral(self) -> None:
        with ui.element("dialog").props(f"id={_DEFER} aria-labelledby={_DEFER}-title") as dialog:
            text("h2", "Отложить случай").props(f"id={_DEFER}-title")
            text("p", "Он уйдёт из всех списков и вернётся, когда причину уберут.", "muted small")
            with ui.element("div").classes("reasons"):
                for number, reason in enumerate(reading.DEFERRED_BECAUSE, 1):
                    theme.button(reason, lambda _, reason=reason: self._defer(reason), key=str(number))
            self._reason = labelled_field("Другая причина", name="defer-reason", narrow=12)
            with ui.element("div").classes("acts"):
                theme.button("Отложить", lambda: self._defer(str(self._reason.value or "")))
                theme.button("Не откладывать").props("data-closes")
        dialog.on("close", self._end_deferring)

    def _end_deferring(self) -> None:
        self._deferring = False


def _held(reader: Reader, login: str, now: datetime) -> list[int]:
    """Return the orders (ids) whose reads this reader can take back, the last one first."""
    return [each.order.id for each in reading_cases.held(reader, login, now)]


def _say_bad(said: str) -> None:
    theme.show_message(said, bad=True)
