"""The box under the patient's fields: who of those whom we have may be meant, and why. Saving waits for the answer.

It shows and asks; who may be meant is decided by `domain.patients.patient_match`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from broker.domain.patients import patient_match
from broker.domain.patients.identifiers import show_policy, show_snils
from broker.domain.patients.patient_match import Likeness, PatientMatch, Similarity
from broker.domain.patients.people import Patient, Sex
from ui.text import patient_cards, words
from ui.widgets import theme
from ui.widgets.memo import Memo
from ui.widgets.theme import text

SHOWN = 3  # people, each with a key of its own
_NO_MATCH = PatientMatch(Likeness.NO_MATCH)
_ASKED = (Likeness.SEVERAL, Likeness.SIMILAR, Likeness.CONTRADICTORY)
_TITLES = {
    Likeness.SIMILAR: "Похож: это он?",
    Likeness.SEVERAL: "Таких у нас несколько: кто из них?",
    Likeness.CONTRADICTORY: "Этот номер у нас записан: это он?",
    Likeness.CERTAIN: "Похож: это он?",
}
_WHY = {
    Similarity.LETTER: "отличается одна буква, дата та же",
    Similarity.INITIALS: "имя и отчество инициалами, фамилия и дата те же",
    Similarity.EXCHANGED: "фамилия и имя переставлены, дата та же",
    Similarity.SWAPPED_DATE: "день и месяц наоборот",
    Similarity.YEAR: "имя, день и месяц те же, год рождения другой",
    Similarity.LETTER_AND_DATE: "отличается одна буква, день и месяц наоборот",
    Similarity.SEX: "имя и дата те же, пол другой или не указан",
    Similarity.SPELLING: "имя другими буквами, дата та же",
    Similarity.FAMILY: "другая фамилия, остальное то же",
    Similarity.FAMILY_AND_MIDDLE: "другая фамилия, имя и дата те же, отчества нет",
    Similarity.DATE: "имя то же, день или месяц рождения другие",
    Similarity.SPELLING_ALONE: "имя другими буквами, дата рождения известна не вся",
    Similarity.PART_OF_DATE: "имя то же, дата рождения известна не вся",
    Similarity.ONE_NAME: "одно имя, дата и пол те же",
    Similarity.NEWBORN: "новорождённый той же фамилии, дата та же",
}
_NUMBERS = {"snils": "тот же СНИЛС", "policy": "тот же полис", "patient_id": "тот же номер карты"}
_DIFFERENCES = {
    "name": "другое имя",
    "birth_date": "другая дата рождения",
    "sex": "другой пол",
    "snils": "другой СНИЛС",
    "policy": "другой полис",
}


class SimilarPatients:
    """The box; `take` is called with the person who was chosen, `other` after «Другой человек»."""

    def __init__(self, take: Callable[[Patient], Awaitable[None]], other: Callable[[], Awaitable[None]]) -> None:
        self._take, self._other = take, other
        self._typed: Patient | None = None
        self._found = _NO_MATCH
        self._answer: tuple[object, ...] = ()  # whom it was about and who was shown then; empty: not answered
        self._element = ui.element("div").classes("similar").props('role=group aria-label="Похожие пациенты"')
        self._element.set_visibility(False)
        self._box = Memo(self._element)
        self._first: ui.element | None = None
        self._problem: ui.element | None = None

    def show(self, typed: Patient, found: PatientMatch) -> None:
        """Show who may be meant by what was typed; an answer that was given about it still holds."""
        self._typed, self._found = typed, found
        if self._answer and self._answer == self._question(Sex.OTHER):  # the sex was said after the answer
            self._answer = self._question(typed.sex)
        asks = self.needs_answer()
        self._element.set_visibility(asks)
        if asks:
            lines = tuple((each, self._reason(each)) for each in found.patients)
            self._box.show((found.likeness, lines), lambda: self._draw(lines))
        elif self._problem:
            self._problem.set_visibility(False)

    def needs_answer(self) -> bool:
        """Return True while it must be said who is meant before anything is saved, or shown of an earlier study."""
        return self._asks() and self._answer != self._question()

    def refused(self) -> tuple[int, ...]:
        """Return the ids of those who were shown and are not meant, as a person has said."""
        if not self._asks() or self._answer != self._question():
            return ()
        return tuple(each.stored_id for each in self._found.patients)

    def _asks(self) -> bool:
        """Return True if it is not certain who is meant, or only by what a card was before."""
        found = self._found
        return found.likeness in _ASKED or (found.likeness is Likeness.CERTAIN and found.former)

    def shared_numbers(self) -> tuple[str, ...]:
        """Return the numbers that were typed and belong to those who are shown."""
        typed = self._typed
        if typed is None or self._found.likeness is not Likeness.CONTRADICTORY:
            return ()
        if self._found.former:
            return tuple(field for field in patient_match.NUMBERS if getattr(typed, field))
        return tuple(field for each in self._found.patients for field in patient_match.shared_numbers(each, typed))

    def show_problem(self) -> None:
        """Put the focus on the first of them, and say that saving waits."""
        if self._problem and self._first:
            self._problem.set_visibility(True)
            self._first.run_method("focus")

    def forget(self) -> None:
        """Forget the answer: the form is for somebody else now."""
        self._answer = ()

    def _question(self, sex: Sex | None = None) -> tuple[object, ...]:
        """Return whom the box is about and who is shown; `sex`: as if it were this one that was typed."""
        typed = self._typed
        if typed is None:
            return ()
        shown = tuple(each.id for each in self._found.patients)
        return str(typed.name), typed.born, sex or typed.sex, typed.snils, typed.policy, shown

    def _reason(self, known: Patient) -> str:
        typed = self._typed
        return why(known, typed, self._found) if typed else ""

    def _draw(self, lines: tuple[tuple[Patient, str], ...]) -> None:
        with ui.element("p").classes("label"):
            ui.icon("help").props("aria-hidden=true")
            text("span", _TITLES[self._found.likeness])
        with ui.element("ol"):
            for number, (known, reason) in enumerate(lines[:SHOWN], 1):
                with ui.element("li"):
                    self._draw_one(number, known, reason)
        if len(lines) > SHOWN:
            text("p", f"И ещё {len(lines) - SHOWN}: нужного найдите поиском", "muted small")
        with ui.element("div").classes("row-line"):
            if self._found.likeness is Likeness.CONTRADICTORY and not self._found.former:
                text("span", "Если не он, проверьте номер: у двух людей один номер не бывает.", "muted small")
                card = patient_cards.address(self._found.patients[0].patient_id)
                ui.link("Номер вписан не тому? Исправьте его карту", card, new_tab=True).classes("small")
            else:
                theme.button("Другой человек", self._say_other, small=True, key="Alt+0").props("data-alt=0")
                text("span", "Тогда заведём новую карту", "muted small")
        self._problem = text("p", "Сначала ответьте, он ли это", "bad small").props("role=alert")
        self._problem.set_visibility(False)

    def _draw_one(self, number: int, known: Patient, reason: str) -> None:
        async def take() -> None:
            self._element.set_visibility(False)  # answered; what follows takes a moment
            await self._take(known)

        one = ui.element("button").classes("similar-one").props(f"type=button data-alt={number}").on("click", take)
        if number == 1:
            self._first = one
        with one:
            with text("span", ""):
                text("b", str(known.name))
                text("span", f", {words.born(known.born)}", "muted")
            text("span", f"{numbers(known)}; {reason}", "muted small")
            text("kbd", f"Alt+{number}", "key")

    async def _say_other(self) -> None:
        self._answer = self._question()
        self._element.set_visibility(False)
        await self._other()


def is_asked_early(typed: Patient, found: PatientMatch) -> bool:
    """Return True for a name in Latin letters that few of ours have in Cyrillic: worth asking before the birth date."""
    reasons = {patient_match.similarity(each, typed) for each in found.patients}
    return reasons == {Similarity.SPELLING_ALONE} and len(found.patients) <= SHOWN


def numbers(known: Patient) -> str:
    """Return the numbers by which people tell namesakes apart: «карта 004512, СНИЛС …445 95»."""
    ending = f", СНИЛС …{show_snils(known.snils)[-6:]}" if known.snils else ""
    if not ending and known.policy:
        ending = f", полис …{show_policy(known.policy)[-4:]}"
    return f"карта {known.patient_id}{ending}"


def why(known: Patient, typed: Patient, found: PatientMatch) -> str:
    """Return why a person may be meant, as it stands in the line: «отчество полное, дата та же»."""
    if found.likeness is Likeness.CERTAIN:
        return "так было в прежней карте"
    if found.likeness is Likeness.SEVERAL:
        return "имя, дата и пол те же"
    if found.likeness is Likeness.CONTRADICTORY:
        shared = [_NUMBERS[field] for field in patient_match.shared_numbers(known, typed)]
        if found.former:
            shared = ["это его прежний номер"]
        half = not (typed.name.family and typed.name.given)  # what is not typed yet is no other name
        differ = [field for field in found.fields if not (field == "name" and half)]
        if len(found.patients) > 1:
            differ = [field for field in patient_match.contradictions(known, typed) if not (field == "name" and half)]
        return ", ".join([*shared, *(_DIFFERENCES[field] for field in differ)])
    reason = patient_match.similarity(known, typed)
    if reason is Similarity.MIDDLE:
        return "отчество полное, дата та же" if known.name.middle else "у нас без отчества, дата та же"
    if reason is Similarity.GIVEN:
        return "имя полное, фамилия и дата те же" if known.name.given else "у нас без имени, фамилия и дата те же"
    return _WHY[reason] if reason else ""
