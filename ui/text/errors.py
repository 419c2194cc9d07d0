"""Every Russian word about errors: problems of fields, refusals, failures, and how to fix them.

An unknown code gets a general sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, tzinfo

from broker.domain.audit import AuditAction
from broker.domain.errors import BrokerError, Invalid
from broker.domain.orders import OrderState
from broker.domain.patients.correction import CONTRADICTS_MADE, CONTRADICTS_OTHERS
from broker.security.sessions import TooManyAttempts
from broker.store.database import StoreError
from broker.store.queries.order_card import OrderEvent
from ui.text import referral_fields, words

# The sentence says what is wrong and how to fix it; (field, code) is looked up first, then the code alone.
PROBLEMS: dict[tuple[str, str], str] = {
    **referral_fields.PROBLEMS,
    ("patient", "same_card"): "Это одна и та же карта",
    ("patient", "declared_different"): "Тем временем решили, что это разные люди. Откройте сравнение заново",
    ("orders", "undecided"): "После объединения появились направления. Ответьте про каждое, чьё оно",
    ("snils", "two_people"): "СНИЛС разные и оба верны: это два человека. Объединить нельзя",
    ("policy", "two_people"): "Полисы разные и оба верны: это два человека. Объединить нельзя",
    ("reason", "no_images"): "Напишите, где снимки или почему их нет",
    ("reason", "required"): "Напишите: без этого не подписать",
    ("reason", "too_long"): "Не больше 4 000 знаков",
    ("defer_reason", "required"): "Напишите, почему случай отложен",
    ("defer_reason", "too_long"): "Не больше 500 знаков",
    (
        "asked_of",
        "unknown",
    ): "Этого врача попросить нельзя: он уже читал исследование или больше не описывает",
    ("question", "too_long"): "Не больше 500 знаков",
    ("partner", "unconfirmed"): "Подтвердите: без этого не спросить",
    ("partner", "unknown"): "Эту клинику спросить нельзя: её нет в настройках",
    ("partner", "consent"): "Пациент отозвал согласие на передачу данных, спросить нельзя",
    ("opinion_question", "required"): "Напишите, о чём спрашиваем",
    ("opinion_question", "too_long"): "Не больше 300 знаков",
    ("over_read_reason", "required"): "Напишите, почему",
    ("over_read_reason", "too_long"): "Не больше 500 знаков",
    ("name", "taken"): "Шаблон с таким названием уже есть",
    ("conclusion", "unchanged"): "Текст тот же, что и был: исправлять нечего",
    ("conclusion", "required"): "Напишите заключение: без него не подписать",
    ("description", "too_long"): "Не больше 20 000 знаков",
    ("conclusion", "too_long"): "Не больше 4 000 знаков",
    ("recommendations", "too_long"): "Не больше 4 000 знаков",
    ("effective_dose", "unreadable"): "Напишите дозу числом, например 0,03",
    ("effective_dose", "range"): "Доза от 0 до 1000 мЗв, проверьте единицы",
    ("patient_name", "contradicts"): "На снимках другое имя. Откройте заново и сверьте",
    ("patient_id", "contradicts"): "На снимках номер другой карты. Откройте заново и сверьте",
    ("patient_birth_date", "contradicts"): "На снимках другая дата рождения. Откройте заново и сверьте",
    ("patient_sex", "contradicts"): "На снимках другой пол. Откройте заново и сверьте",
    ("images", "other_patient"): "На аппарате назван другой пациент. Пусть сначала подтвердят, чьи это снимки",
    ("images", "undecided"): "Неизвестно, чьё это направление: карты разъединили. Пусть сначала решат в карточке",
    ("images", "disputed"): "В архиве эти снимки названы иначе. Пусть сначала решат, чьи они",
    ("images", "changed"): "Пока вы писали, снимки изменились. Посмотрите их слева и подпишите снова",
    ("images", "none"): "Снимки делали не у нас, описывать здесь нечего",
    ("images", "unfinished"): "Исследование ещё не закончено. Подписать можно, когда аппарат его закончит",
    ("login", "letters"): "Латинские буквы, цифры, точка, дефис; от 2 до 32 знаков",
    ("password", "too_short"): "Не короче 8 знаков",
    ("full_name", "required"): "Напишите фамилию и инициалы",
    ("roles", "required"): "Выберите хотя бы одну роль",
    ("ae_title", "letters"): "До 16 латинских букв и цифр, как на аппарате",
    ("name", "required"): "Напишите название",
    ("modality", "letters"): "Две–четыре латинские буквы, например DX",
    ("charset", "unknown"): "Выберите кодировку из списка",
    ("address", "address"): "IP-адрес вида 10.0.4.14; несколько пишите через запятую",
    ("longest", "range"): "Целое число от 8 до 64",
    ("days_before", "range"): "Целое число дней от 0 до 365",
    ("days_after", "range"): "Целое число дней от 0 до 365",
    ("closed_hours", "range"): "Целое число часов от 0 до 720",
    ("mpps_hours", "range"): "Целое число часов от 1 до 168",
}
BY_CODE = {
    "required": "Заполните это поле",
    "name_letters": "Только буквы, дефис, точка и пробел; цифры и знаки уберите",
    "too_long": "Слишком длинно, сократите",
    "unreadable": "Не удаётся прочитать, проверьте",
    "range": "Число вне разумных пределов, проверьте",
    "unknown": "Такого больше нет, выберите из списка",
    CONTRADICTS_MADE: "По прежним данным уже сделаны исследования. Это исправляют в карте пациента: «Изменить»",
    CONTRADICTS_OTHERS: "У пациента есть и другие направления. Это исправляют в карте пациента: «Изменить»",
    "other_patient": "Это записано на другого человека",
}
ERRORS = {
    "forbidden": "На это у вас нет прав. Если они нужны, скажите администратору",
    "session_ended": "Вы вышли или время входа истекло. Войдите снова",
    "wrong_state": "Уже нельзя: состояние направления изменилось",
    "occupied": "Сейчас здесь пишет другой врач. Подождите, пока он закончит",
    "stale": "Пока вы смотрели, это изменил кто-то другой. Откройте заново",
    "duplicate": "Такое уже есть",
    "not_found": "Этого больше нет",
    "wrong_password": "Имя или пароль не подходят. Проверьте раскладку и Caps Lock",
}
BROKEN = "Сбой программы, действие не выполнено. Повторите; если не поможет, позовите администратора"
STOPPING = "Программа останавливается, не сохранено. Повторите через минуту, набранное не пропадёт"


def problem(field: str, code: str) -> str:
    """Return what is wrong with a field and how to fix it."""
    return PROBLEMS.get((field, code)) or BY_CODE.get(code) or "Проверьте это поле"


def problems(found: Mapping[str, str]) -> str:
    """Return several problems in one line, for places without fields."""
    return "; ".join(problem(field, code) for field, code in found.items())


def error(caught: BaseException) -> str:
    """Return the sentence for an error."""
    if isinstance(caught, TooManyAttempts):
        return f"Слишком много попыток. Подождите {words.waiting(caught.seconds)}."
    if isinstance(caught, Invalid):
        return problems(caught.problems)
    if isinstance(caught, BrokerError):
        return ERRORS.get(caught.code, BROKEN)
    if isinstance(caught, StoreError):
        return "Не сохранено: база данных не принимает изменений. Позовите администратора, набранное не закрывайте"
    return BROKEN


# Actions of others on an order while its form is open, which the form must not overwrite.
_CHANGES = (
    AuditAction.AMEND,
    AuditAction.CANCEL,
    AuditAction.START,
    AuditAction.PROGRESS,
    AuditAction.FINISH,
    AuditAction.LINK,
    AuditAction.UNLINK,
    AuditAction.CLOSE,
    AuditAction.EXPIRE,
)


def changed_meanwhile(events: Iterable[OrderEvent], zone: tzinfo, today: date) -> str:
    """Return who changed the order first, when, and how; `events` come newest first."""
    for each in events:
        at = words.moment(each.at, zone, today)
        amended = each.what in (AuditAction.AMEND, AuditAction.PATIENT_AMEND)
        if amended and (changed := referral_fields.listed(each.details.get("changed", {}))):
            return f"Пока вы правили, изменилось: {changed} ({each.actor}, {at})"
        if each.what in _CHANGES:
            return f"Пока вы правили: {words.ACTIONS[each.what].lower()} ({each.actor}, {at})"
    return ERRORS["stale"]


def not_amendable(state: OrderState) -> str:
    """Return why a referral cannot be changed any more."""
    return {
        OrderState.IN_PROGRESS: "Исследование уже идёт на аппарате.",
        OrderState.COMPLETED: "Исследование уже выполнено.",
        OrderState.CANCELLED: "Направление отменено. Запишите новое.",
    }.get(state, "Состояние этого не позволяет.")
