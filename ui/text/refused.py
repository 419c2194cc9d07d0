"""The Russian words for what was not imported: why, and what to do about it. Only words."""

from __future__ import annotations

import ntpath
from collections.abc import Sequence

from broker.domain.import_result import ImportSource, Reason
from broker.store.queries.refused_imports import SimilarCards
from ui.text import errors, patient_cards
from ui.text.words import plural

PLACE = "Не принято из файлов"
SIMILAR_CARDS = "Из файлов записаны похожие пациенты"
SIMILAR_WHAT_TO_DO = (
    "Они записаны и стоят на аппаратах, для них заведены новые карты. Если это тот же человек, объедините карты."
)

# Reason of a refused worklist file -> what is wrong, and what to do; {about} is the number or card.
FILES: dict[str, tuple[str, str]] = {
    "other_birth_date": (
        "Под номером карты {about} у нас человек с другой датой рождения",
        "Если верно в файле, исправьте карту; если номер не его, исправьте файл",
    ),
    "other_sex": (
        "Под номером карты {about} у нас человек другого пола",
        "Если верно в файле, исправьте карту; если номер не его, исправьте файл",
    ),
    "other_name": (
        "Под номером карты {about} у нас человек с другим именем",
        "Если это он, исправьте имя в карте; если нет, номер в файле чужой",
    ),
    "other_number": (
        "Под номером карты {about} у нас человек с другим СНИЛС или полисом",
        "Если верно в файле, исправьте карту; если номер не его, исправьте файл",
    ),
    "several_patients": (
        "Таких людей у нас несколько, а номера карты в файле нет",
        "Впишите в файл номер карты или объедините карты, если это один человек",
    ),
    "number_of_another": (
        "Номер из файла записан у нас в карте {about} на человека с другими данными",
        "Сверьте с картой: исправьте её или файл",
    ),
    "order_cancelled": (
        "Файл изменился, а направление {about} у нас отменили",
        "Если исследование нужно, запишите его на регистратуре",
    ),
    "order_started": ("Файл изменился, а исследование {about} уже начато", "Направление осталось каким было"),
    "region_cancelled": (
        "Файл вернулся, а регион уже знает, что направление {about} отменено",
        "Если исследование нужно, запишите его на регистратуре",
    ),
    "accession_number_taken": (
        "Номер исследования {about} уже у другого направления",
        "Дайте исследованию в файле другой номер",
    ),
    "study_instance_uid_taken": (
        "Study Instance UID {about} уже у другого направления",
        "Скажите администратору: программа, которая пишет файлы, повторяет UID",
    ),
    "no_modality": ("Не указан вид исследования", "Скажите администратору: в файле нет Modality"),
    "no_station": ("Не указан аппарат, и для вида {about} у нас аппарата нет", "Добавьте аппарат на «Аппаратах»"),
    "twice": (
        "Номер {about} стоит в двух файлах",
        "Скажите администратору: программа, которая пишет файлы, повторяет номера",
    ),
    "unreadable": ("Файл не читается", "Скажите администратору"),
    "other": ("Не принято", "Скажите администратору"),
}
# Reason of a refused row of a table that is not one of the form's.
ROWS: dict[str, str] = {
    "required": "не заполнено",
    "surplus_cells": "ячеек больше, чем столбцов; ячейку с разделителем внутри возьмите в кавычки",
    "stray_quote": "кавычка не на месте; уберите её или удвойте и возьмите в кавычки всю ячейку",
    "spreadsheet_error": "в ячейке ошибка таблицы, исправьте формулу",
    "not_a_day": "это не дата, например 24.11.2026",
    "not_a_birth_date": "это не дата, например 12.03.1961",
    "no_birth_date": "пусто; если дата неизвестна, напишите год или «неизвестна»",
    "no_given_name": "пусто; если имя одно, напишите прочерк",
    "not_a_time": "это не время, например 10:00",
    "not_a_start": "это не дата со временем, например 24.11.2026 10:00",
    "not_a_sex": "пол не «м» и не «ж»",
    "sex_from_zero": "это код, а среди них есть 0, и непонятно, какой пол какой; напишите «м» или «ж»",
    "not_a_procedure": "такого исследования в справочнике нет; напишите код или полное название",
    "not_a_device": "такого аппарата у нас нет; напишите его AE title или название",
    "not_understood": "непонятно",  # of rows that an earlier version has refused
    "not_a_side": "непонятно; напишите «справа», «слева» или «обе»",
    "not_a_priority": "непонятно; напишите «да» или «нет»",
    "not_a_payment": "непонятно; напишите «омс», «дмс», «платно», «бюджет», «собственные» или «другое»",
    "not_a_number": "это не число",
    "name_letters": "в имени есть знаки, которых в нём не бывает",
    "too_long": "слишком длинно",
    "card_letters": "в номере карты не бывает знаков \\ * ?",
    "future": "дата ещё не наступила",
    "too_old": "дата слишком давняя",
    "length": "не столько цифр",
    "check_digit": "контрольное число не сходится, сверьте с документом",
    "placeholder": "такого номера ни у кого нет, оставьте пустым",
    "range": "вне разумных пределов",
    "unknown": "у нас такого нет",
    "other_modality": "этот аппарат такого исследования не делает",
    "past": "время уже прошло, напишите будущее",
    "too_far": "дальше чем через год",
    "icd10": "это не код МКБ-10, например M17.1",
    "other_patient": "записано у нас на другого человека",
    "several": "таких людей у нас несколько, нужен СНИЛС, полис или номер карты",
    "unexpected": "не удалось прочитать или записать, скажите администратору",
    "same_row": "то же, что в строке {about}, удалите одну из них",
}
_CORRECT_ROWS = "Исправьте строки в таблице и загрузите её снова: принятые второй раз не запишутся"


def why(source: ImportSource, reasons: Sequence[Reason]) -> str:
    """Return in a sentence why something was refused."""
    if source is ImportSource.WORKLIST_FILE:
        return ". ".join(_file(each)[0].format(about=each.about) for each in reasons) + "."
    return "; ".join(map(_row, reasons)) + "."


def what_to_do(source: ImportSource, reasons: Sequence[Reason]) -> str:
    """Return what to do about what was refused."""
    if source is ImportSource.TABLE:
        return f"{_CORRECT_ROWS}."
    found = dict.fromkeys(_file(each)[1] for each in reasons)
    details = [each.text for each in reasons if each.code in ("unreadable", "other")]
    return "; ".join([*found, *(f"«{text}»" for text in details)]) + "."


def similar(found: SimilarCards) -> str:
    """Return that a card of an imported item may be the same person's as another one, and why."""
    why = "такими данные были раньше" if found.is_former else patient_cards.SIMILAR[found.similarity]
    return f"{found.imported.name} похож на карту {found.other.patient_id}: {why}"


def place(source: ImportSource, row: int) -> str:
    """Return where an imported item stands in its file."""
    if source is ImportSource.WORKLIST_FILE:
        return "Файл"
    return f"Строка {row}" if source is ImportSource.TABLE else f"Запись {row}"


def short(path: str) -> str:
    """Return the name of a file, without its folders."""
    return "Стандартный ввод" if path == "-" else ntpath.basename(path) or path


def count(files: int, rows: int) -> str:
    """Return how much was refused."""
    parts = [
        plural(files, "файл рабочего списка", "файла рабочего списка", "файлов рабочего списка") if files else "",
        plural(rows, "строка таблицы", "строки таблиц", "строк таблиц") if rows else "",
    ]
    return ", ".join(part for part in parts if part)


def _file(reason: Reason) -> tuple[str, str]:
    return FILES.get(reason.code) or FILES["other"]


def _row(reason: Reason) -> str:
    if reason.code not in ROWS and reason.code in FILES:  # about a card, as of a file
        what, todo = (each.format(about=reason.about) for each in FILES[reason.code])
        sentence = f"{what[:1].lower()}{what[1:]} ({todo[:1].lower()}{todo[1:]})" if reason.field else what
        return f"{reason.field}: {sentence}" if reason.field else sentence
    what = ROWS.get(reason.code) or errors.ERRORS.get(reason.code) or errors.problem("", reason.code)
    what = what.format(about=reason.about)
    found = f" («{reason.about}»)" if reason.about and reason.code != "same_row" else ""
    return f"{reason.field}: {what}{found}" if reason.field else what
