"""Russian sentences about a device: what it sends, suggested settings, notes.

Codes in, sentences out. A code without a sentence is shown as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, tzinfo

from broker.domain.clinic.device_advice import RuleResult, Suggestion
from broker.domain.clinic.devices import Device
from broker.domain.clinic.turned_away import TurnedAway, TurnedAwayReason
from broker.store.queries.device_registry import TURNED_AWAY, DeviceContacts
from ui.text import words

MASKED = "•••"
FALLBACKS = {"ISO_IR 144": "ISO_IR 144", "ISO_IR 192": "UTF-8", "windows-1251": "Windows-1251"}
# Marks in samples, in place of values that may name a patient.
_ALPHABETS = {
    "cyrillic": "кириллица",
    "latin": "латиница",
    "mixed": "кириллица и латиница вперемешку",
    "digits": "цифры",
    "question marks": "вопросительные знаки",
    "other": "другие знаки",
}
_MARK = re.compile(r"‹([^›]*)›")


def suggestion(found: Suggestion) -> str:
    """Return what was learned: a fact about the device, or why a setting should be another one."""
    sentence = _LEARNED.get(found.code, found.code)
    return sentence.format_map(_SuggestionDetails(found.details))


def remedy(found: Suggestion) -> str:
    """Return what applying a suggestion changes: «Кодировка имён: латиница»."""
    value = found.value
    if found.field == "modality":
        return f"Вид аппарата: {value}"
    if found.field == "charset":
        return f"Кодировка имён: {words.CHARSETS.get(str(value), str(value))}"
    if found.field == "fallback_charset":
        return f"Читать его буквы как {FALLBACKS.get(str(value), str(value))}"
    if found.field == "strict_mpps":
        return "Принимать MPPS с пропусками"
    return found.field


_LEARNED = {
    "charset_declared": "Называет кодировку {term}, в ней и отвечаем",
    "charset_bogus": "Называет кодировку с ошибкой ({term}), понимаем её как {meant}",
    "charset_none": "Кодировку не называет",
    "charset_latin": "Называет только латинскую кодировку {term}: кириллицу, скорее всего, не покажет",
    "charset_unknown": "Называет неизвестную кодировку {term}",
    "letters_undeclared": "Пишет русские буквы, не называя кодировку; похоже на {code}",
    "letters_misdeclared": "Пишет русские буквы (похоже на {code}), а называет {term}",
    "letters_answer": "Раз пишет по одному байту на букву, то и читать умеет, скорее всего, {code}",
    "query_question_marks": "В поиске по имени присылает вопросительные знаки: кириллицу набрать не может. Ищите"
    " на нём по номеру исследования или номеру карты",
    "names_lost": "Имя пациента вернулось вопросительными знаками: наших букв аппарат не понимает",
    "names_intact": "Имена кириллицей возвращает без потерь",
    "station_own": "Спрашивает только свои записи (свой AE title)",
    "station_none": "Свой AE title в запросе не присылает: чьи записи показать, решает настройка",
    "station_other": "Спрашивает записи для «{asked}», а сам называется иначе: направления на него он не найдёт",
    "date_none": "Даты не спрашивает: сколько дней показать, решает настройка",
    "date_one": "Спрашивает один день",
    "date_range": "Спрашивает промежуток дней",
    "date_odd": "Пишет дату не по стандарту: «{asked}»",
    "keys": "Просит полей: {count}",
    "keys_missing": "Не просит обязательных полей: {keys}. Некоторым аппаратам без них список кажется пустым",
    "keys_unknown": "Просит полей, которых у нас нет: {keys}",
    "modality": "Работает как {reported}, а записан как {configured}",
    "modality_new": "Работает как {reported}",
    "mpps_seen": "Сообщает о ходе исследований (MPPS)",
    "mpps_never": "Ни разу не сообщил о ходе исследования (MPPS): выполненное отмечают люди",
    "mpps_no_end": "Сообщает о начале исследований, а о конце ни разу",
    "mpps_incomplete": "В сообщениях о начале не хватает: {keys}",
}


def note(kind: str, text: str, count: int, when: str) -> str:
    """Return what was noted of a device, when last, and how often."""
    sentence = _NOTES.get(kind, "{text}" if text else kind).format(text=_russian(kind, text))
    times = f", {words.plural(count, 'раз', 'раза', 'раз')}" if count > 1 else ""
    return f"{sentence} ({when}{times})"


def _russian(kind: str, text: str) -> str:
    """Return the text of a note in Russian; a text that this program did not write is returned as it is."""
    if kind in ("mpps_create", "mpps_set", "mpps_final"):
        parts = text.split("; ")
        found = [f"{_RULES[match[2]]} {match[1]}" for match in map(_RULE.fullmatch, parts) if match]
        more = f" и ещё {len(parts) - len(found[:SHOWN])}" if len(parts) > len(found[:SHOWN]) else ""
        return ", ".join(found[:SHOWN]) + more if found else text
    for pattern, write in _TEXTS:
        if match := pattern.fullmatch(text):
            return write(match)
    return text


SHOWN = 4  # missing attributes that are named
_RULES = {"missing": "нет", "empty": "пусто"}
_RULE = re.compile(r"(?:\w+ > )*(\w+) is (missing|empty)")
_TEXTS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (
        re.compile(r"order (\S+): (\d+) \D+?(?:, and so for (\d+) other orders)?"),
        lambda match: (
            f"направление {match[1]}, мест: {match[2]}" + (f", и ещё направлений: {match[3]}" if match[3] else "")
        ),
    ),
    (re.compile(r"(\w+) was question marks only\b.*"), lambda match: match[1]),
    (re.compile(r"a step was not ended, its last message came at (.+)"), lambda match: f"последняя весть {match[1]}"),
    (
        re.compile(r"a step for (\S+) names another order or patient by (.+)"),
        lambda match: f"{match[1]}, не сходится {words.contradictions(match[2].split(', '))}",
    ),
    (re.compile(r"(?:not a|no) number: (.+)"), lambda match: match[1]),
    (re.compile(r"document"), lambda match: "документ"),
    (re.compile(r"report"), lambda match: "отчёт"),
)
_NOTES: Mapping[str, str] = {
    "charset": "Буквы, которых нет в кодировке аппарата, написаны другими: {text}",
    "cut": "Имена и описания укорочены под экран аппарата: {text}",
    "undecodable_name": "В поиске пришли вопросительные знаки вместо букв ({text}), никого не нашли",
    "mpps_create": "Сообщение о начале исследования неполное, взяли что есть: {text}",
    "mpps_set": "Сообщение о ходе исследования неполное, взяли что есть: {text}",
    "mpps_final": "Сообщение о конце исследования неполное, взяли что есть: {text}",
    "mpps_dose": "Доза в сообщении о ходе исследования не число: {text}",
    "mpps_unfinished": "О конце исследования не сообщил, его закрыли по времени: {text}",
    "other_lists": "Спросил записи других аппаратов, их не показали: {text}. Если так надо, разрешите в настройках",
    "mpps_held": "Закончил исследование, которое начал другой аппарат; ждёт, пока посмотрит человек: {text}",
    "mpps_unreadable": "Сообщение о ходе исследования прочитать не удалось, исследование осталось как было: {text}",
    "mpps_not_forwarded": "Узел, которому пересылается MPPS, не принял сообщение: {text}",
    "object_too_long": "Прислал {text} длиннее, чем принимается (dicom.max_message, dicom.max_document), не взяли",
    "object_unreadable": "Присланный отчёт прочитать не удалось, не взяли: {text}",
    "object_changed": "Под номером уже принятого отчёта прислал другой, не взяли; номер отчёта: {text}",
    "mpps_foreign": "Сообщил об исследовании, которое начал другой аппарат: {text}",
    "mpps_conflict": "Исследование названо по-разному, проверьте, к тому ли направлению оно привязано: {text}",
}


def policies(device: Device) -> Iterator[str]:
    """Yield the settings in which a device differs from the default, the character set first."""
    yield f"Имена: {_lower(words.CHARSETS.get(device.charset, device.charset))}"
    usual = Device("", "", "")
    if device.fallback_charset != usual.fallback_charset:
        yield f"его буквы читаем как {FALLBACKS.get(device.fallback_charset, device.fallback_charset)}"
    if device.longest != usual.longest:
        yield f"не длиннее {words.plural(device.longest, 'знака', 'знаков', 'знаков')}"
    if not device.own_only:
        yield "видит записи всех аппаратов"
    if device.for_others:
        yield "может смотреть записи других и завершать их исследования"
    if device.days_before != usual.days_before or device.days_after != usual.days_after:
        yield f"дни: −{device.days_before}…+{device.days_after}"
    if device.closed_hours:
        yield f"выполненные видит ещё {device.closed_hours} ч"
    if device.strict_mpps:
        yield "MPPS только по стандарту"
    if device.mpps_hours != usual.mpps_hours:
        yield f"брошенное закрываем через {device.mpps_hours} ч"
    if device.own_study_uids:
        yield "UID исследований свои: снимки узнаём по номеру"


# ---- why a device sees an order, or does not ----

# code -> (sentence if ok, sentence if not, what to do then); "" is not shown.
_VERDICTS: dict[str, tuple[str, str, str]] = {
    "registered": ("", "", ""),
    "unknown_device": (
        "Аппарат не принят, но незнакомым отвечаем",
        "Аппарат у нас не записан",
        "Добавьте его на странице «Аппараты».",
    ),
    "not_approved": (
        "Аппарат не принят, но незнакомым отвечаем",
        "Аппарат обращался, но его не приняли",
        "Примите его на странице «Аппараты».",
    ),
    "other_address": (
        "",
        "Аппарату отказано: обращался с адреса {address}, а записан {registered}",
        "Поправьте адрес на странице «Аппараты» или на самом аппарате.",
    ),
    "delivered": ("Аппарат получил это направление в свой список {at}", "", ""),
    "asked": ("Аппарат спрашивал список {at}", "", ""),
    "asked_before": (
        "",
        "С тех пор как направление записали, аппарат список не спрашивал (последний раз {at})",
        "Обновите список на аппарате.",
    ),
    "never_asked": (
        "",
        "Аппарат ещё ни разу не спрашивал список",
        "Проверьте, что на нём указаны наш адрес, порт и AE title, и обновите на нём список.",
    ),
    "query_real": ("", "", ""),
    "query_usual": ("", "Запросов этого аппарата ещё не было: проверено по обычному", ""),
    "masked": ("В последнем запросе был отбор по пациенту ({keys}); кого искали, не храним", "", ""),
    "open": ("Направление ждёт, не отменено", "", ""),
    "started": ("Исследование идёт", "", ""),
    "completed_lately": ("Выполнено; аппарат видит выполненное ещё {hours} ч", "", ""),
    "completed": ("", "Исследование уже выполнено", "Аппарат видит выполненное, если это разрешить в его настройках."),
    "discontinued": ("", "Исследование прервано", "Запишите его на другое время."),
    "cancelled": ("", "Направление отменено", "Запишите новое."),
    "planned_on_this": ("Назначено на этот аппарат", "", ""),
    "planned_on_other": (
        "Назначено на {stations}, но этот аппарат видит записи всех",
        "Назначено не на этот аппарат, а на {stations}",
        "Измените аппарат в направлении или разрешите этому видеть записи всех.",
    ),
    "on_called_list": ("Стоит в списке {called}", "", ""),
    "not_on_called_list": (
        "",
        "Назначено на {stations}, а в списке {called} – {members}",
        "Измените аппарат в направлении или допишите аппарат (кабинет) к {called} в dicom.lists.",
    ),
    "others_withheld": (
        "",
        "Назначено на {stations}, а записи других этому аппарату не показываем",
        "Измените аппарат в направлении или разрешите этому смотреть записи других.",
    ),
    "near": ("", "", ""),
    "past": (
        "",
        "День направления прошёл; аппарат видит назад дней: {days}",
        "Перенесите направление или измените настройки аппарата.",
    ),
    "ahead": (
        "",
        "Направление слишком далеко впереди; без даты в запросе аппарат видит вперёд дней: {days}",
        "Выберите на аппарате дату или измените его настройки.",
    ),
    "started_on_other": ("", "Исследование уже начал {stations}, у остальных оно пропало", ""),
    "malformed": (
        "",
        "Запрос аппарата с ошибкой, поэтому ему отказано: {keyword}",
        "Поправьте на аппарате этот отбор.",
    ),
    "undecodable": (
        "",
        "Аппарат искал имя из вопросительных знаков: набрать кириллицу он не может",
        "Ищите на нём по номеру исследования, по номеру карты или латиницей.",
    ),
    "key_station": (
        "Аппарат спросил свои записи",
        "Аппарат спросил записи для «{asked}», а направление назначено на {has}",
        "Укажите на аппарате его собственный AE title: {ae_title}.",
    ),
    "key_time": (
        "Аппарат спросил этот день",
        "Аппарат спросил {asked}, а направление на {has}",
        "Выберите на аппарате день направления или перенесите направление.",
    ),
    "key_modality": (
        "Аппарат спросил вид {asked}, такой и в направлении",
        "Аппарат спросил только вид {asked}, а направление {has}",
        "На аппарате уберите отбор по виду исследования или поправьте вид в справочнике.",
    ),
    "key_name": (
        "Имя, которое искали на аппарате, подходит",
        "Аппарат искал другое имя",
        "Спросите на нём весь список.",
    ),
    "key": (
        "Отбор {keyword} = {asked} подходит",
        "Аппарат спросил {keyword} = {asked}, а в направлении «{has}»",
        "Уберите на аппарате этот отбор.",
    ),
    "letters_whole": ("", "", ""),
    "letters_altered": (
        "",
        "На аппарате будет видно не всё: букв заменено {characters}, строк обрезано {cut} ({charset})",
        "Кодировку и длину строк можно изменить в настройках аппарата.",
    ),
}


def rule_result(found: RuleResult, ae_title: str, zone: tzinfo, today: date) -> tuple[str, str]:
    """Return one reason for or against, and what to do; an empty sentence is not shown."""
    holds, against, todo = _VERDICTS.get(found.code, (found.code, found.code, ""))
    details = _SuggestionDetails({**found.details, "ae_title": ae_title})
    if "at" in details:
        at = words.moment(datetime.fromisoformat(details["at"]), zone, today)
        details["at"] = at if " " in at else f"в {at}"
    if found.code == "key_time":
        details |= {key: _times(details[key], today) for key in ("asked", "has")}
    return (holds if found.ok else against).format_map(details), "" if found.ok else todo.format_map(details)


def _times(key: str, today: date) -> str:
    """Return days and times of a query for people: «20261124 100000» is «сегодня 10:00»."""

    def day(found: re.Match[str]) -> str:
        try:
            return words.day(datetime.strptime(found[0], "%Y%m%d").date(), today)
        except ValueError:
            return found[0]

    spelled = re.sub(r"(?<!\d)\d{8}(?!\d)", day, key)
    return re.sub(r"(?<![\d.])(\d{2})(\d{2})(?:\d{2})?(?![\d.])", r"\1:\2", spelled)


def unmasked(text: str) -> str:
    """Return a sample with its marks for people: «••• (кириллица)»."""

    def shown(mark: re.Match[str]) -> str:
        name = mark[1]
        return f"{MASKED} ({_ALPHABETS.get(name, name.replace('8-bit', 'буквы'))})"

    return _MARK.sub(shown, text)


# Service -> «просил только …».
_ASKED = {
    "storage": "передачу снимков",
    "query": "поиск в архиве",
    "commitment": "подтверждение хранения",
    "print": "печать",
    "availability": "приём сообщений о снимках",
    "procedure steps": "задания UPS",
    "1.2.840.10008.1.2.2": "Big Endian",
    "1.2.840.10008.1.2.1.99": "Deflated",
}


def refusal(each: DeviceContacts) -> str:
    """Return why a device was turned away and what to change, if that was its last contact; else empty."""
    found = each.turned_away
    if found is None:
        return ""
    return _refusal(found, each.services[TURNED_AWAY].address, each.device.address)


def untitled(found: TurnedAway) -> str:
    """Return why a caller without a usable AE title was turned away, and what to change on it."""
    return _refusal(found, "", "")


def _refusal(found: TurnedAway, address: str, expected: str) -> str:
    asked = ", ".join(_ASKED.get(detail, detail) for detail in found.details)
    match found.reason:
        case TurnedAwayReason.UNKNOWN:
            return "Отказано: аппарат не принят"
        case TurnedAwayReason.ADDRESS:
            return f"Отказано: обращался с адреса {address}, а записан {expected}"
        case TurnedAwayReason.UNTITLED:
            came = "".join(letter if letter.isprintable() else "·" for letter in "".join(found.details)).strip()
            what = f"имя аппарата (AE Title) «{came}» с недопустимыми знаками"
            why = what if came else "аппарат не назвал своё имя (AE Title)"
            return f"Отказано: {why}. Впишите на аппарате имя: до 16 латинских букв и цифр"
        case TurnedAwayReason.CALLED:
            called = found.details[0] if found.details and found.details[0] else "без имени"
            return f"Отказано: вызывает AE Title «{called}», исправьте на аппарате имя сервера списка"
        case TurnedAwayReason.SERVICE:
            wanted = f"просил только {asked}" if asked else "ничего не просил"
            return f"Пришёл не туда: {wanted}. Здесь рабочий список и MPPS; снимки принимает архив"
        case TurnedAwayReason.TRANSFER_SYNTAX:
            return (
                f"Не договорились о записи данных{f' ({asked})' if asked else ''}: включите на аппарате Little Endian"
            )
        case TurnedAwayReason.FULL:
            return "Отказано: держит слишком много соединений открытыми"
        case TurnedAwayReason.PROTOCOL | TurnedAwayReason.UNREADABLE:
            return "Отказано: запрос на соединение не по стандарту DICOM, спросите инженера аппарата"


def _lower(word: str) -> str:
    """Return a word as it begins in the middle of a sentence; UTF-8 stays as it is."""
    return word[:1].lower() + word[1:] if word[1:2].islower() else word


class _SuggestionDetails(dict[str, str]):
    """Details of a code; a missing one is a dash."""

    def __missing__(self, key: str) -> str:
        return "–"
