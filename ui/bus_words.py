"""Every Russian word of the exchange with the region: what goes and comes, what became of it, and what to do."""

from __future__ import annotations

from datetime import timedelta

from broker.domain.model import OutboxKind
from broker.store.incoming import ItemKind
from ui import words

MESSAGES = {
    OutboxKind.ORDER: "Направление",
    OutboxKind.AMEND: "Исправление",
    OutboxKind.CANCEL: "Отмена",
    OutboxKind.STARTED: "Начато",
    OutboxKind.IMAGES: "Снимки сделаны",
    OutboxKind.REPORT: "Протокол",
}
MESSAGES_TAKEN = {
    OutboxKind.ORDER: "направление",
    OutboxKind.AMEND: "исправление",
    OutboxKind.CANCEL: "отмену",
    OutboxKind.STARTED: "начало исследования",
    OutboxKind.IMAGES: "снимки",
    OutboxKind.REPORT: "протокол",
}
ARRIVALS = {
    ItemKind.REFERRAL: "Направление другой клиники",
    ItemKind.CANCEL: "Отмена от другой клиники",
    ItemKind.RESULT: "Результат другой клиники",
}

# How the exchange begins the reasons of what is no answer about the message itself.
_BUS_REASONS = {
    "cannot connect": "шина недоступна, соединение не устанавливается",
    "time-out": "шина не отвечает, время ожидания вышло",
    "name not found": "адрес шины не находится, проверьте его и сеть",
    "certificate refused": "сертификат шины не прошёл проверку",
    "client certificate refused": "шина не приняла сертификат клиники",
    "certificate files cannot be used": "файлы сертификатов не читаются",
    "proxy": "не пропускает прокси",
    "the bus takes no corrections": "эта шина исправлений не принимает; если важно, отмените и запишите новое",
    "the bus takes no news of a beginning": "эта шина не ждёт известий о начале",
    "the bus has given no id to this order": "шина не дала этому направлению номера",
    "no report of this order is signed": "протокол не подписан",
    "cannot be written as JSON": "сообщение не записывается",
    "TLS": "не удаётся защищённое соединение (TLS)",
    "token refused": "шина не приняла токен",
    "redirect refused": "шина отсылает к другому адресу",
    "not a FHIR answer": "по адресу шины отвечает что-то другое",
    "HTTP 429": "шина просит подождать (HTTP 429)",
    "date of birth unknown": "дата рождения пациента неизвестна, впишите её в направление",
}
_BUS_DETAILS = {
    "no connection": "соединение не установилось",
    "the connection broke": "соединение оборвалось",
    "the proxy does not let us through": "прокси не пропускает",
}


def bus_reason(reason: str) -> str:
    """Say why the bus did not take a message; what it said about the message itself is shown as it came."""
    for beginning, meaning in _BUS_REASONS.items():
        if reason.startswith(beginning):
            rest = reason.removeprefix(beginning).strip(" :,.()")
            return f"{meaning} ({_BUS_DETAILS.get(rest, rest)})" if rest else meaning
    if reason.startswith("HTTP "):
        return f"сбой на стороне шины ({reason})"
    return reason or "причина неизвестна"


def bus_remedy(reason: str) -> str:
    """Say what an administrator does about a pause."""
    if reason.startswith("client certificate"):
        return (
            "Регион не принял сертификат клиники: получите новый (bus.client_certificate) и нажмите «Повторить сейчас»."
        )
    if reason.startswith("certificate"):
        return (
            "Сертификат шины не проходит проверку: сверьте его с регионом (bus.ca_file) и нажмите «Повторить сейчас»."
        )
    return "Получите в регионе новый токен, запишите его в файл bus.token_file и нажмите «Повторить сейчас»."


def attempt(outcome: str, reason: str) -> str:
    """Say what an attempt ended with."""
    word = _OUTCOMES.get(outcome, outcome)
    if not reason:
        return word
    said = words.incoming_reason(reason) if outcome == "set_aside" else bus_reason(reason)
    return f"{word}: {said}"


_OUTCOMES = {
    "delivered": "Принято",
    "retry": "Не вышло",
    "parked": "Отказано",
    "untold": "Не передано",
    "taken": "Принято",
    "failed": "Не вышло",
    "set_aside": "Отложено",
}


def bus_trouble(channel: str, silent: timedelta | None) -> str:
    """Say what is wrong with the exchange; `silent` is how long the oldest message has waited."""
    since = f" {words.duration(silent)}" if silent and silent >= timedelta(minutes=1) else ""
    if channel == "paused":
        return (
            "Шина не принимает наш токен или сертификат, обмен стоит. Направления сохраняются. Позовите администратора."
        )
    if channel == "waiting":
        return f"Шина не отвечает{since}. Направления сохраняются и уйдут позже."
    return f"На шину ничего не уходит{since}. Направления сохраняются и уйдут позже."
