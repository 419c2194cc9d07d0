"""Russian words for what modalities store here: reports, documents, doses."""

from __future__ import annotations

from collections.abc import Iterator

from broker.domain.patients import names
from broker.domain.studies.dose import DoseDoubt, Quantity, StudyDose
from broker.domain.studies.effective_dose import CalculatedDose, NotCalculated
from broker.domain.studies.received import HeldReason, ReceivedKind, StoredObject
from broker.domain.studies.received_text import Standing
from broker.store.queries.studies.received import HeldObject
from ui.text import words

HELD = "Отчёты аппаратов без исследования"
OF_ORDER = "Прислал аппарат"
DOSE = "Доза по отчёту аппарата"
KINDS = {
    ReceivedKind.DOSE: "Отчёт о дозе",
    ReceivedKind.REPORT: "Структурированный отчёт",
    ReceivedKind.DOCUMENT: "Документ",
}
REASONS = {
    HeldReason.NO_ORDER: "Исследования нет",
    HeldReason.SEVERAL_ORDERS: "Исследований несколько",
    HeldReason.OTHER_PATIENT: "Другой пациент",
}
_WHY = {
    HeldReason.NO_ORDER: "Ни UID исследования, ни номер не подходят ни к одному направлению.",
    HeldReason.SEVERAL_ORDERS: "UID исследования и номер подходят к нескольким направлениям.",
    HeldReason.OTHER_PATIENT: "Исследование названо наше, а пациент в отчёте другой.",
}
NO_UNIT = "(единица не указана)"
# Quantity -> name, unit.
QUANTITIES = {
    Quantity.DAP: ("Произведение дозы на площадь", "сГр·см²"),
    Quantity.RP: ("Доза в референтной точке", "мГр"),
    Quantity.AGD: ("Средняя доза в железе", "мГр"),
    Quantity.DLP: ("Произведение дозы на длину", "мГр·см"),
    Quantity.CTDI: ("CTDIvol", "мГр"),
    Quantity.FLUORO_TIME: ("Время просвечивания", "с"),
    Quantity.EVENTS: ("Экспозиций", ""),
}
_PARTS = {"R": "правая", "L": "левая", "A": "плоскость A", "B": "плоскость B"}
_DOUBTS = {
    DoseDoubt.UNKNOWN_UNIT: "Единица измерения неизвестна, значение не пересчитано.",
    DoseDoubt.NOT_COMPARABLE: "Отчётов несколько, и по ним не видно, повторяют они друг друга или дополняют.",
    DoseDoubt.IMPLAUSIBLE: "Доза далеко от обычной для таких аппаратов, проверьте: в эффективную она не вошла.",
    DoseDoubt.INCOMPLETE: "Отчёты частично повторяют друг друга, не у всех экспозиций есть доза.",
}
_SHORT = (Quantity.DAP, Quantity.DLP, Quantity.AGD)
_NOT_CALCULATED = {
    NotCalculated.NO_ROW: "в таблице коэффициентов нет подходящей строки",
    NotCalculated.SEVERAL_ROWS: "подходят несколько строк таблицы коэффициентов",
    NotCalculated.IMPLAUSIBLE: "доза аппарата далеко от обычной, проверьте",
    NotCalculated.DOUBTFUL: "доза аппарата известна не вся",
}
STANDINGS = {
    Standing.FINAL: ("done", "Завершён и подтверждён"),
    Standing.DRAFT: ("unknown", "Черновик: не подтверждён"),
    Standing.UNKNOWN: ("waiting", "О готовности не сказано"),
}
HIDDEN = "Что в нём, видно после общего заключения."
LONGEST = 64  # characters of a text of a device


def address(id: int) -> str:
    """Return the address of a received report as words."""
    return f"/received/{id}"


def file_address(id: int) -> str:
    """Return the address of a received document as it came."""
    return f"/received/{id}/file"


def described(stored: StoredObject) -> str:
    """Return what an object is and of whom: «Отчёт о дозе: Зуев Пётр, 12.03.1960, аппарат XRAY_14»."""
    each = stored.received
    name = names.cut(names.tidy(str(names.from_dicom(each.patient_name))), LONGEST) or "без имени"
    born = each.patient_birth_date
    date = f"{born[6:]}.{born[4:6]}.{born[:4]}" if len(born) == 8 and born.isdecimal() else ""
    parts = [f"«{name}»", date, f"аппарат {each.ae_title}"]
    return f"{KINDS[each.kind]}: " + ", ".join(part for part in parts if part)


def reason(each: HeldObject) -> str:
    """Return in two words why an object belongs to no order."""
    if each.stored.held is None:
        return ""
    if each.stored.held is HeldReason.NO_ORDER and each.named:
        return "Снят с исследования" if each.is_unlinked else "Исследование отменено"
    return REASONS[each.stored.held]


def why_held(each: HeldObject) -> str:
    """Return why an object belongs to no order, with the number of the order that it names."""
    if each.stored.held is None:
        return ""
    if each.stored.held is HeldReason.NO_ORDER and each.named:
        number = each.named.accession_number
        if each.is_unlinked:
            return f"Снимки сняты с исследования {number}, и отчёт вместе с ними: чей он, решает человек."
        return f"Исследование {number} отменено, а отчёт аппарата есть."
    number = names.cut(names.tidy(each.stored.received.accession_number), LONGEST)
    if each.named:
        return f"{_WHY[each.stored.held]} Направление {each.named.accession_number}."
    return _WHY[each.stored.held] + (f" Номер в отчёте: {number}." if number else "")


def waiting(count: int) -> str:
    """Return how many objects wait for a person."""
    return words.plural(count, "отчёт ждёт", "отчёта ждут", "отчётов ждут") + " решения"


def problem(stored: StoredObject) -> str:
    """Return that the dose of a dose report could not be read."""
    return "дозу прочитать не удалось" if stored.received.problem else ""


def dose_facts(found: StudyDose) -> list[tuple[str, str]]:
    """Return a study's dose as (name, value with its unit)."""
    facts = []
    for each in found.values:
        name, unit = QUANTITIES[each.quantity]
        part = _PARTS.get(each.part, "")
        if each.value or each.quantity is not Quantity.FLUORO_TIME:
            facts.append((f"{name}, {part}" if part else name, f"{number(each.value)} {unit}".strip()))
    for raw in found.unconverted:
        name, _ = QUANTITIES[raw.quantity]
        facts.append((name, f"{number(raw.value)} {names.cut(raw.unit, LONGEST) or NO_UNIT}"))
    if found.events:
        facts.append(("Экспозиций", str(found.events)))
    return facts


def effective(found: CalculatedDose | NotCalculated) -> str:
    """Return a calculated effective dose with how it was calculated, or why it was not."""
    if isinstance(found, NotCalculated):
        return f"не рассчитана: {_NOT_CALCULATED[found]}"
    how = f"{number(found.coefficient)} {found.unit}"
    if found.amount is not None:
        how = f"{number(found.amount)} {QUANTITIES[Quantity(found.quantity)][1]} × {how}"
    return f"{number(found.millisieverts)} мЗв, рассчитана: {how} (строка {found.row_code}, {found.source})"


def doubts(found: StudyDose) -> list[str]:
    """Return why a study's dose is not known, or not wholly."""
    return [_DOUBTS[each] for each in DoseDoubt if each in found.doubts]


def short(found: StudyDose) -> str:
    """Return a study's dose in a line for lists: «10,7 сГр·см²»; empty where none is known."""
    shown = ", ".join(_short(found))
    return f"{shown}, проверьте" if shown and DoseDoubt.IMPLAUSIBLE in found.doubts else shown


def _short(found: StudyDose) -> Iterator[str]:
    for quantity in _SHORT:
        unit = QUANTITIES[quantity][1]
        total = found.of(quantity)
        if total is not None:
            yield f"{number(total)} {unit}"
        elif parts := [each for each in found.values if each.quantity is quantity]:
            sides = " и ".join(f"{number(each.value)} ({_PARTS.get(each.part, each.part)})" for each in parts)
            yield f"{sides} {unit}"


def number(value: float) -> str:
    """Return at most four significant digits: devices are not more precise."""
    return f"{value:.4g}".replace(".", ",") if value < 10_000 else f"{value:.0f}"
