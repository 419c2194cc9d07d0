"""The Russian words that pages share: dates, durations, studies, names of roles, states and actions.

The words for errors are in `errors`, those for the exchange with the region in `bus`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta, tzinfo
from functools import lru_cache

from broker.domain.actors import ActorKind, Role
from broker.domain.audit import AuditAction
from broker.domain.clinic.devices import Device
from broker.domain.health import Check
from broker.domain.orders import Order, OrderState
from broker.domain.reading.reports import ReportDoubt
from broker.domain.studies.performed import ANOTHER_DEVICE, PerformedStep, StepSource
from broker.store.queries.schedule import Visit

ROLES = {
    Role.REGISTRAR: "регистратор",
    Role.TECHNOLOGIST: "рентгенолаборант",
    Role.RADIOLOGIST: "врач",
    Role.ADMINISTRATOR: "администратор",
}
ACTOR_KINDS = {
    ActorKind.PERSON: "",
    ActorKind.DEVICE: "аппарат",
    ActorKind.BUS: "шина",
    ActorKind.SYSTEM: "программа",
}

# Audit actions, as the timeline shows them.
AUDIT_ACTIONS: dict[AuditAction, str] = {
    AuditAction.REGISTER: "Направление записано",
    AuditAction.AMEND: "Направление изменено",
    AuditAction.CANCEL: "Направление отменено",
    AuditAction.START: "Начато на аппарате",
    AuditAction.PROGRESS: "Аппарат уточнил ход исследования",
    AuditAction.FINISH: "Закончено на аппарате",
    AuditAction.START_UNLINKED: "Аппарат начал исследование без направления",
    AuditAction.PROGRESS_UNKNOWN: "Аппарат уточнил исследование, о начале которого не сообщал",
    AuditAction.FINISH_UNKNOWN: "Аппарат закончил исследование, о начале которого не сообщал",
    AuditAction.OBJECT_RECEIVED: "Аппарат прислал отчёт или документ",
    AuditAction.OBJECT_TAKEN_OVER: "Текст отчёта аппарата взят в протокол",
    AuditAction.OBJECT_JOINED: "Отчёт аппарата отнесён к исследованию",
    AuditAction.OBJECT_TAKEN_AWAY: "Отчёт аппарата снят с исследования, ждёт решения",
    AuditAction.IMPORT: "Взято из файла рабочего списка",
    AuditAction.WITHDRAW: "Файл рабочего списка убран, запись снята",
    AuditAction.IMPORT_DISMISS: "Не принятое из файла убрано",
    AuditAction.RESTORE: "Файл рабочего списка вернулся, запись восстановлена",
    AuditAction.WITHDRAW_STEP: "Файл рабочего списка убран, один из этапов снят",
    AuditAction.RESTORE_STEP: "Файл рабочего списка вернулся, этап восстановлен",
    AuditAction.LINK: "Исследование привязано к направлению",
    AuditAction.CONFIRM_PATIENT: "Подтверждено: снимки этого пациента",
    AuditAction.UNLINK: "Исследование отвязано от направления: оно чужое",
    AuditAction.CLOSE: "Отмечено выполненным вручную",
    AuditAction.REPEAT_AVOIDED: "Не записано: такое уже делали",
    AuditAction.IMAGES_SEEN: "Снимки найдены в архиве: аппарат о них не сообщил",
    AuditAction.ARCHIVE_ACCEPT: "Решено: это исследование в архиве наше",
    AuditAction.ARCHIVE_DISMISS: "Решено: это исследование в архиве чужое",
    AuditAction.ARCHIVE_RECONSIDER: "Исследование в архиве снова ждёт решения",
    AuditAction.IMAGES_ADDED: "В архиве стало больше снимков",
    AuditAction.IMAGES_FEWER: "В архиве стало меньше снимков",
    AuditAction.IMAGES_RETURNED: "Снимки снова в архиве",
    AuditAction.IMAGES_REMOVED: "Снимки из архива откреплены",
    AuditAction.IMAGES_WAIVED: "Отмечено: снимков в архиве не будет",
    AuditAction.IMAGES_COUNT_ACCEPTED: "Отмечено: снимков в архиве столько, сколько нужно",
    AuditAction.DECLINE: "Направление другой клиники отклонено",
    AuditAction.ACKNOWLEDGE_LATE: "Запоздавшая отмена или правка направившей клиники принята к сведению",
    AuditAction.ACCEPT: "Направление другой клиники принято",
    AuditAction.BUS_CANCELLED_LATE: "Направившая клиника отменила, но исследование уже началось",
    AuditAction.BUS_NUMBER_TOO_LONG: "Номер шины длиннее 16 знаков: аппараты получают наш",
    AuditAction.REGISTER_WALK_IN: "Записано исследование без направления",
    AuditAction.EXPIRE: "Аппарат не сообщил о конце исследования, его закрыла программа",
    AuditAction.WRONG_ENTRY: "На аппарате выбрали не ту запись: направление снова ждёт, снимки чужие",
    AuditAction.REFERENCE_CONFLICT: "Аппарат назвал ещё и другое направление или пациента, проверьте",
    AuditAction.MPPS_REFUSED: "Сообщение аппарата не принято: нарушает стандарт",
    AuditAction.PATIENT_AMEND: "Данные пациента исправлены",
    AuditAction.CONSENT_GIVEN: "Пациент согласился на передачу данных",
    AuditAction.CONSENT_WITHDRAWN: "Пациент отозвал согласие на передачу данных",
    AuditAction.PATIENT_MERGE: "Карты пациента объединены",
    AuditAction.PATIENT_SPLIT: "Карты пациента разъединены",
    AuditAction.ORDER_DECIDED: "Решено, чьё направление",
    AuditAction.PATIENT_DIFFERENT: "Похожие карты: это разные люди",
    AuditAction.REPORT_DRAFT: "Начат черновик протокола",
    AuditAction.REPORT_SIGN: "Протокол подписан",
    AuditAction.REPORT_UPHOLD: "Подтверждено: протокол об этих снимках",
    AuditAction.REPORT_ADD: "Протокол дополнен",
    AuditAction.REPORT_CORRECT: "Протокол исправлен",
    AuditAction.REPORT_WITHDRAW: "Протокол отозван",
    AuditAction.REPORT_ATTACH: "К протоколу приложен файл",
    AuditAction.REPORT_ARCHIVED: "Протокол принят архивом снимков",
    AuditAction.REPORT_ARCHIVE_AGAIN: "Протокол ещё раз отправлен в архив снимков",
    AuditAction.READ_GIVE: "Снимки прочитаны",
    AuditAction.READ_TAKE_BACK: "Чтение возвращено",
    AuditAction.READ_DEFER: "Чтение отложено",
    AuditAction.READ_RESUME: "Чтение продолжено",
    AuditAction.READ_FREE: "Освобождено для других читателей",
    AuditAction.READ_ONCE: "Прочитать один раз",
    AuditAction.OPINION_ASK: "Спросили мнение другой клиники",
    AuditAction.OPINION_WITHDRAW: "Просьба о мнении отозвана",
    AuditAction.OPINION_COME: "Пришло мнение другой клиники",
    AuditAction.OPINION_REFUSED: "Другая клиника отказала в мнении",
    AuditAction.OPINION_GIVE: "Дано мнение для другой клиники",
    AuditAction.OPINION_MARK: "Направление признано просьбой о мнении",
    AuditAction.OVER_READ_ASK: "Попросили прочитать ещё раз",
    AuditAction.OVER_READ_ANSWER: "Прочитано ещё раз",
    AuditAction.OVER_READ_DECLINE: "Прочитать ещё раз отказались",
    AuditAction.OVER_READ_WITHDRAW: "Просьба прочитать ещё раз отозвана",
    AuditAction.TOGETHER_PROPOSE: "Предложено общее решение двух врачей",
    AuditAction.TOGETHER_WITHDRAW: "Предложенное общее решение убрано",
    AuditAction.TOGETHER_CONFIRM: "Два врача решили вместе",
    AuditAction.READING_SET: "Изменено, что читают дважды",
    AuditAction.DOSE_TYPED: "Вписана эффективная доза",
    AuditAction.DOSE_PROCEDURES_SET: "Изменён учёт доз по исследованиям",
    AuditAction.TEMPLATE_PUT: "Шаблон протокола сохранён",
    AuditAction.TEMPLATE_DELETE: "Шаблон протокола удалён",
    AuditAction.RESEND: "Отправлено на шину ещё раз",
    AuditAction.REGION_PATIENT_CONFIRMED: "Подтверждено: регион знает, чьи это результаты",
    AuditAction.EXCHANGE_GO_ON: "Обмен с шиной продолжен",
    AuditAction.SIGN_IN: "Вход",
    AuditAction.SIGN_IN_FAILED: "Вход не удался",
    AuditAction.SIGN_OUT: "Выход",
    AuditAction.ACCOUNT_ADD: "Заведена учётная запись",
    AuditAction.ACCOUNT_PASSWORD: "Сменён пароль",
    AuditAction.ACCOUNT_DISABLE: "Учётная запись отключена",
    AuditAction.ACCOUNT_ENABLE: "Учётная запись включена",
    AuditAction.DEVICE_PUT: "Аппарат записан",
    AuditAction.CLIENT_ADD: "Программе клиники дан доступ",
    AuditAction.CLIENT_TOKEN: "Программе клиники дан новый токен",
    AuditAction.CLIENT_DISABLE: "Доступ программы клиники закрыт",
    AuditAction.CLIENT_ENABLE: "Доступ программы клиники открыт",
    AuditAction.BUS_NUMBER_TAKEN: "Номер шины уже занят другим исследованием",
    AuditAction.INCOMING: "Пришло направление другой клиники",
    AuditAction.INCOMING_CANCELLED: "Другая клиника отменила своё направление",
    AuditAction.BUS_CHANGED_LATE: "Направившая клиника изменила направление, когда оно уже было принято",
    AuditAction.INCOMING_AGAIN: "Полученное сообщение разбираем ещё раз",
    AuditAction.RESULT: "Пришёл результат другой клиники",
    AuditAction.RESULT_CONFIRMED: "Результат другой клиники признан нашим",
    AuditAction.HISTORY: "Спросили регион о прежних исследованиях",
    AuditAction.REGION_ASK: "Спросили регион, кто это",
    AuditAction.REGION_TAKE: "Данные пациента взяты из региона",
    AuditAction.DIRECTORY_REPLACED: "Загружен справочник",
}
# Other events of the timeline: deliveries to devices, and answers of the bus.
EVENTS = {
    "seen": "Аппарат получил направление в свой список",
    "delivered": "Шина приняла",
    "retry": "Шина не приняла, будет новая попытка",
    "needs_attention": "Шина отказала, нужно исправить",
    "paused": "Обмен с шиной остановлен",
    "unsupported": "Шине не передано",
}
# All events of a timeline, by `OrderEvent.what`.
ACTIONS = {**EVENTS, **{str(action): text for action, text in AUDIT_ACTIONS.items()}}

# What a device, an archive or the bus says otherwise than a referral, by `identity.contradictions` and the numbers.
_CONTRADICTIONS = {
    "patient_name": "имя",
    "patient_id": "номер карты",
    "patient_birth_date": "дата рождения",
    "patient_sex": "пол",
    "accession_number": "номер направления",
    "study_instance_uid": "номер исследования",
    "referenced_study_uids": "номер исследования",
    "sps_id": "номер записи",
    "requested_procedure_id": "номер процедуры",
    ANOTHER_DEVICE: "аппарат",
}
_NOT_NUMBERS = {"patient_name", "patient_id", "patient_birth_date", "patient_sex", ANOTHER_DEVICE}
NUMBERS_OF_ORDERS = frozenset(_CONTRADICTIONS) - _NOT_NUMBERS
ENDED_BY_ANOTHER = (ANOTHER_DEVICE,)  # nothing contradicts but the device that has ended the step


def contradictions(fields: Iterable[str]) -> str:
    """Return the fields that do not agree, as a list in a sentence; each once."""
    return ", ".join(dict.fromkeys(_CONTRADICTIONS.get(field, field) for field in fields))


# ---- states ----


def visit_state(visit: Visit) -> str:
    """Return the key in theme.STATES of a visit's state: what is true of the patient comes first.

    What the bus has taken or refused is shown apart from it.
    """
    state = visit.order.state
    if visit.doubtful and state in (OrderState.IN_PROGRESS, OrderState.COMPLETED):
        return "attention"
    if state is OrderState.SCHEDULED:
        return "seen" if visit.seen_at else "waiting"
    if state is OrderState.COMPLETED:
        if visit.order.owner and not visit.station_ae_titles:
            return "answered"
        return "reported" if visit.reported else "archived" if visit.archived else "done"
    return {
        OrderState.IN_PROGRESS: "running",
        OrderState.DISCONTINUED: "stopped",
        OrderState.CANCELLED: "cancelled",
        OrderState.REFERRED: "referred",
    }[state]


def trouble(check: Check) -> str:
    """Return the sentence for a failed check: what it means and what to do."""
    return {
        "database": "База данных не принимает изменений: новое не сохраняется. Позовите администратора.",
        "dicom": "Порт DICOM закрыт: аппараты не видят список. Позовите администратора.",
        "pacs": "Архив не отвечает: неизвестно, дошли ли снимки. Проверьте его и сеть.",
        "forwarding": f"MPPS не доходит дальше: {check.detail}. Ничего не потеряно. Проверьте тот узел и сеть.",
    }.get(check.name, f"Не работает: {check.name}.")


WORKING = {
    "database": "База: пишет",
    "dicom": "Порт DICOM: открыт",
    "bus": "Шина: отвечает",
    "pacs": "Архив: отвечает",
    "forwarding": "Пересылка MPPS: доходит",
}


# ---- numbers, dates, times ----

MONTHS = (
    *("января", "февраля", "марта", "апреля", "мая", "июня"),
    *("июля", "августа", "сентября", "октября", "ноября", "декабря"),
)


def plural(count: int, one: str, few: str, many: str) -> str:
    """Return a number with its noun: 1 запись, 2 записи, 5 записей."""
    tens, units = abs(count) % 100, abs(count) % 10
    if units == 1 and tens != 11:
        return f"{count} {one}"
    return f"{count} {few if 2 <= units <= 4 and not 12 <= tens <= 14 else many}"


def day(on: date, today: date) -> str:
    """Return a date; yesterday, today and tomorrow as words."""
    near = {-1: "вчера", 0: "сегодня", 1: "завтра"}
    return near.get((on - today).days, f"{on:%d.%m.%Y}")


def moment(instant: datetime, zone: tzinfo, today: date) -> str:
    """Return an instant in the clinic's time: «09:12» today, «вчера 16:10», «02.03.2026 16:10»."""
    local = instant.astimezone(zone)
    return f"{local:%H:%M}" if local.date() == today else f"{day(local.date(), today)} {local:%H:%M}"


def duration(length: timedelta) -> str:
    """Return a length of time with its two largest units: «4 мин», «2 ч 10 мин», «3 дня 2 ч»."""
    minutes = max(0, int(length.total_seconds() // 60))
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return plural(days, "день", "дня", "дней") + (f" {hours} ч" if hours else "")
    if hours:
        return f"{hours} ч" + (f" {rest} мин" if rest else "")
    return f"{rest} мин" if rest else "меньше минуты"


def ago(length: timedelta) -> str:
    """Return how long ago something was, for use before «назад»: «5 минут», «2 часа», «3 дня»."""
    minutes = int(length.total_seconds() // 60)
    if minutes < 60:
        return plural(minutes, "минуту", "минуты", "минут")
    if minutes < 1440:
        return plural(minutes // 60, "час", "часа", "часов")
    return plural(minutes // 1440, "день", "дня", "дней")


def of_moment(instant: datetime, zone: tzinfo, today: date) -> str:
    """Return an instant for use after «от»: «сегодня 09:12», «вчера 14:10», «02.03.2026 14:10»."""
    local = instant.astimezone(zone)
    return f"{day(local.date(), today)} {local:%H:%M}"


def waiting(seconds: int) -> str:
    """Return a short wait: «8 с», «2 мин 5 с»."""
    return f"{seconds} с" if seconds < 60 else f"{seconds // 60} мин" + (f" {seconds % 60} с" if seconds % 60 else "")


# ---- studies, devices ----

WEEKDAYS = ("понедельник", "вторник", "среда", "четверг", "пятница", "суббота", "воскресенье")
REPORT_DOUBTS = {
    ReportDoubt.IMAGES_REMOVED: "Протокол подписан, а снимки потом отвязаны от направления: возможно, он не об этом"
    " пациенте. На шину он не уходит, пока врач не подтвердит; что уже ушло, так не отозвать.",
    ReportDoubt.IMAGES_FEWER: "После подписи снимков в архиве стало меньше. Посмотрите, что осталось: верен ли"
    " протокол? Что ещё не ушло на шину, ждёт врача.",
    ReportDoubt.IMAGES_ADDED: "После подписи добавились снимки. Посмотрите их: верен ли протокол?",
}
MODALITIES = {
    "CR": "Рентген (CR)",
    "CT": "КТ",
    "DX": "Рентген",
    "MG": "Маммография",
    "MR": "МРТ",
    "NM": "Сцинтиграфия",
    "PT": "ПЭТ",
    "RF": "Просвечивание",
    "US": "УЗИ",
    "XA": "Ангиография",
}
SIDES = {"L": "слева", "R": "справа", "B": "с двух сторон"}
# The usual short forms, for the columns of the board.
_SHORT = (
    ("Рентгенография ", ""),
    ("Флюорография", "ФЛГ"),
    ("Маммография", "ММГ"),
    ("Компьютерная томография", "КТ"),
    ("Магнитно-резонансная томография", "МРТ"),
    ("органов грудной клетки", "ОГК"),
    ("органов брюшной полости", "ОБП"),
    ("придаточных пазух носа", "ППН"),
    ("прямая проекция", "прямая"),
)
SERVICES = {
    "worklist": "Список",
    "mpps": "Ход исследования (MPPS)",
    "availability": "Снимки в архиве (IAN)",
    "storage": "Отчёты и документы",
    "echo": "Проверка связи",
}
CHARSETS = {
    "auto": "Автоматически",
    "ISO_IR 192": "UTF-8 (ISO_IR 192)",
    "ISO_IR 144": "Кириллица (ISO_IR 144)",
    "latin": "Латиница",
    "ISO_IR 100": "Латиница с западными буквами (ISO_IR 100)",
    "ISO_IR 101": "Латиница с центральноевропейскими (ISO_IR 101)",
    "ISO_IR 109": "Латиница с южноевропейскими (ISO_IR 109)",
    "ISO_IR 126": "Латиница и греческие (ISO_IR 126)",
    "ISO_IR 148": "Латиница с турецкими (ISO_IR 148)",
    "ISO 2022 IR 144": "Кириллица (ISO 2022 IR 144)",
    "ISO 2022 IR 100": "Латиница с западными буквами (ISO 2022 IR 100)",
    "ISO 2022 IR 101": "Латиница с центральноевропейскими (ISO 2022 IR 101)",
    "ISO 2022 IR 109": "Латиница с южноевропейскими (ISO 2022 IR 109)",
    "ISO 2022 IR 126": "Латиница и греческие (ISO 2022 IR 126)",
    "ISO 2022 IR 148": "Латиница с турецкими (ISO 2022 IR 148)",
}


def clinic(name: str, guid: str) -> str:
    """Return another clinic's name; the beginning of its GUID if the directory does not have it."""
    return name or (f"клиника {guid[:8]}…" if guid else "клиника не названа")


def born(on: date | int | None) -> str:
    """Return a birth date, or the year where no more is known (`Patient.born`)."""
    if isinstance(on, int):
        return f"{on} г. р."
    return f"{on:%d.%m.%Y}" if on else "дата рождения неизвестна"


# Why a step was discontinued, by the codes of PS3.16 CID 9300.
DISCONTINUATION = {
    "110500": "отменил врач",
    "110501": "неисправность аппарата",
    "110502": "назначено не то исследование",
    "110503": "аллергия на контраст",
    "110504": "пациент умер",
    "110505": "пациент отказался продолжать",
    "110506": "пациента забрали на лечение или операцию",
    "110507": "пациент не пришёл",
    "110508": "беременность",
    "110509": "исследование заменено из-за оплаты",
    "110510": "повторное направление",
    "110511": "отменило отделение",
    "110512": "назначена не та сторона",
    "110513": "причина не указана",
    "110514": "выбрана не та запись рабочего списка",
    "110515": "не позволило состояние пациента",
    "110516": "замена аппарата",
    "110521": "файлы неверного формата",
    "110522": "файлы этого вида не поддерживаются",
    "110523": "не все файлы на месте",
    "110524": "сбой носителя",
    "110526": "аппарат занят более срочным",
    "110527": "не хватает возможностей аппарата",
    "110528": "перенесено",
    "110529": "рекомендовано перенести",
    "110530": "исполнитель отклонил задание",
    "110533": "срок задания истёк",
    "113568": "контраст вышел за сосуд, видно на снимке",
}


def source_of_step(step: PerformedStep) -> str:
    """Return how it is known that a study was made if its device has not reported it; else empty."""
    if step.source is StepSource.ARCHIVE:
        return "снимки найдены в архиве"
    return "отмечено вручную" if step.source is StepSource.MANUAL else ""


def discontinuation(step: PerformedStep) -> str:
    """Return why a step was discontinued: in Russian if the code is known, else in the device's words; or empty."""
    reported = step.discontinuation_meaning or step.discontinuation_code
    reason = DISCONTINUATION.get(step.discontinuation_code, reported)
    return reason or ("сам аппарат о конце не сообщил" if step.provisional else "")


def device_place(device: Device) -> str:
    """Return a device with its room: «Рентген, каб. 14»; empty if it has neither a name nor a room."""
    return ", ".join(part for part in (device.name, device.room) if part)


def procedure(order: Order) -> str:
    """Return the procedure with its side: «Рентгенография коленного сустава, справа»."""
    return ", ".join(part for part in (order.procedure_name, SIDES.get(order.laterality, "")) if part)


def short_procedure(order: Order) -> str:
    """Return the same for a narrow column: «Коленного сустава, справа», «ФЛГ, прямая»."""
    return _shorten(procedure(order))


@lru_cache(1024)  # a day has few procedures
def _shorten(made: str) -> str:
    for long, short in _SHORT:
        made = made.replace(long, short)
    return made[:1].upper() + made[1:]


def heading(on: date, today: date) -> str:
    """Return a day as a heading: «Сегодня, 24 ноября», «Среда, 26 ноября»."""
    near = day(on, today)
    word = near if near.isalpha() else WEEKDAYS[on.weekday()]
    year = f" {on.year}" if on.year != today.year else ""
    return f"{word.capitalize()}, {on.day} {MONTHS[on.month - 1]}{year}"
