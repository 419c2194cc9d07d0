"""A patient's card is corrected: a name or a birth date was found out. All orders of the patient follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from nicegui import ui

from broker.domain.actors import Actor
from broker.domain.errors import Invalid
from broker.domain.patients import correction, identifiers, names, patient_merge
from broker.domain.patients.details import PatientDetails
from broker.domain.patients.patient_match import NUMBERS
from broker.domain.patients.people import Patient
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.queries import directory_search, patient_cards
from broker.store.queries.patient_cards import CardToAmend
from broker.workflow import patient_correction
from ui.desk.consequences import draw_change, draw_lines
from ui.desk.referral import field_values, other_layout
from ui.desk.referral.field_values import (
    EMPTY,
    NO_BIRTH_DATE,
    NO_GIVEN_NAME,
    PATIENT,
    FormContent,
    FormParser,
    ReferralOptions,
    ReferralRules,
)
from ui.layout.frame import frame
from ui.live import attempt, current_actor, read_as_viewer
from ui.services import Services
from ui.text import errors, words
from ui.text import patient_cards as card_words
from ui.text.referral_fields import CHOICES, LABELS
from ui.widgets import theme
from ui.widgets.form_field import FormField, labelled_field
from ui.widgets.memo import Memo
from ui.widgets.theme import text

_OWN_LABELS = {"address": "Адрес", "passport": "Паспорт"}
_KEEP = {"snils": "Прежний СНИЛС был верным: искать и по нему", "policy": "Прежний полис был верным: искать и по нему"}


def build(services: Services) -> None:
    """Add the route /patient/{card}/correct."""

    @ui.page("/patient/{card}/correct", title="Изменить карту")
    async def correction_page(card: str) -> None:
        actor = current_actor(services)
        number = card_words.number(card)
        found = await read_as_viewer(services, lambda reader: patient_cards.to_amend(reader, number))
        insurers = await read_as_viewer(services, directory_search.insurers)
        with frame(services, actor, "/studies"), ui.element("div").classes("page tall"):
            if not permissions.may(actor, Permission.AMEND):
                theme.empty("Карту исправляет регистратура.", "Скажите ей, что в карте не так.")
            elif found is None:
                theme.empty(f"Карты с номером «{number[:64]}» нет.", "Найдите пациента по фамилии:", "/")
            else:
                CorrectionPage(services, actor, found, ReferralOptions((), (), (), {}, insurers))


class _Rules(ReferralRules):
    """Whatever is typed is said of this patient."""

    @property
    def corrects_patient(self) -> bool:
        return True


class CorrectionPage:
    """One open card. What it saves is what it shows: a card that has changed since is refused."""

    def __init__(self, services: Services, actor: Actor, found: CardToAmend, options: ReferralOptions) -> None:
        self._options = options
        self._services, self._actor, self._found, self._patient = services, actor, found, found.patient
        patient = found.patient
        self._fields: dict[str, FormField] = {}
        self._kept: dict[str, ui.checkbox] = {}  # was the former number right in its time?
        self._boxes: dict[str, ui.element] = {}  # around these questions
        self._same_person: ui.checkbox | None = None  # the answer of who has seen what was made under the former data
        self._orders: Memo | None = None
        self._region: Memo | None = None
        with ui.element("div").classes("page-head"):
            text("h1", f"Изменить карту {patient.patient_id}")
        if services.clinic.sends_to_bus and (lacking := card_words.lacking(patient)):
            with ui.element("div").classes("verdict tone-amber"):
                ui.icon("info").props("aria-hidden=true")
                text("p", f"{lacking}.")
        with ui.element("div").classes("form").style("max-width: 840px"):
            self._draw()
        for key, value in field_values.of_patient(patient).items():
            if key in self._fields:
                self._fields[key].value = value if key != "insurer" else field_values.shown_insurer(value, options)
                other_layout.offer(self._fields, key, self._take_russian)
        self._fields["address"].value, self._fields["passport"].value = found.details.address, found.details.passport
        self._made = Memo(ui.element("section").classes("section made-before"))
        note = text("p", "Исправится во всех направлениях этого пациента, и в тех, что уже выполнены.", "muted small")
        note.style("margin-top: 12px")
        with ui.element("div").classes("merge-after"):
            self._orders = Memo(ui.element("section"))
            self._region = Memo(ui.element("section"))
        self._show_consequences()
        with ui.element("div").classes("acts").style("margin-top: 16px"):
            theme.button("Сохранить", self._save, kind="primary", key="Ctrl+Enter")
            ui.link("Не менять", card_words.address(patient.patient_id)).classes("btn").props("data-back")
        self._note = text("p", "", "bad small").props("role=alert")

    def _draw(self) -> None:
        self._add("family", span=4, narrow=12)
        self._add("given", span=4, quick=[("нет", lambda: self._say("given", NO_GIVEN_NAME))])
        self._add("middle", span=4)
        unknown = [("нет", lambda: self._say("birth_date", NO_BIRTH_DATE))]
        self._add("birth_date", span=4, quick=unknown, props="placeholder=ДД.ММ.ГГГГ inputmode=numeric")
        self._add("sex", make=ui.select, span=4, options=dict(CHOICES["sex"]))
        self._add("phone", span=4, narrow=12, props="inputmode=tel")
        self._add("snils", props='mask="###-###-### ##" inputmode=numeric', span=6)
        self._add("policy", props='mask="#### #### #### ####" inputmode=numeric', span=6)
        self._add("insurer", narrow=12)
        for field in NUMBERS:
            self._draw_keeping(field)
        if self._patient.mother or names.is_newborn(self._patient.name):
            self._add("mother")
        self._add("address", span=8, narrow=12)
        self._add("passport", span=4, narrow=12)

    def _add(self, key: str, *, make: Callable[..., Any] = ui.input, **options: Any) -> None:
        field = labelled_field(LABELS.get(key) or _OWN_LABELS[key], make, name=f"card-{key}", **options)
        field.control.on_value_change(self._show_consequences)
        if make is ui.input:
            field.control.props("maxlength=300" if key in _OWN_LABELS else "maxlength=200")
            field.control.on("blur", lambda: self._usual(key))
        self._fields[key] = field

    def _say(self, key: str, word: str) -> None:
        self._fields[key].value = word

    def _usual(self, key: str) -> None:
        """Write what was typed the way it is always shown."""
        typed = names.tidy(self._fields[key].value or "")
        if typed:
            self._fields[key].value = field_values.usual_form(key, typed, self._services.today())
        other_layout.offer(self._fields, key, self._take_russian)

    def _take_russian(self) -> None:
        for key in other_layout.take_over(self._fields):
            self._usual(key)

    def _draw_keeping(self, field: str) -> None:
        """Draw the question about a number that is replaced; it is seen once another one is typed."""
        with ui.element("div").classes("field s6 n12") as box:
            self._kept[field] = ui.checkbox(_KEEP[field]).props(f'dense aria-label="{_KEEP[field]}"')
        self._boxes[field] = box
        box.set_visibility(False)

    def _is_replaced(self, field: str, patient: Patient) -> bool:
        old = getattr(self._patient, field)
        return bool(old) and identifiers.digits(getattr(patient, field)) != old

    def _show_consequences(self) -> None:
        if self._orders is None or self._region is None:
            return  # still being drawn
        patient, _ = self._parsed()
        for field, box in self._boxes.items():
            box.set_visibility(self._is_replaced(field, patient))
        self._show_made(correction.contradictions(self._patient, patient))
        changed = patient_merge.changes(self._patient, patient)
        draw_change(self._services, (self._orders, self._region), self._found.orders, changed)

    def _show_made(self, contradicted: tuple[str, ...]) -> None:
        """Ask whether it is the same person where the new data contradict those under which something was made."""
        shown = contradicted if self._found.made else ()
        if not shown:
            self._same_person = None
        self._made.show(shown, lambda: self._draw_made(shown))
        self._made.element.set_visibility(bool(shown))

    def _draw_made(self, contradicted: tuple[str, ...]) -> None:
        if not contradicted:
            return
        patient, today = self._patient, self._services.today()
        with ui.element("div").classes("verdict tone-amber"):
            ui.icon("help").props("aria-hidden=true")
            with ui.element("div"):
                text("p", card_words.makes_another(contradicted))
                text("p", f"Было: {patient.name}, {theme.born_and_age(patient.born, today)}", "todo")
        lines = [("image", card_words.made(each)) for each in self._found.made]
        draw_lines("Сделано под прежними данными", lines)
        text("p", card_words.WHAT_BECOMES_OF_MADE, "muted small").style("margin: 8px 0")
        self._same_person = ui.checkbox(card_words.SAME_PERSON).props(f'dense aria-label="{card_words.SAME_PERSON}"')

    def _parsed(self) -> tuple[Patient, Mapping[str, str]]:
        kept = field_values.of_patient(self._patient) | {"pregnancy": self._patient.pregnancy}
        typed = {key: field.value for key, field in self._fields.items() if key not in _OWN_LABELS}
        content = FormContent({**EMPTY, **kept, **typed}, self._patient, external=False, owner=None, referrer_snils="")
        parser = FormParser(content, self._options, _Rules(), self._services.now())
        patient = parser.patient()
        return patient, parser.problems

    def _details(self) -> PatientDetails:
        address, passport = (str(self._fields[key].value or "").strip() for key in ("address", "passport"))
        return replace(self._found.details, address=address, passport=passport)

    async def _save(self) -> None:
        patient, problems = self._parsed()
        if problems:
            self._show(problems)
            return
        asked = self._same_person
        if asked is not None and not asked.value:
            self._note.set_text(card_words.LOOK_AT_MADE)
            asked.run_method("focus")
            return
        made_seen = [each.order.id for each in self._found.made]
        services, details = self._services, self._details()
        kept = [field for field, box in self._kept.items() if self._is_replaced(field, patient) and box.value]
        try:
            done = await attempt(
                lambda: services.store.write(
                    patient_correction.correct,
                    patient,
                    self._actor,
                    services.clinic,
                    details=details,
                    kept_numbers=kept,
                    made_seen=made_seen,
                ),
                let_pass=(Invalid,),
                report=self._report,
            )
        except Invalid as caught:
            self._show(caught.problems)
            return
        if done is not None:
            ui.navigate.to(card_words.address(self._patient.patient_id))

    def _report(self, why: str) -> None:
        self._note.set_text(why)

    def _show(self, problems: Mapping[str, str]) -> None:
        for key, field in self._fields.items():
            field.show_error(errors.problem(key, problems[key]) if key in problems else "")
        first = next((key for key in PATIENT if key in problems and key in self._fields), None)
        if first:
            self._fields[first].focus()
        others = {key: code for key, code in problems.items() if key not in self._fields}
        count = words.plural(len(problems), "поле", "поля", "полей")
        self._note.set_text(errors.problems(others) or f"Не сохранено: исправьте {count}")
