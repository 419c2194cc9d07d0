"""What a change of a card means for orders that devices and the region have: in words, and as a list."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from nicegui import ui

from broker.domain.orders import BusRole, OrderState
from broker.store.queries.patient_cards import OrderToMove
from ui.services import Services
from ui.text import words
from ui.widgets.memo import Memo
from ui.widgets.theme import text

MOST_LINES = 5
_NOT_SENT = {"phone", "mother"}  # fields of a card that the region is not sent a correction of


def draw_change(
    services: Services, box: Sequence[Memo], orders: Sequence[OrderToMove], changed: Collection[str]
) -> None:
    """Draw into two boxes what becomes of a patient's orders, and what the region learns, if fields of the card change.

    `changed` are fields as `patient_merge.changes` names them.
    """
    of_orders = order_lines(orders, is_changed=bool(changed))
    of_region = [("check", "Ничего: того, что знает регион, вы не меняли")]
    if set(changed) - _NOT_SENT:
        of_region = region_lines(services, orders)
    box[0].show(of_orders, lambda: draw_lines("Что станет с исследованиями", of_orders))
    box[1].show(of_region, lambda: draw_lines("Что скажем региону", of_region))


def region_lines(services: Services, concerned: Iterable[OrderToMove]) -> list[tuple[str, str]]:
    """Return what the region learns of these orders, and what people have to tell others: icon and sentence."""
    if not services.settings.has_bus and not services.clinic.sends_to_bus:
        return [("cloud_off", "Шины нет, сообщать некому")]
    lines = [line for each in concerned if each.known for line in _sent_lines(services, each)]
    rest = len(lines) - 2 * MOST_LINES
    if rest > 0:
        lines = [*lines[: 2 * MOST_LINES], ("more_horiz", f"и ещё {rest}")]
    return lines or [("check", "Регион об этих исследованиях ещё не знает: уйдут сразу верными")]


def order_lines(concerned: Sequence[OrderToMove], *, is_changed: bool) -> list[tuple[str, str]]:
    """Return what becomes of a patient's orders when the card is changed: icon and sentence."""
    if not is_changed:
        return [("check", "Пока ничего не изменено")]
    if not concerned:
        return [("check", "Исследований у пациента ещё нет")]
    count = words.plural(len(concerned), "исследование получит", "исследования получат", "исследований получат")
    devices = dict.fromkeys(name for each in concerned for name in each.devices)
    return [("list_alt", f"{count} новые данные")] + [
        ("monitor_heart", f"{name}: список уже получен с прежними данными, обновите его на аппарате")
        for name in list(devices)[:MOST_LINES]
    ]


def draw_lines(title: str, lines: Sequence[tuple[str, str]]) -> None:
    """Draw lines under a heading, each with its icon."""
    with ui.element("div").classes("head"):
        text("h2", title)
    with ui.element("ul").classes("plain"):
        for icon, line in lines:
            with ui.element("li"):
                ui.icon(icon).props("aria-hidden=true")
                text("span", line)


def _sent_lines(services: Services, each: OrderToMove) -> list[tuple[str, str]]:
    on = f"{each.visit.start:%d.%m.%Y}"
    found = []
    if each.order.bus_role is BusRole.PERFORMER:
        clinic = words.clinic(each.requester, each.order.requester or "")
        found.append(("forum", f"{on}: направление прислала {clinic}, поправить может только она. Сообщите ей"))
    elif each.order.bus_role is BusRole.PLACER:
        if services.settings.corrects_on_bus:
            found.append(("sync_alt", f"{on}: пошлём исправленное направление"))
        else:
            found.append(("sync_disabled", f"{on}: шина поправок не принимает, там останется прежняя карта"))
            if each.order.state is OrderState.REFERRED:
                found.append(("info", f"{on}: карточка предложит «Отменить там и направить заново»"))
    if each.results_sent:
        found.append(("description", f"{on}: результат уже отправлен, в нём прежние данные"))
    return found
