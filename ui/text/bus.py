"""Every Russian word of the exchange with the region: messages, their outcomes, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from broker.domain.incoming import ArrivalKind, IncomingReferral, IncomingState
from broker.domain.messages import (
    CONSENT_WITHDRAWN,
    IMAGES_NOT_SEEN,
    OTHER_PATIENT,
    SENDERS_PATIENT,
    OutboxKind,
    OutboxRow,
)
from broker.domain.patients.identifiers import show_policy, show_snils
from broker.domain.patients.incomplete import Missing
from ui.text import referral_fields, words

MESSAGES = {
    OutboxKind.ORDER: "Направление",
    OutboxKind.AMEND: "Исправление",
    OutboxKind.CANCEL: "Отмена",
    OutboxKind.STARTED: "Начато",
    OutboxKind.IMAGES: "Снимки сделаны",
    OutboxKind.REPORT: "Протокол",
    OutboxKind.APPENDED: "Протокол, снимков стало больше",
    OutboxKind.DECLINE: "Отказ от направления",
    OutboxKind.OPINION: "Мнение для другой клиники",
    OutboxKind.ASK_OPINION: "Просьба о мнении",
    OutboxKind.WITHDRAW_OPINION: "Отзыв просьбы о мнении",
}
MESSAGES_TAKEN = {
    OutboxKind.ORDER: "направление",
    OutboxKind.AMEND: "исправление",
    OutboxKind.CANCEL: "отмену",
    OutboxKind.STARTED: "начало исследования",
    OutboxKind.IMAGES: "снимки",
    OutboxKind.REPORT: "протокол",
    OutboxKind.APPENDED: "протокол с добавленными снимками",
    OutboxKind.DECLINE: "отказ от направления",
    OutboxKind.OPINION: "мнение для другой клиники",
    OutboxKind.ASK_OPINION: "просьбу о мнении",
    OutboxKind.WITHDRAW_OPINION: "отзыв просьбы о мнении",
}
ARRIVALS = {
    ArrivalKind.REFERRAL: "Направление другой клиники",
    ArrivalKind.CANCEL: "Отмена от другой клиники",
    ArrivalKind.RESULT: "Результат другой клиники",
}

# Beginnings of reasons that are not about the message itself.
_BUS_REASONS = {
    "cannot connect": "шина недоступна, соединение не устанавливается",
    "time-out": "шина не отвечает, время ожидания вышло",
    "name not found": "адрес шины не находится, проверьте его и сеть",
    "certificate refused": "сертификат шины не прошёл проверку",
    "client certificate refused": "шина не приняла сертификат клиники",
    "certificate files cannot be used": "файлы сертификатов не читаются",
    "proxy": "не пропускает прокси",
    "the bus takes no corrections": "эта шина исправлений не принимает; если важно, отмените и запишите новое",
    "the bus has the order and did not take its correction": "шина не приняла исправления: там прежние данные."
    " Позвоните в регион",
    "the bus does not accept the start of a study": "эта шина не ждёт известий о начале",
    "the bus has given no id to this order": "шина не дала этому направлению номера",
    "the referral is not declined any more": "направление уже не отклонено: направившая клиника его изменила",
    IMAGES_NOT_SEEN: "после подписи добавились снимки. Пусть врач откроет протокол"
    " и подтвердит его: тогда регион узнает и о них",
    CONSENT_WITHDRAWN: "пациент отозвал согласие на передачу данных в регион. Уйдёт само, когда согласие снова отметят"
    " в карте пациента",
    "the order is not cancelled any more": "аппарат всё же выполнил исследование, отмены больше нет",
    "the program failed at it": "в программе сбой, позовите администратора",
    "the bus refuses the search": "шина не даёт искать",
    "no report of this order is signed": "протокол не подписан",
    "cannot be written as JSON": "сообщение не записывается",
    "TLS": "не удаётся защищённое соединение (TLS)",
    "token refused": "шина не приняла токен",
    "redirect refused": "шина отсылает к другому адресу",
    "not a FHIR answer": "по адресу шины отвечает что-то другое",
    "HTTP 429": "шина просит подождать (HTTP 429)",
    "HTTP 406": "шина не отвечает в нашем формате, позовите администратора (HTTP 406)",
    "HTTP 413": "сообщение слишком велико для шины (HTTP 413)",
    "HTTP 415": "шина не принимает наш формат, позовите администратора (HTTP 415)",
}
INCOMPLETE = "Пациент известен не полностью"
# What the region's patient index demands: what is so, and what is to be completed.
_MISSING = {
    Missing.IDENTITY: ("неизвестно, кто это", ("фамилию", "имя")),
    Missing.CHILD_NAME: ("у новорождённого ещё нет имени", ("имя ребёнка",)),
    Missing.ONE_NAME: ("записано только одно имя", ("фамилию", "имя")),
    Missing.BIRTH_DATE: ("полная дата рождения неизвестна", ("дату рождения",)),
}
_INCOMPLETE = {
    "the patient is not identified": Missing.IDENTITY,
    "the newborn has no name yet": Missing.CHILD_NAME,
    "the patient has one name only": Missing.ONE_NAME,
    "date of birth unknown": Missing.BIRTH_DATE,
}
_BUS_DETAILS = {
    "no connection": "соединение не установилось",
    "the connection broke": "соединение оборвалось",
    "the proxy does not let us through": "прокси не пропускает",
}


def bus_reason(reason: str) -> str:
    """Return why the bus did not accept a message; a reason about the message itself is returned as it is."""
    if is_incomplete(reason):
        return lacking([_INCOMPLETE[part] for part in _parts(reason)])
    if reason.startswith(SENDERS_PATIENT):
        who = reason.removeprefix(SENDERS_PATIENT).strip(": ")
        return (
            f"направившая клиника прислала другие данные пациента ({who}). Сверьте и позвоните ей: когда она исправит"
            " их, уйдёт само; если это тот же человек, нажмите в карточке исследования «Данные верны, отправить»"
        )
    if is_other_patient(reason):
        who = reason.removeprefix(OTHER_PATIENT).strip(": ")
        return (
            f"регион записал это исследование на другие данные ({who}), и исправление до него не дошло. Позвоните в"
            " регион: когда данные там верны, нажмите в карточке исследования «Данные верны, отправить»"
        )
    for beginning, meaning in _BUS_REASONS.items():
        if reason.startswith(beginning):
            rest = reason.removeprefix(beginning).strip(" :,.()")
            return f"{meaning} ({_BUS_DETAILS.get(rest, rest)})" if rest else meaning
    if reason.startswith("HTTP "):
        return f"сбой на стороне шины ({reason})"
    return reason or "причина неизвестна"


def held_title(row: OutboxRow) -> str:
    """Return what is wrong with a message that needs attention, as a heading."""
    if row.reason == IMAGES_NOT_SEEN:
        return IMAGES_NOT_REPORTED
    if row.reason.startswith(SENDERS_PATIENT):
        return OTHER_PATIENT_OF_SENDER
    if is_other_patient(row.reason):
        return OTHER_PATIENT_IN_REGION
    if row.reason == CONSENT_WITHDRAWN:
        return NO_CONSENT
    return f"Шина не приняла {MESSAGES_TAKEN[row.kind]}"


OTHER_PATIENT_IN_REGION = "В регионе другие данные пациента"
OTHER_PATIENT_OF_SENDER = "У направившей клиники другие данные пациента"
NO_CONSENT = "Согласие пациента отозвано"
IMAGES_NOT_REPORTED = "Регион не знает о новых снимках"
CALL_ABOUT_IMAGES = (
    "Регион получил протокол ещё раз: снимков стало больше. Клиника, которая направила, могла прочитать его раньше:"
    " позвоните ей."
)


def waits_on_card(reason: str) -> bool:
    """Return True if a message is sent by a decision about its order: trying again by itself would change nothing."""
    return reason in (IMAGES_NOT_SEEN, CONSENT_WITHDRAWN) or is_other_patient(reason)


def is_other_patient(reason: str) -> bool:
    """Return True if a result waits because the region has its order under other data of the patient."""
    return reason.startswith(OTHER_PATIENT)


def held_chip(reason: str) -> str:
    """Return why a message of an order waits, as a sign of two or three words."""
    if is_incomplete(reason):
        return INCOMPLETE
    if reason.startswith(SENDERS_PATIENT):
        return OTHER_PATIENT_OF_SENDER
    if is_other_patient(reason):
        return OTHER_PATIENT_IN_REGION
    signs = {IMAGES_NOT_SEEN: IMAGES_NOT_REPORTED, CONSENT_WITHDRAWN: NO_CONSENT}
    return signs.get(reason, "Шина не приняла")


def is_incomplete(reason: str) -> bool:
    """Return True if the bus was not asked: the region does not take the patient before the card is completed."""
    return bool(reason) and all(part in _INCOMPLETE for part in _parts(reason))


def lacking(found: Sequence[Missing]) -> str:
    """Return what is not known of a patient, and what becomes of it once it is completed."""
    why = ", ".join(_MISSING[each][0] for each in found)
    *first, last = [part for each in found for part in _MISSING[each][1]]
    lacks = f"{', '.join(first)} и {last}" if first else last
    return f"{why}. Впишите в карту {lacks}, и на шину уйдёт само"


def _parts(reason: str) -> list[str]:
    # A row that was refused by an earlier version says more behind the colon.
    return [part.partition(":")[0] for part in reason.split("; ")]


def bus_remedy(reason: str) -> str:
    """Return what an administrator does about a paused exchange."""
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
    """Return the outcome of an attempt to send, in words."""
    waits = is_incomplete(reason) or is_other_patient(reason)
    word = "Ждёт данных пациента" if waits else _OUTCOMES.get(outcome, outcome)
    word = NO_CONSENT if reason == CONSENT_WITHDRAWN else word
    return f"{word}: {bus_reason(reason)}" if reason else word


_TASK_STATUSES = {  # FHIR R4 task-status of a referral that will not be performed
    "cancelled": "отменено",
    "rejected": "отказано",
    "failed": "не удалось",
    "entered-in-error": "записано по ошибке",
    "completed": "выполнено в другом месте",
}


def cancelled_because(reason: str) -> str:
    """Return why another clinic cancelled or declined a referral; a bare status of its Task is put into words."""
    return _TASK_STATUSES.get(reason, reason)


def arrival(state: str, reason: str) -> str:
    """Return the outcome of a received message, in words."""
    why = incoming_reason(reason) if state == "needs_attention" else bus_reason(reason)
    return f"{_ARRIVED[state]}: {why}"


_OUTCOMES = {
    "delivered": "Принято",
    "retry": "Не вышло",
    "needs_attention": "Отказано",
    "unsupported": "Не передано",
}
_ARRIVED = {
    "taken": "Принято",
    "failed": "Не вышло",
    "needs_attention": "Отложено",
}


def bus_trouble(channel: str, silent: timedelta | None) -> str:
    """Return what is wrong with the exchange; `silent` is how long the oldest message has waited."""
    since = f" {words.duration(silent)}" if silent and silent >= timedelta(minutes=1) else ""
    if channel == "paused":
        return (
            "Шина не принимает наш токен или сертификат, обмен стоит. Направления сохраняются. Позовите администратора."
        )
    if channel == "waiting":
        return f"Шина не отвечает{since}. Направления сохраняются и уйдут позже."
    return f"На шину ничего не уходит{since}. Направления сохраняются и уйдут позже."


# ---- incoming messages ----


def to_complete(found: Mapping[str, str]) -> str:
    """Return the fields that a person has to complete or check; empty if there are none."""
    return f"Дополнить или проверить: {referral_fields.listed(found) or 'поля'}" if found else ""


def may_be(lines: Sequence[str]) -> str:
    """Return who of ours the patient of a referral is like, each in words."""
    return f"Похож: это он? {'. '.join(lines)}" if lines else ""


def known_by_number(who: str) -> str:
    """Return who of ours the sender's number belongs to, and what to do about it."""
    return f"У нас это {who}. Если это он, исправьте его карту, потом запишите; если другой, просто запишите. "


def incoming_closed(state: IncomingState) -> str:
    """Return why another clinic's referral cannot be registered any more."""
    return {
        IncomingState.CANCELLED: "Направившая клиника его только что отменила: записывать не нужно.",
        IncomingState.ACCEPTED: "Это направление уже записано.",
        IncomingState.DECLINED: "Это направление отклонено.",
    }.get(state, "Это направление отложено, его нужно разобрать.")


def former(referral: IncomingReferral) -> dict[str, str]:
    """Return what the sender calls no longer valid, as hints: field -> words."""
    numbers = (
        ("snils", "Прежний СНИЛС, уже не действует", show_snils(referral.former_snils)),
        ("policy", "Прежний полис, уже не действует", show_policy(referral.former_policy)),
    )
    found = {key: f"{hint}: {number}" for key, hint, number in numbers if number}
    return found | ({"family": f"Прежнее имя: {referral.former_name}"} if referral.former_name else {})


# Why a received message was not accepted, by the beginning of the reason.
_INCOMING_REASONS = {
    "it is too large": "слишком большое",
    "it is nested too deep": "слишком глубоко вложено",
    "it does not say which clinic refers": "не сказано, какая клиника направляет",
    "the Patient has neither a name nor a number": "у пациента нет ни имени, ни номера",
    "a reference leads away from the bus": "ссылка ведёт за пределы шины",
    "a reference is missing": "не хватает части направления",
    "it refers to more than": "слишком много частей",
    "it is not a Task": "это не направление",
    "the ServiceRequest is not active": "направивший врач это направление не утвердил или отозвал",
    "the ServiceRequest is not an order": "это не направление, а предложение или план",
    "it asks for something not to be done": "в направлении сказано этого не делать",
    "it has an extension that changes its meaning": "в направлении есть пометка, которой мы не понимаем",
    "it is about another patient": "оно о другом пациенте",
    "it does not say about whom it is": "в нём не сказано, о ком оно",
    "a reference leads to nothing that it contains": "в нём не хватает данных, на которые оно ссылается",
    "changed after it was accepted": "изменено, когда уже было записано",
    "it answers a referral that was cancelled here": "направление мы уже отменили: прочитайте результат и решите с той"
    " клиникой, нужно ли ещё исследование",
    "it replaces a report that was taken before": "другая клиника изменила протокол, который уже был получен",
    "it was made by the former data of the referral": "сделано по прежним данным направления: сверьте с исправленными",
    "cancelled too late": "отменено, когда исследование уже началось",
}


def incoming_reason(reason: str) -> str:
    """Return why a received message was not accepted; an unknown reason is returned as it is."""
    for beginning, meaning in _INCOMING_REASONS.items():
        if reason.startswith(beginning):
            fields = reason.removeprefix(beginning).strip(" :").split(", ")
            different = referral_fields.listed([field for field in fields if field in referral_fields.LABELS])
            return f"{meaning}: {different}" if different else meaning
    return reason
