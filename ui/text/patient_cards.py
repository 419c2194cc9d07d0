"""Words about patients' cards: addresses, why two cards look alike, what agrees and what differs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from urllib.parse import quote

from broker.domain.patients import identifiers, names
from broker.domain.patients.incomplete import missing
from broker.domain.patients.patient_match import Similarity
from broker.domain.patients.patient_merge import ComparedField, Value
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.store.queries.patient_cards import FormerCard
from broker.store.queries.patients.made_studies import MadeStudy
from broker.store.queries.patients.patient_search import FoundPatients
from ui.text import bus, words
from ui.text.referral_fields import LABELS, SEXES, in_sentence
from ui.text.words import plural

# Why a card may be the same person's as another one.
SIMILAR: dict[Similarity | None, str] = {
    None: "то же имя, дата рождения и пол",
    Similarity.MIDDLE: "отчество есть только в одной, дата та же",
    Similarity.LETTER: "имя отличается одной буквой, дата та же",
    Similarity.INITIALS: "имя и отчество инициалами, фамилия и дата те же",
    Similarity.EXCHANGED: "фамилия и имя переставлены, дата та же",
    Similarity.SWAPPED_DATE: "имя то же, день и месяц наоборот",
    Similarity.YEAR: "имя, день и месяц те же, год рождения другой",
    Similarity.LETTER_AND_DATE: "имя отличается одной буквой, день и месяц наоборот",
    Similarity.DATE: "имя то же, год рождения тот же",
    Similarity.SEX: "имя и дата те же, пол другой или не указан",
    Similarity.SPELLING: "имя другими буквами, дата та же",
    Similarity.FAMILY: "другая фамилия, остальное то же",
    Similarity.FAMILY_AND_MIDDLE: "другая фамилия, имя и дата те же, отчество есть только в одной",
    Similarity.SPELLING_ALONE: "имя другими буквами, дата рождения известна не вся",
    Similarity.PART_OF_DATE: "имя то же, дата рождения известна не вся",
    Similarity.ONE_NAME: "одно имя, дата и пол те же",
    Similarity.GIVEN: "имя есть только в одной, фамилия и дата те же",
    Similarity.NEWBORN: "новорождённый той же фамилии, дата та же",
}
_UNREADABLE = {"/": "~2F", "~": "~7E"}  # a path's own sign, which servers decode too early


def named(card: Patient) -> str:
    """Return a card as a choice: its number, the name and the birth date."""
    return f"Карта {card.patient_id}: {card.name}, {words.born(card.born)}"


def of_two(one: Patient, other: Patient) -> str:
    """Return the two people of whom one is meant."""
    return f"{names.short(one.name)} ({one.patient_id}) или {names.short(other.name)} ({other.patient_id})"


def address(patient_id: str) -> str:
    """Return the address of the page of the patient with this card number."""
    return f"/patient/{_part(patient_id)}"


def merge_address(surviving: str, merged: str) -> str:
    """Return the address on which two cards are compared, by their numbers; the first one is to stay."""
    return f"/patient/{_part(surviving)}/merge/{_part(merged)}"


def former_names(found: FoundPatients) -> dict[int, str]:
    """Return by what name of before patients were found, by their ids."""
    by_id = {each.stored_id: each for each in found.patients}
    return {id: former_name(by_id[id], name) for id, name in found.former.items() if id in by_id}


def former_name(patient: Patient, former: PersonName) -> str:
    """Return a name of before, as far as it says more than the present one: the family name, or the whole."""
    rest, present = (names.fold(f"{each.given} {each.middle}") for each in (former, patient.name))
    return former.family if rest == present else str(former)


WHOSE_SINCE = "Эти направления записали, когда карта была одна. Скажите про каждое, чьё оно."
WHOSE_UNKNOWN = "Не знаю: останется здесь и будет ждать решения"
WHOSE_ORDER = "Чьё это направление?"
WHOSE_WAITS = (
    "Карты разъединили, а чьё это направление, не знали. Позвоните пациенту или посмотрите снимки. Пока не решено,"
    " снимки и протокол в регион не уходят, и подписать протокол нельзя."
)
SAME_PERSON = "Это один и тот же человек, прежние данные были ошибкой"
LOOK_AT_MADE = "Не сохранено: посмотрите, что сделано под прежними данными, и отметьте, что это один человек"
WHAT_BECOMES_OF_MADE = (
    "Снимки, на которых прежние данные, встанут в «Требует внимания»: пока их не подтвердят, результаты в регион не"
    " уйдут. Если это другой человек, карту не меняйте: запишите его отдельно, а чужие снимки снимите в карточке"
    " исследования кнопкой «Это чужие снимки»."
)
_MADE_ANOTHER = {"name": "имя", "birth_date": "дата рождения", "sex": "пол"}


def makes_another(fields: Sequence[str]) -> str:
    """Return that a correction makes another person of a card, and by what."""
    return f"Так карта станет картой другого человека: не сходится {', '.join(_MADE_ANOTHER[each] for each in fields)}."


def made(study: MadeStudy) -> str:
    """Return a study that was made under a card's data: when, what, under which names, and whether it was read."""
    reported = ", ".join(dict.fromkeys(f"«{names.cut(str(names.from_dicom(each)), 64)}»" for each in study.reported))
    parts = [f"на снимках {reported}" if reported else "", "есть протокол" if study.has_report else ""]
    more = ", ".join(part for part in parts if part)
    return f"{study.on:%d.%m.%Y} {words.procedure(study.order)}" + (f": {more}" if more else "")


def lacking(patient: Patient) -> str:
    """Return what is not known of a patient whom the region does not take yet; "" if nothing is."""
    found = missing(patient)
    said = bus.lacking(found) if found else ""
    return said[:1].upper() + said[1:]


def correction_address(patient_id: str) -> str:
    """Return the address on which the card with this number is corrected."""
    return f"{address(patient_id)}/correct"


def number(part: str) -> str:
    """Return the card number that stands in an address."""
    return part.replace("~2F", "/").replace("~7E", "~")


def shown(field: str, value: Value) -> str:
    """Return a field of a card as people read it; "–" if it is not known."""
    if value is None or value == "":
        return "–"
    if isinstance(value, date):
        return f"{value:%d.%m.%Y}"
    if field == "birth_year":
        return str(value)
    if isinstance(value, float):
        return f"{value:g} {'кг' if field == 'weight' else 'см'}".replace(".", ",")
    written = {"sex": lambda: SEXES[Sex(value)], "snils": lambda: identifiers.show_snils(value)}
    written["policy"] = lambda: identifiers.show_policy(value)
    return written[field]() if field in written else value


def mother(patient: Patient) -> str:
    """Return a known patient as the mother of a newborn: «Иванова Мария Петровна, 12.03.1998, карта 004512»."""
    said = [str(patient.name), words.born(patient.born), f"карта {patient.patient_id}"]
    return ", ".join([*said, f"полис {identifiers.show_policy(patient.policy)}"] if patient.policy else said)


def comparison(fields: Sequence[ComparedField]) -> str:
    """Return in one or two sentences what agrees in two cards and what differs."""
    known = [field for field in fields if field.surviving and field.merged]
    same = [in_sentence(LABELS[field.name]) for field in known if field.same]
    other = [in_sentence(LABELS[field.name]) for field in known if not field.same]
    agrees = f"{'Совпало' if len(same) == 1 else 'Совпали'} {_listed(same)}." if same else "Ничего не совпало."
    differs = f" {'Отличается' if len(other) == 1 else 'Отличаются'} {_listed(other)}." if other else ""
    return agrees + differs


def moved(former: FormerCard) -> str:
    """Return what a merge moved, and what the region learns of it."""
    said = [f"Переехало: {plural(former.orders, 'исследование', 'исследования', 'исследований')}."]
    if former.corrections:
        said.append(f"В регион: {plural(former.corrections, 'поправка', 'поправки', 'поправок')}.")
    if former.of_other_clinics:
        sent = plural(former.of_other_clinics, "направление", "направления", "направлений")
        said.append(f"{sent} других клиник поправят только они: сообщите им.")
    return " ".join(said)


def _listed(parts: Sequence[str]) -> str:
    return ", ".join(parts[:-1]) + f" и {parts[-1]}" if len(parts) > 1 else parts[0]


def _part(number: str) -> str:
    return quote("".join(_UNREADABLE.get(letter, letter) for letter in number), safe="")
