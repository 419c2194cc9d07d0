"""Compares what stands in the place of a name («Неизвестный №3», «Иванова новорождённая») with names. Pure.

Two of them are of one person only if they agree in every word that both say: the number, whose child it is, the child's
sex, which of twins.
"""

from __future__ import annotations

import re

from broker.domain.patients import names
from broker.domain.patients.people import Patient, PersonName

_NUMBER_SIGN = re.compile(r"(?:№|\bno(?=\d|\W|$))[. ]*")  # a character set without № has «No»
_NUMBER = re.compile(r"(?:№|no(?=[. ]*\d))")
_INITIALS = ("ль", "нь", "дж", "дз")  # of Љ, Њ, Џ, Ӡ, folded
MIN_TORN = 2  # letters of a word that a device has torn off
MIN_TORN_NUMBER = 4  # characters of such a number; №12 is not №1


def is_placeholder(name: PersonName) -> bool:
    """Return True for what stands in the place of a name, also the number that is left of it on a small device."""
    is_number = bool(_NUMBER.match(names.fold(name.family))) and not name.given
    return not names.identifies(name) or is_number


def fits_card(reported: PersonName, card: Patient) -> bool:
    """Return True if what a device reports in the place of a name may be a card's that bears a person's name.

    It bore the number of this card («Неизвестный №004512»), or is how the device writes the name: Неизвестный Э.
    """
    known = card.name
    if card.patient_id and _numbers(reported) == {names.fold(card.patient_id)} and names.is_unidentified(reported):
        return True
    if names.fold(reported.family) != names.fold(known.family) or (reported.given and not known.given):
        return False
    short = names.fold(reported.given).rstrip(". ")
    return not short or short in (names.fold(known.given), names.fold(known.given[:1]))


def is_child_of(reported: PersonName, mother: PersonName) -> bool:
    """Return True for «Иванова новорождённая мать Мария» beside «Иванова Мария»."""
    words = names.fold(str(reported)).split()
    return bool(mother.given) and words[-2:] == ["мать", names.fold(mother.given)]


def same(reported: PersonName, known: PersonName, is_cut: bool) -> bool | None:
    """Compare two that stand in the place of names; None if what was reported says less than is known.

    `is_cut`: the device may have torn the last word.
    """
    if names.fold(str(reported)) == names.fold(str(known)):
        return True
    if names.is_newborn(known):
        if form := _short_form(reported):
            return _is_short_form(form, known)
        return _same_newborn(reported, known, is_cut)
    if names.is_newborn(reported):
        return False
    mine, theirs = _numbers(reported), _numbers(known)
    if mine != theirs and mine and not (mine < theirs and _last_number(known) in mine):
        whole = next(iter(theirs), "")
        torn = next(iter(mine)) if len(mine) == len(theirs) == 1 else ""
        if not (is_cut and len(torn) >= MIN_TORN_NUMBER and whole.startswith(torn)):
            return False
    said, stated = _words(reported), _words(known)
    spelled = [*stated, *map(names.transliterated, stated)]
    if not all(any(_is_short_for(word, other, is_cut) for other in spelled) for word in said):
        return False
    return True if mine and mine == theirs else None


def are_compatible(one: PersonName, other: PersonName) -> bool:
    """Return True for two in the place of a name of which neither contradicts the other: «Неизвестный», «… №777».

    They are one person's only under one number.
    """
    if names.identifies(one) or names.identifies(other):
        return False
    return any(same(mine, theirs, is_cut=False) is not False for mine, theirs in ((one, other), (other, one)))


def _same_newborn(reported: PersonName, known: PersonName, is_cut: bool) -> bool | None:
    if not names.is_newborn(reported):
        return False
    said, stated = (names.fold(str(each)).replace(",", " ").split() for each in (reported, known))
    if len(said) > len(stated):
        return False
    pairs = list(zip(said, stated, strict=False))
    if any(one != other for one, other in pairs[:1]):
        return False  # another family
    fits = [_is_short_for(one, other, is_cut and at == len(pairs)) for at, (one, other) in enumerate(pairs, 1)]
    return None if all(fits) else False


def _short_form(reported: PersonName) -> tuple[str, str] | None:
    """Return family name and number of a newborn as a small device is given it («Иванова н/р 2»); or None."""
    words = _all_words(reported)
    if len(words) == 3 and words[1] in (names.SHORT_NEWBORN, "n/r"):
        return words[0], words[2]
    is_number = len(words) == 1 and bool(_numbers(reported))
    return ("", words[0]) if is_number else None


def _is_short_form(form: tuple[str, str], known: PersonName) -> bool:
    """Return True if family name and number are a newborn's, also in Latin; the family name may be cut."""
    family, number = form
    words, which = _all_words(known), _last_number(known)
    spelled = [*words, *map(names.transliterated, words), *names.transliterated(str(known)).split()]
    is_number = number == which if which else number in spelled
    return is_number and any(word.startswith(family) for word in spelled)


def _last_number(name: PersonName) -> str:
    """Return the number that tells two of one name apart: it is added last."""
    return next((word for word in reversed(_all_words(name)) if any(char.isdigit() for char in word)), "")


def _is_short_for(one: str, other: str, is_cut: bool) -> bool:
    """Return True for the same word, its beginning with a point («Неизв.»), an initial, or what a device has left."""
    short = one.rstrip(".")
    is_beginning = other.startswith(short) and not any(char.isdigit() for char in short)
    is_initial = len(short) == 1 or short in _INITIALS
    is_torn = is_cut and len(short) >= MIN_TORN
    shortened = one.endswith(".") or is_initial or short in ("неизв", "neizv") or is_torn
    return short == other.rstrip(".") or (is_beginning and shortened)


def _words(name: PersonName) -> list[str]:
    return [word for word in _all_words(name) if not any(char.isdigit() for char in word)]


def _numbers(name: PersonName) -> frozenset[str]:
    return frozenset(word for word in _all_words(name) if any(char.isdigit() for char in word))


def _all_words(name: PersonName) -> list[str]:
    return _NUMBER_SIGN.sub("", names.fold(str(name)).replace(",", " ")).split()
