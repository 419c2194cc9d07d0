"""The Russian words for where the image archive and the referrals do not fit. Only words."""

from __future__ import annotations

from datetime import timedelta

from broker.domain.patients import names
from broker.domain.studies.archive import ArchiveStudy, DiscrepancyKind, DiscrepancyState
from broker.store.queries.studies.archive_gaps import Counted, FewerImages
from broker.store.queries.studies.unreferred_studies import OfferedStudy
from ui.text import words

LONGEST = 64  # characters of a value of the archive that are shown
PLACE = "Расхождения с архивом"
IN_ARCHIVE = "В архиве"

# What stands over a study that waits for a person, and what that means; {number} is the referral's.
TITLES: dict[DiscrepancyKind, str] = {
    DiscrepancyKind.OTHER_PATIENT: "Тот ли это пациент?",
    DiscrepancyKind.SEVERAL_PATIENTS: "Одно исследование, разные люди",
    DiscrepancyKind.SEVERAL_STUDIES: "Один номер, два исследования",
    DiscrepancyKind.OTHER_NUMBER: "Другой номер исследования",
    DiscrepancyKind.OTHER_UID: "Ещё одно с этим номером",
    DiscrepancyKind.UNLINKED: "Снимки отвязали, а это подходит",
    DiscrepancyKind.OWN_UID: "Номер наш, UID нет",
    DiscrepancyKind.UNREFERRED: "Снимки без направления",
    DiscrepancyKind.OLDER: "Снято раньше направления",
    DiscrepancyKind.UNREADABLE: "Пациента не прочитать",
}
DECISIONS: dict[DiscrepancyState, str] = {
    DiscrepancyState.ACCEPTED: "Наше",
    DiscrepancyState.DISMISSED: "Чужое",
}
MEANINGS: dict[DiscrepancyKind, str] = {
    DiscrepancyKind.OTHER_PATIENT: "Снимки в архиве под номером {number} названы другим человеком.",
    DiscrepancyKind.SEVERAL_PATIENTS: "Снимки направления {number} лежат в архиве сразу у нескольких человек.",
    DiscrepancyKind.SEVERAL_STUDIES: "В архиве не одно исследование с номером {number}, и ни одно не наше наверняка.",
    DiscrepancyKind.OTHER_NUMBER: "Снимки по направлению {number} лежат в архиве под другим номером.",
    DiscrepancyKind.OTHER_UID: "В архиве есть ещё исследование с номером {number}, снятое не по этому направлению.",
    DiscrepancyKind.UNLINKED: "От направления {number} снимки отвязали, а это исследование к нему подходит. Чьё оно?",
    DiscrepancyKind.OWN_UID: "У снимков номер {number} и всё сходится, но их UID направлению неизвестен. Они ли это?",
    DiscrepancyKind.UNREFERRED: "Снимки без номера выбраны для направления {number}, потом решение отменили.",
    DiscrepancyKind.OLDER: "Исследование с номером {number} в архиве старше направления.",
    DiscrepancyKind.UNREADABLE: "Имя и номер карты у снимков {number} архив не сохранил, сверить не с чем.",
}

MISSING = "Снимки не пришли"
NO_IMAGES = "Снимков не будет"


def missing(at: str, *, holds_region: bool = False) -> str:
    """Return what it means that the images of a study that ended at this time have not come."""
    if holds_region:
        return f"Исследование закончено ({at}), а в архиве снимков нет. {HOLDS_REGION}"
    return f"Аппарат сообщил о конце ({at}), а в архиве снимков нет. Проверьте, отправил ли он их."


HOLDS_REGION = "Регион не узнает о нём, пока они не придут или не скажут, где они."
WAIVE = "Снимков в архиве не будет?"


def missing_for(length: timedelta) -> str:
    """Return how long images have been missing, as a state."""
    return f"Снимков нет {words.duration(length)}"


GAPS = "Расхождения"
UNREFERRED = "Снимки без направления"
# What a tab without anything says while the other one has something.
EMPTY: dict[str, tuple[str, str]] = {
    GAPS: ("Расхождений нет.", "Ждут только снимки без направления."),
    UNREFERRED: ("Снимков без направления нет.", "Ждут только расхождения."),
}
NOT_OURS = "Оставить без направления"
COUNTS = "Снимков больше или меньше"


def described(study: ArchiveStudy) -> str:
    """Return a study of the archive in a line: «Зуев Пётр», Рентген, 24.11.2026 09:15, 2 снимка."""
    name = names.cut(names.tidy(str(names.from_dicom(study.patient_name))), LONGEST) or "без имени"
    kind = "/".join(words.MODALITIES.get(each, each) for each in study.modality.split("/") if each)
    at = f"{study.start:%d.%m.%Y %H:%M}" if study.start else ""
    images = "" if study.images is None else words.plural(study.images, "снимок", "снимка", "снимков")
    return ", ".join(part for part in (f"«{name}»", kind, at, images) if part)


def offered(each: OfferedStudy) -> str:
    """Return which referral a study without one may belong to, or whose cancelled one it bears the number of."""
    number = names.cut(names.tidy(each.unreferred.study.accession_number), LONGEST)
    without = f"Номера {number} у нас нет. " if number else ""
    without = f"Снято по отменённому направлению {each.cancelled}. " if each.cancelled else without
    if not each.candidates:
        return f"{without}Ни одно направление этих дней не подходит по пациенту."
    first, more = each.candidates[0], len(each.candidates) - 1
    what = f"{names.short(first.patient.name)}, {first.accession_number}" + (f" и ещё {more}" if more else "")
    if first.id in each.uncertain:
        return f"{without}По имени и дню подходит {what}. Дату рождения сверить не с чем."
    return f"{without}По пациенту и дню подходит {what}."


def likely(each: OfferedStudy) -> str:
    """Return how surely a referral fits a study without one, as a state."""
    if not each.candidates:
        return "Неизвестно, чьи"
    return "Возможно, это направление" if each.candidates[0].id in each.uncertain else "Похоже на направление"


def is_found(study: ArchiveStudy, typed: str) -> bool:
    """Return True if every word typed begins a word of a study's patient's name, or is in a number or a date of it."""
    named = names.fold(str(names.from_dicom(study.patient_name))).replace("-", " ").split()
    born = study.birth_date
    numbers = [study.patient_id, study.accession_number, study.study_instance_uid]
    dates = [f"{study.start:%d.%m.%Y %H:%M}" if study.start else "", f"{born[6:]}.{born[4:6]}.{born[:4]}"]
    return all(
        any(part.startswith(word) for part in named) or any(word in value.casefold() for value in (*numbers, *dates))
        for word in names.fold(typed).replace("-", " ").split()
    )


def not_shown(more: int, *, found: int, is_search: bool) -> str:
    """Return what a list that was cut says under it; empty where it shows everything."""
    if is_search and not found:
        return "Такого среди них нет."
    return f"И ещё {more}: найдите по имени, номеру или дате." if more > 0 else ""


def other_count(counted: Counted) -> str:
    """Return how the images that devices reported and those in the archive differ, as a state."""
    reported, archived = counted.reported, counted.archived
    return f"Снимков {archived} из {reported}" if archived < reported else f"Снимков {archived}, а не {reported}"


FEWER = "Снимков стало меньше, чем видел врач"


def fewer(each: FewerImages) -> str:
    """Return how many images there were for the doctor and are left, as a state."""
    return f"Снимков {each.held}, было {each.before}"


FEWER_MEANS = "Протокол подписан, когда снимков было больше. Верните их в архив или попросите врача посмотреть снова."


def held(exists: bool, images: int | None) -> str:
    """Return what the archive holds of a study."""
    if not exists:
        return "снимков нет"
    return "снимки есть" if images is None else words.plural(images, "снимок", "снимка", "снимков")


def difference(counted: Counted) -> str:
    """Return how the images that a device reported and those in the archive differ."""
    numbers = f"ппарат сообщил о {counted.reported}, в архиве {counted.archived}."
    return f"Вместе с {', '.join(counted.together)} а{numbers}" if counted.together else f"А{numbers}"


def lowered(sentence: str) -> str:
    """Return a sentence as it goes on after a colon."""
    return sentence[:1].lower() + sentence[1:]


def meaning(kind: DiscrepancyKind, number: str) -> str:
    """Return what a discrepancy of this kind means for the referral with this number."""
    return MEANINGS[kind].format(number=number)
