"""Compares two descriptions of a patient, and merges them. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from broker.domain.patients import names, placeholders, transliteration
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.domain.patients.transliteration import Fit

_LATIN = re.compile(r"[A-Za-z]")
_CHANGING = ("phone", "insurer", "weight", "height", "allergies", "pregnancy")  # what is asked for every study
_OPTIONAL = ("snils", "policy", *_CHANGING, "mother")
_NO_BIRTH_DATE = "19000101"  # what devices report of somebody of whom they were not given one

MIN_TRUNCATED = 8  # characters of a family name that a device has cut; a shorter one is another name: Иванов, Иванова
MIN_CUT = 16  # characters of the shortest name that a device may have cut within its given name or patronymic
MIN_LATIN = 4  # letters of a name in another alphabet that can tell people apart; not X^Y


def contradictions(patient: Patient, name: str, patient_id: str, birth_date: str, sex: str = "") -> list[str]:
    """Return the fields in which the patient that a modality reports contradicts this one; empty if none does.

    `name` is a PN, `birth_date` a DA and `sex` a CS as the device sent them, or empty. A name of question marks cannot
    be compared. One in Latin contradicts if it is this one in no usual way of writing it (also cut, or with initials);
    if it can be this one it contradicts nothing, but proves nothing either: Shishkin may be Шишкин or Щишкин.

    People from abroad bear names that the card has by ear: John, Джон; Hussain, Хусейн. Most have no patronymic. Where
    they have none and the Patient ID is theirs, only a name that does not even resemble theirs contradicts. Others are
    in Latin as some scheme writes them, and a relative with nearly the same name (Мария, Марина) is another person.

    A different patient id counts unless the name is the same: devices have their own ids; but what stands in the place
    of a name («Неизвестный», «Иванова новорождённая») may be anybody's.
    """
    found = []
    is_theirs = bool(patient_id) and same_id(patient.patient_id, patient_id)
    same = _same_name(patient, name, is_lenient=is_theirs and not patient.name.middle)
    if not _fits_placeholder(patient, name, patient_id):
        same = False
    if same is False:
        found.append("patient_name")
    if birth_date and not _fits_birth(patient, birth_date):
        found.append("patient_birth_date")
    trusted = same and names.identifies(patient.name)
    if patient_id and not is_theirs and not trusted:
        found.append("patient_id")
    if sex in (Sex.MALE, Sex.FEMALE) and patient.sex is not Sex.OTHER and sex != patient.sex:
        found.append("patient_sex")
    return found


def contradictions_of_cards(
    cards: Sequence[Patient], name: str, patient_id: str, birth_date: str, sex: str = ""
) -> list[str]:
    """Return what `contradictions` does for a patient with all of their cards, the one in use first.

    A device or an archive may have the data of a card that was merged into this one since: whom one of the cards fits
    is the same patient. A card of which hardly anything was known fits nearly everybody, so a former one counts only
    where it agrees in its name or its number.
    """
    found = contradictions(cards[0], name, patient_id, birth_date, sex)
    is_another = not found or any(
        not _contradictions_of_former(cards[0], card, name, patient_id, birth_date, sex)
        and (agreements(card, name, patient_id) or _is_same_placeholder(card, name))
        for card in cards[1:]
    )
    return [] if is_another else found


def agreements_of_cards(
    cards: Sequence[Patient], name: str, patient_id: str, birth_date: str, sex: str = ""
) -> list[str]:
    """Return what `agreements` does for a patient with all of their cards: the most that one of them agrees in.

    A card that the report contradicts agrees in nothing. The values are those of `contradictions_of_cards`.
    """
    reported = name, patient_id, birth_date, sex
    fitting = [card for card in cards[:1] if not contradictions(card, *reported)]
    fitting += [card for card in cards[1:] if not _contradictions_of_former(cards[0], card, *reported)]
    return max((agreements(card, name, patient_id) for card in fitting), key=len, default=[])


def agreements(patient: Patient, name: str, patient_id: str) -> list[str]:
    """Return the fields in which a patient as reported is surely this one: the name, the Patient ID; empty if none.

    The name may be in Latin, as a device without Cyrillic is given it. What stands in the place of one is no agreement.
    """
    same = names.identifies(patient.name) and (_same_name(patient, name) or _is_transliterated(patient, name))
    found = ["patient_name"] if same else []
    return found + (["patient_id"] if patient_id and patient_id == patient.patient_id else [])


def is_certain(patient: Patient, name: str, patient_id: str, birth_date: str, sex: str = "") -> bool:
    """Return True if name, Patient ID and birth date are all there and this patient's, and the sex is where it is said.

    Name and number may be in Latin, as a device without Cyrillic is given them.
    """
    return (
        bool(name and patient_id and birth_date and patient.birth_date)
        and not contradictions(patient, name, patient_id, birth_date, sex)
        and names.transliterated(patient_id.strip()) == names.transliterated(patient.patient_id)
        and "patient_name" in agreements(patient, name, patient_id)
    )


def merge(known: Patient, typed: Patient) -> Patient:
    """Return the known patient with the typed fields; empty ones stay if the patient was found, not chosen."""
    empty = () if typed.id is not None else [field for field in _OPTIONAL if not getattr(typed, field)]
    name = typed.name
    if typed.id is None and known.name.middle and not typed.name.middle:
        name = replace(name, middle=known.name.middle)
    if typed.id is None and placeholders.are_compatible(known.name, typed.name):
        name = known.name  # with the number that tells two of them apart
    born = typed if typed.born or typed.id is not None else known
    if typed.id is None and known.birth_date and typed.birth_year == known.birth_date.year:
        born = known  # the year says less
    return replace(
        typed,
        name=name,
        sex=known.sex if typed.id is None and typed.sex is Sex.OTHER else typed.sex,
        birth_date=born.birth_date,
        birth_year=born.birth_year,
        id=known.id,
        patient_id=known.patient_id,
        revision=known.revision,
        **{field: getattr(known, field) for field in empty},
    )


def complete(known: Patient, typed: Patient, former: Sequence[Patient], *, replaces_changing: bool = True) -> Patient:
    """Return a known patient with what a description by its card's `former` data says beyond it.

    Name, birth date, sex and numbers stay, and a number that was put out of force is not put into force again: people
    have decided what holds when they merged or corrected the card. `replaces_changing`: phone, weight, … are today's.
    """
    said = {
        field: getattr(typed, field)
        for field in _CHANGING
        if getattr(typed, field) and (replaces_changing or not getattr(known, field))
    }
    for field in ("snils", "policy"):
        number = getattr(typed, field)
        if number and not getattr(known, field) and all(getattr(each, field) != number for each in former):
            said[field] = number
    born = known if known.born else typed
    return replace(known, **said, birth_date=born.birth_date, birth_year=born.birth_year)


def difference(one: Patient, other: Patient) -> str:
    """Return what tells two patients of one Patient ID apart, in words for a refusal; "" if nothing does.

    People marry and patronymics are completed: another family name is the same person's if birth date and sex agree.
    """
    if born_differently(one, other):
        return "date of birth"
    if Sex.OTHER not in (one.sex, other.sex) and one.sex != other.sex:
        return "sex"
    if names.fold(str(one.name)) == names.fold(str(other.name)):
        return ""
    if one.patient_id and one.patient_id == other.patient_id and placeholders.are_compatible(one.name, other.name):
        return ""
    given = names.fold(one.name.given) == names.fold(other.name.given)
    middle = names.fold(one.name.middle) == names.fold(other.name.middle) or not (one.name.middle and other.name.middle)
    family = names.fold(one.name.family) == names.fold(other.name.family)
    certain = one.birth_date is not None and other.birth_date is not None and one.sex == other.sex != Sex.OTHER
    return "" if given and middle and (family or certain) else "name"


def completes(known: Patient, imported: Patient) -> bool:
    """Return True if an item under the Patient ID of somebody without a name says who it is, and contradicts nothing.

    Of a newborn the date of birth must be known and the same: its mother has the same family name.
    """
    named = names.identifies(imported.name) and names.stated(imported.name.family) and names.stated(imported.name.given)
    if names.identifies(known.name) or not named or born_differently(known, imported):
        return False
    if Sex.OTHER not in (known.sex, imported.sex) and known.sex != imported.sex:
        return False
    if names.is_unidentified(known.name):
        return True
    is_born = known.birth_date is not None and known.birth_date == imported.birth_date
    return is_born and not placeholders.is_child_of(known.name, imported.name)


def fill_in(known: Patient, imported: Patient) -> Patient:
    """Return the known patient with what the imported item says beyond it; nothing that is known is removed.

    A family name and a patronymic that differ are the newer ones: `difference` has let them pass.
    """
    name = known.name
    is_other = names.fold(str(imported.name)) != names.fold(str(name))
    if is_other and not names.identifies(name) and names.identifies(imported.name):
        name = imported.name
    elif is_other and not placeholders.are_compatible(name, imported.name):
        name = replace(imported.name, middle=imported.name.middle or name.middle)
    return replace(
        known,
        name=name,
        snils=known.snils or imported.snils,
        policy=known.policy or imported.policy,
        phone=imported.phone or known.phone,
        insurer=imported.insurer or known.insurer,
        pregnancy=imported.pregnancy or known.pregnancy,
        mother=imported.mother or known.mother,
        birth_date=known.birth_date or imported.birth_date,
        birth_year=None if known.birth_date or imported.birth_date else known.birth_year,
        sex=known.sex if imported.sex is Sex.OTHER else imported.sex,
        weight=imported.weight or known.weight,
        height=imported.height or known.height,
        allergies=together(known.allergies, names.tidy(imported.allergies)),
    )


def born_differently(one: Patient, other: Patient) -> bool:
    """Return True for birth dates that cannot be one person's; a year alone is compared with the year."""
    if one.birth_date and other.birth_date:
        return one.birth_date != other.birth_date
    return None not in (one.year_of_birth, other.year_of_birth) and one.year_of_birth != other.year_of_birth


def together(known: str, imported: str) -> str:
    """Return two texts in one, without saying anything twice."""
    if names.fold(imported) in names.fold(known):
        return known
    return f"{known}; {imported}" if known else imported


def _same_name(patient: Patient, name: str, is_lenient: bool = False) -> bool | None:
    """Compare the components that a device sent; None if family and given name are not both there to be compared.

    None also for what stands in the place of a name: its images were made before the name was known; and for a name in
    another alphabet that can be this one, or (`is_lenient`) resembles it.
    """
    reported, known = names.from_dicom(name), patient.name
    if placeholders.is_placeholder(reported) and names.fold(str(reported)) != names.fold(str(known)):
        return None
    if "^" not in name:
        whole, family = names.fold(name), names.fold(known.family)
        if names.fold(str(known)).startswith(whole) and len(whole) >= min(len(family), MIN_TRUNCATED):
            # The family name alone fits all of a family; one who has no other name bears it alone.
            return True if len(whole) > len(family) + 1 or not known.given else None
        if _is_spelled(name, known):
            return None
    is_cut = len(name) >= MIN_CUT  # a device that shows so few characters may have torn the last component
    # «Неизв.» is cut, too.
    family_cut = MIN_TRUNCATED if names.identifies(known) else 2
    compared = [
        _same_component(reported.family, known.family, family_cut, is_lenient),
        _same_component(reported.given, known.given, 2 if is_cut and not reported.middle else None, is_lenient),
        _same_component(reported.middle, known.middle, 2 if is_cut else None, is_lenient),
    ]
    if "^" not in name and compared[0] is None:
        return None  # where its family name ends is not known
    if False in compared:
        is_foreign = names.is_cyrillic(name) != names.is_cyrillic(str(known))
        return None if is_foreign and _letters(name.split("=")[0]) < MIN_LATIN else False
    # Who bears one name alone bears no longer one.
    return True if compared[0] and (compared[1] or not (known.given or reported.given)) else None


def _contradictions_of_former(
    patient: Patient, former: Patient, name: str, patient_id: str, birth_date: str, sex: str
) -> list[str]:
    """Return in which fields a report contradicts a card that was merged into a patient's.

    What was not known when that card was written holds as in the card in use.
    """
    if former.birth_date is None and birth_date == _NO_BIRTH_DATE:
        birth_date = ""
    born = former if former.born else patient
    whole = replace(
        former,
        birth_date=born.birth_date,
        birth_year=born.birth_year,
        sex=patient.sex if former.sex is Sex.OTHER else former.sex,
    )
    return contradictions(whole, name, patient_id, birth_date, sex)


def _fits_placeholder(patient: Patient, name: str, patient_id: str) -> bool:
    """Return False if what a device reports in the place of a name cannot be this patient's.

    A named patient may have been reported under the own number before the name was known; a mother was not.
    """
    reported = names.from_dicom(name)
    if not placeholders.is_placeholder(reported):
        return True
    if names.identifies(patient.name):
        is_own = bool(patient_id) and same_id(patient.patient_id, patient_id)
        return (is_own and not placeholders.is_child_of(reported, patient.name)) or placeholders.fits_card(
            reported, patient
        )
    return placeholders.same(reported, patient.name, len(name) >= MIN_CUT) is not False


def _is_same_placeholder(patient: Patient, name: str) -> bool:
    reported = names.from_dicom(name)
    is_none = placeholders.is_placeholder(reported) and not names.identifies(patient.name)
    return is_none and placeholders.same(reported, patient.name, len(name) >= MIN_CUT) is True


def _is_transliterated(patient: Patient, name: str) -> bool:
    """Return True if a name (PN) is the patient's in Latin, as a device without Cyrillic is given it."""
    reported, known = names.from_dicom(name), patient.name
    pairs = [(reported.family, known.family), (reported.given, known.given)]
    pairs += [(reported.middle, known.middle)] if reported.middle else []
    return bool(reported.family) and all(
        names.transliterated(one) == names.transliterated(other) for one, other in pairs
    )


def _fits_birth(patient: Patient, reported: str) -> bool:
    """Return True if a DA can be this patient's date of birth."""
    if patient.birth_date:
        return reported == f"{patient.birth_date:%Y%m%d}"
    return patient.birth_year is None or reported == _NO_BIRTH_DATE or reported.startswith(str(patient.birth_year))


def _is_spelled(whole: str, known: PersonName) -> bool:
    """Return True if a name without carets is this one in another alphabet, in either order; it may be cut.

    The family name alone may be meant, and where it ends is not known: «De la Cruz Maria».
    """
    if names.is_cyrillic(whole) == names.is_cyrillic(known.family):
        return False
    full = " ".join(filter(None, (known.family, known.given, known.middle)))
    orders = full, f"{known.given} {known.family}", f"{known.given} {known.middle} {known.family}"
    return any(
        _spelled(whole, order, MIN_TRUNCATED) for order in (known.family, f"{known.family} {known.given}", *orders)
    )


def _spelled(reported: str, known: str, cut: int | None) -> bool:
    """Return True if one of two names in different alphabets can be the other: whole, an initial, or cut."""
    to_cyrillic = names.is_cyrillic(reported)
    fit = transliteration.fit(reported, known) if to_cyrillic else transliteration.fit(known, reported)
    is_short = fit is (Fit.LATIN_GOES_ON if to_cyrillic else Fit.LATIN_IS_CUT)
    return fit is Fit.WHOLE or (is_short and (_letters(reported) == 1 or (cut is not None and len(reported) >= cut)))


def _letters(text: str) -> int:
    return sum(char.isalnum() for char in text)


def _same_component(reported: str, known: str, cut: int | None, is_lenient: bool) -> bool | None:
    """Compare a component of a name: equal, an initial, or cut after at least `cut` characters (None: not cut).

    None if one is missing or has question marks, or is in another alphabet and can be the other one.
    """
    if not reported.strip(" ?") or not known:
        return None
    if names.is_cyrillic(reported) != names.is_cyrillic(known):
        is_mixed = any(names.is_cyrillic(each) and _LATIN.search(each) for each in (reported, known))
        if "?" in reported or not _letters(reported) or is_mixed or _spelled(reported, known, cut):
            return None  # in both alphabets at once a letter may stand for its look-alike
        in_order = (reported, known) if names.is_cyrillic(reported) else (known, reported)
        return None if is_lenient and transliteration.resembles(*in_order) else False
    folded = (names.fold(each).replace("№", "no").rstrip(". ") for each in (reported, known))  # as in Latin
    one, other = sorted(folded, key=len)
    initials = {names.fold(reported[:1]), names.fold(known[:1])}  # of Љ it is «ль»
    is_initial = one in initials and not one.isdigit()  # №1 is not №12
    return one == other or (other.startswith(one) and (is_initial or (cut is not None and len(one) >= cut)))


def same_id(known: str, reported: str) -> bool:
    """Return True for the same Patient ID, also as a device or an archive writes it that has no Cyrillic characters."""
    return reported == known or (reported.isascii() and reported.strip().casefold() in names.ascii_forms(known))
