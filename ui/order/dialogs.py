"""What a person is asked before an order is cancelled, placed again, closed, or loses its images."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui

from broker.domain.actors import Actor
from broker.domain.orders import Order
from broker.domain.patients import names
from broker.security import permissions
from broker.security.permissions import Permission
from broker.workflow import outbox
from broker.workflow.referrals import referrals
from broker.workflow.studies import effective_doses, step_links
from ui.live import attempt, current_actor
from ui.reading.report import dose
from ui.services import Services
from ui.text import errors, links
from ui.widgets import theme
from ui.widgets.form_field import labelled_field
from ui.widgets.theme import text


class OrderDialogs:
    """The dialogs of one order's card: those that the person may answer. `order` returns the order as it is shown."""

    def __init__(self, services: Services, actor: Actor, order: Callable[[], Order]) -> None:
        self._services = services
        self._order = order
        self._seen = order().revision  # what the person saw when asking
        self._seen_patient = order().patient.revision
        self._step = ""  # SOP Instance UID of the performed step that the person wants to unlink
        if permissions.may(actor, Permission.CANCEL):
            self._ask_cancelling()
            self._ask_reissuing()
        if permissions.may(actor, Permission.RESEND):
            self._ask_sending()
        if permissions.may(actor, Permission.CLOSE):
            self._ask_closing()
        if permissions.may(actor, Permission.LINK):
            self._ask_unlinking()
        if permissions.may(actor, Permission.DOSE):
            self._ask_dose()

    def note_revision(self) -> None:
        """Note what the person sees now, who is about to be asked."""
        self._seen = self._order().revision
        self._seen_patient = self._order().patient.revision

    def note_step(self, uid: str) -> None:
        """Note the performed step (SOP Instance UID) that the person is about to be asked about."""
        self._step = uid

    def _ask_cancelling(self) -> None:
        order = self._order()
        title = f"Отменить направление {order.accession_number}, {names.short(order.patient.name)}?"
        with theme.dialog("cancel", title, danger="Отменить направление", on_danger=self._cancel, leave="Оставить"):
            consequence = "Оно пропадёт из списка аппарата и с доски."
            more = " Шина получит отмену." if self._services.clinic.sends_to_bus else ""
            text("p", consequence + more, "muted").style("margin: 8px 0 12px")
            self._reason = labelled_field("Причина", name="cancel-reason", hint="Например: пациент отказался")

    def _ask_reissuing(self) -> None:
        order = self._order()
        title = f"Направить заново: {names.short(order.patient.name)}?"
        with theme.dialog("reissue", title, danger="Направить заново", on_danger=self._reissue, leave="Оставить"):
            text(
                "p",
                f"Другая клиника получит отмену {order.accession_number} и новое направление под новым номером, с тем,"
                " что исправлено. Если пациент уже там, позвоните туда.",
                "muted",
            )

    async def _reissue(self) -> None:
        services, order, seen = self._services, self._order(), self._seen
        actor = current_actor(services)
        placed: list[Order] = []
        if await attempt(
            lambda: placed.append(services.store.write(referrals.reissue, order.id, seen, actor, services.clinic))
        ):
            ui.navigate.to(links.card(placed[0].accession_number))

    def _ask_sending(self) -> None:
        order = self._order()
        title = f"Отправить результаты: {names.short(order.patient.name)}?"
        with theme.dialog("send-results", title, danger="Отправить", on_danger=self._send, leave="Подождать"):
            text(
                "p",
                f"Они уйдут под тем пациентом, на которого регион записал {order.accession_number}. Отправляйте, когда"
                " узнали в регионе, что там тот же человек и его данные верны.",
                "muted",
            )

    async def _send(self) -> None:
        services, order, seen = self._services, self._order(), self._seen_patient
        actor = current_actor(services)
        if await attempt(lambda: services.store.write(outbox.send_under_patient_in_region, order.id, seen, actor)):
            theme.show_message(f"Снова в очереди на отправку: {order.accession_number}")

    async def _cancel(self) -> None:
        services, order, seen = self._services, self._order(), self._seen
        actor, reason = current_actor(services), str(self._reason.value or "")
        if await attempt(
            lambda: services.store.write(referrals.cancel, order.id, seen, reason, actor, services.clinic)
        ):
            theme.show_message(f"Направление {order.accession_number} отменено")

    def _ask_closing(self) -> None:
        order = self._order()
        title = f"Исследование {order.accession_number} выполнено?"
        with theme.dialog("close", title, danger="Отметить выполненным", on_danger=self._close, leave="Нет"):
            consequence = "Аппараты сообщают о конце сами; отмечайте вручную, если этот не сообщает."
            more = " Шина узнает, что снимки сделаны." if self._services.clinic.sends_to_bus else ""
            text("p", consequence + more, "muted")

    async def _close(self) -> None:
        services, order, seen = self._services, self._order(), self._seen
        actor = current_actor(services)
        if await attempt(lambda: services.store.write(step_links.close, order.id, seen, actor, services.clinic)):
            theme.show_message(f"Исследование {order.accession_number} отмечено выполненным")

    def _ask_dose(self) -> None:
        title = f"Эффективная доза, {names.short(self._order().patient.name)}"
        with ui.element("dialog").props("id=type-dose aria-labelledby=type-dose-title"):
            text("h2", title).props("id=type-dose-title")
            text(
                "p", "Она войдёт в лист учёта вместо рассчитанной; рассчитанная хранится. Пустое поле убирает.", "muted"
            )
            self._dose = labelled_field("Эффективная доза, мЗв", name="typed-dose", props="inputmode=decimal")
            with ui.element("div").classes("acts").style("margin-top: 16px"):
                theme.button("Не менять").props("data-closes autofocus")
                theme.button("Сохранить дозу", self._type_dose).classes("btn-primary").props("data-closes")

    async def _type_dose(self) -> None:
        services, order, actor = self._services, self._order(), current_actor(self._services)
        value, problem = dose.typed(str(self._dose.value or ""))
        if problem:
            theme.show_message(errors.PROBLEMS["effective_dose", problem])
            return
        if await attempt(lambda: services.store.write(effective_doses.type_dose, order.id, value, actor)):
            theme.show_message("Доза записана" if value is not None else "Вписанная доза убрана")

    def _ask_unlinking(self) -> None:
        order = self._order()
        title = f"Снимки не этого пациента, {names.short(order.patient.name)}?"
        with theme.dialog("unlink", title, danger="Отвязать", on_danger=self._unlink, leave="Оставить"):
            consequence = "Направление снова встанет в очередь на аппарат, а снимки будут ждать, чьи они, на доске."
            more = " Что уже ушло на шину, так не отозвать." if self._services.clinic.sends_to_bus else ""
            text("p", consequence + more, "muted")

    async def _unlink(self) -> None:
        services, order, uid = self._services, self._order(), self._step
        actor = current_actor(services)
        if await attempt(lambda: services.store.write(step_links.unlink, uid, order.id, actor, services.clinic)):
            theme.show_message(f"Отвязано: {order.accession_number}")
