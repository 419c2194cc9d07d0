"""The fields of a referral: drawn, filled, parsed, checked as one types, kept as a draft. Saves nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime, time
from typing import Any

from nicegui import ui

from broker.domain.clinic.devices import Device, ProcedureType
from broker.domain.orders import Order, ReferralDraft
from broker.domain.patients import identifiers, incomplete, names
from broker.domain.patients.people import NO_NAME, Patient, PersonName, Sex
from ui.desk.referral import field_values, other_layout, suggestions
from ui.desk.referral.field_values import (
    EMPTY,
    NAME,
    NO_BIRTH_DATE,
    NO_GIVEN_NAME,
    PATIENT,
    RARE,
    STUDY,
    FormContent,
    FormParser,
    ReferralOptions,
    ReferralRules,
)
from ui.desk.referral.suggestions import DirectorySuggestions
from ui.desk.slots import DEFAULT_MINUTES
from ui.text import errors, patient_cards, typed_values, words
from ui.text.referral_fields import CHOICES, LABELS
from ui.widgets.form_field import FormField, labelled_field
from ui.widgets.theme import text

# Where a problem is shown whose own field is not on the screen.
SHOWN_AT = {"patient": "family", "patient_id": "family", "referrer_snils": "referrer"}
NEEDS_MORE = frozenset({"CT", "MR", "XA", "NM"})  # weight, allergies and pregnancy matter there


class ReferralForm:
    """The two columns of fields; `changed` is called with a field's name after every change that a person made."""

    def __init__(
        self,
        options: ReferralOptions,
        rules: ReferralRules,
        directories: DirectorySuggestions,
        today: Callable[[], date],
        changed: Callable[[str], None],
    ) -> None:
        self.options = options
        self._rules = rules
        self._directories = directories
        self._today = today
        self._changed = changed
        self.filling = False
        self.fields: dict[str, FormField] = {}
        self.patient: Patient | None = None  # the chosen patient
        self.nearest = True  # the time follows the device's free time until a person chooses one
        self.external = False  # another clinic performs the study
        self.editing = ""  # the field that a person is typing into
        self.left: Callable[[str], None] = lambda key: None  # called when a person leaves a field that was changed
        self._from_region: set[str] = set()  # fields whose hint says that the region filled them
        self._replaced: set[str] = set()  # fields whose hint shows what was typed before a patient was chosen
        self._owners: dict[str, str | None] = {}  # what the field shows -> GUID
        self._referrers: dict[str, str] = {}  # what the field shows -> СНИЛС

    # ---- drawing ----

    def draw_patient(self) -> None:
        """Draw the patient's fields; the search above them belongs to the page."""
        add = self._add
        add("family", name="last", span=4, narrow=12)
        add("given", name="first", span=4, quick=[("нет", lambda: self._say("given", NO_GIVEN_NAME))])
        add("middle", name="middle", span=4)
        add("mother", name="mother", narrow=12, hint="Найдите её карту или напишите фамилию, имя и отчество")
        unknown = [("нет", lambda: self._say("birth_date", NO_BIRTH_DATE))]
        add("birth_date", name="born", span=4, quick=unknown, props="placeholder=ДД.ММ.ГГГГ inputmode=numeric")
        add("sex", ui.select, name="sex", span=4)
        add("phone", name="phone", span=4, narrow=12, props="inputmode=tel")
        add("snils", name="snils", span=4, narrow=5, props='mask="###-###-### ##" inputmode=numeric')
        add("policy", name="policy", span=5, narrow=7, props='mask="#### #### #### ####" inputmode=numeric')
        add("insurer", label="Страховая", name="insurer", span=3, narrow=12)
        suggestions.attach_insurer(self._directories, self.fields["insurer"], filling=lambda: self.filling)

    def draw_rare(self) -> None:
        """Draw the rarely used fields behind «Ещё»."""
        self._more = ui.element("details").style("margin-top: 12px")
        with self._more:
            text("summary", "Ещё: вес, рост, аллергия, беременность")
            with ui.element("div").classes("form").style("margin-top: 8px"):
                self._add("weight", label="Вес, кг", name="weight", span=3, props="inputmode=decimal")
                self._add("height", label="Рост, см", name="height", span=3, props="inputmode=decimal")
                self._add("pregnancy", name="pregnancy", span=6, narrow=12)
                self._add("allergies", name="allergy", span=12, narrow=12)

    def draw_study(self, nearest: Callable[[], Any]) -> None:
        """Draw the fields of the study; `nearest` is called to find the next free time."""
        add = self._add
        dense: dict[str, Any] = {"make": ui.select, "props": "options-dense"}
        procedures = {each.code: each.name for each in self.options.procedures}
        days = [(word, lambda word=word: self.choose_day(word)) for word in ("сегодня", "завтра")]
        add("procedure", label="Что делаем", name="what", narrow=12, options=procedures, with_input=True, **dense)
        there = [("в другую клинику", lambda: self.send_external(True))] if self.options.organisation else []
        here = [("делаем у нас", lambda: self.send_external(False))]
        add("device", name="device", narrow=12, options={"": "Авто"}, value="", quick=there, **dense)
        add("owner", name="owner", narrow=12, quick=here, props='placeholder="Название или GUID"')
        add("date", name="day", span=6, value="сегодня", quick=days)
        add("time", name="time", span=6, props="inputmode=numeric", quick=[("ближайшее", nearest)])
        add("laterality", name="side", span=6, value="", **dense)
        add("finance", name="pay", span=6, value="1", **dense)
        add("referrer", name="referrer", span=8, narrow=12)
        add("diagnosis", label="Диагноз, МКБ-10", name="diagnosis", span=4, narrow=12, props="placeholder=M17.1")
        add("comment", label="Комментарий аппарату", name="comment", span=9, narrow=12)
        add("urgent", ui.checkbox, name="urgent", span=3)
        suggestions.attach(
            self._directories,
            self.fields,
            filling=lambda: self.filling,
            note_doctor=self._referrers.__setitem__,
            note_owner=self._owners.__setitem__,
        )
        self._show_place(False)
        self._offer_devices()

    def _add(self, key: str, make: Callable[..., Any] = ui.input, label: str = "", **options: Any) -> FormField:
        if make is ui.select:
            options = {"options": dict(CHOICES.get(key, {}))} | options
        field = labelled_field(label or LABELS[key], make, **options)
        self.fields[key] = field
        field.control.on_value_change(lambda: self._on_change(key))
        if make is ui.input:
            field.control.props("maxlength=1024" if key == "comment" else "maxlength=200")
            field.control.on("blur", lambda: self._on_blur(key))
        return field

    # ---- filling ----

    def fill_patient(self, patient: Patient) -> None:
        """Show a known patient."""
        with self._quietly():
            self.patient = patient
            self._forget_replaced()
            self._put(field_values.of_patient(patient))

    def take_over(self, patient: Patient) -> None:
        """Show a known patient in the place of what was typed; what he lacks stays, what differs is said below."""
        typed = {key: self.fields[key].value for key in (*PATIENT, *RARE)}
        self.fill_patient(patient)
        shown = {key: self.fields[key].value for key in typed}
        with self._quietly():
            self._put({key: value for key, value in typed.items() if value and not shown[key]})
        for key in (*NAME, "birth_date"):
            if typed[key] and shown[key] and names.fold(typed[key]) != names.fold(shown[key]):
                self.fields[key].show_hint(f"Было набрано: {typed[key]}")
                self._replaced.add(key)

    def fill_from_region(self, values: Mapping[str, Any], hint: str) -> None:
        """Fill fields that are empty with what the region knows, and mark them by this hint until they are changed."""
        empty = {key: value for key, value in values.items() if not self.fields[key].value}
        with self._quietly():
            self._put(empty)
        for key in empty:
            self.fields[key].show_hint(hint)
            self._from_region.add(key)

    def fill_words(self, typed: str) -> None:
        """Fill the fields from a search without a match: digits are a birth date, a СНИЛС or a policy, words a name."""
        self.clear(PATIENT + RARE)
        found = typed_values.split_search(typed, self._today())
        with self._quietly():
            self._put(found)

    def fill_order(self, order: Order, owner_name: str = "") -> None:
        """Show an order that is to be changed; `owner_name` is the name of the other clinic that performs it."""
        self.fill_patient(order.patient)
        step = order.steps[0]
        self.nearest = False
        self._owners[owner_name] = order.owner
        with self._quietly():
            self._put({"pregnancy": order.patient.pregnancy, "procedure": order.procedure_code})
            self._offer_devices()
            values: dict[str, Any] = {
                "device": step.station_ae_titles[0] if step.station_ae_titles else "",
                "owner": owner_name,
                "date": words.day(step.start.date(), self._today()),
                "time": f"{step.start:%H:%M}",
            }
            self._put(values | self._referral_values(order))
            self._show_place(bool(order.owner))

    def fill_another(self, order: Order) -> None:
        """Show the patient and the referral of an order, for another study: which, where and when is typed."""
        self.fill_patient(order.patient)
        with self._quietly():
            day = words.day(order.steps[0].start.date(), self._today())
            self._put({"pregnancy": order.patient.pregnancy, "date": day})
            self._put(self._referral_values(replace(order, comment="", laterality="")))

    def fill_draft(self, draft: ReferralDraft, patient: Patient | None) -> None:
        """Show another clinic's referral; `patient` is the same person as known here, None for a new one."""
        with self._quietly():
            if patient:
                self.fill_patient(patient)
            else:
                self._put(field_values.of_described(draft.patient))
            self._put({"procedure": draft.procedure_code or None})
            self._offer_devices()
            self._put(self._referral_values(draft))

    def fill_done(self, start: datetime, ae_title: str, *, device_known: bool, time_known: bool) -> None:
        """Show where and when a study was made already; what its device reported, or is known, cannot be changed."""
        self.nearest = False
        values: dict[str, Any] = {"date": words.day(start.date(), self._today())}
        if ae_title:
            values["device"] = ae_title
        if time_known:
            values["time"] = f"{start:%H:%M}"
        with self._quietly():
            self._offer_devices()
            self._put(values)
        for key in [*(["device"] if device_known else []), *(["date", "time"] if time_known else [])]:
            self.fields[key].control.disable()
            self.fields[key].box.classes("locked")

    def forget_sex(self) -> None:
        """Empty the sex, which was not reported."""
        with self._quietly():
            self._put({"sex": None})

    def fix_owner(self) -> None:
        """Make the performing clinic read-only."""
        for key in ("device", "owner"):
            self.fields[key].box.classes("locked")
        if self.external:
            self.fields["owner"].control.disable()

    def clear(self, keys: Sequence[str] = (*PATIENT, *RARE, *STUDY)) -> None:
        """Empty these fields."""
        with self._quietly():
            if "family" in keys:
                self.patient = None
                self._forget_replaced()
                self.fields["given"].show_hint("")
            self._put({key: EMPTY[key] for key in keys})
            if "weight" in keys:
                self._more.props(remove="open")
            if "procedure" in keys:
                self.nearest = True
                self._show_place(False)
                self._offer_devices()

    def choose_day(self, word: str) -> None:
        """Set the day by its word, such as «завтра»."""
        self.fields["date"].value = word

    def choose_time(self, at: str, *, nearest: bool = False) -> None:
        """Set the time; with `nearest` it keeps following the first free one."""
        self.nearest = nearest
        if self.fields["time"].value != at:
            with self._quietly():
                self._put({"time": at})
        if not nearest:
            self._changed("time")

    def send_external(self, external: bool) -> None:
        """Choose whether another clinic performs the study."""
        if external != self.external:
            self._show_place(external)
            self.fields["owner" if external else "device"].focus()
            self._changed("device")

    # ---- people who are not fully known ----

    def fill_unidentified(self) -> None:
        """Fill in an unidentified person; a number of its own comes with the card."""
        self.clear(PATIENT + RARE)
        name = incomplete.unidentified_name(self._sex())
        with self._quietly():
            self._put({"family": name.family, "birth_date": NO_BIRTH_DATE})
        self.fields["given"].show_hint("Пусто: впишется номер карты")
        self.fields["sex"].focus()
        self._changed("family")

    def fill_newborn(self, mother: Patient | None = None, typed: str = "") -> None:
        """Fill in a newborn by its mother, a known one or by what was typed of her; neither: ask for her first."""
        if mother is None and not typed:
            self.clear(PATIENT + RARE)
        name = incomplete.newborn_name(mother.name if mother else names.split(typed), self._sex())
        values: dict[str, Any] = {"family": name.family, "given": name.given, "middle": name.middle}
        if not self.fields["birth_date"].value:
            values["birth_date"] = words.born(self._today())
        if mother or typed:
            values["mother"] = patient_cards.mother(mother) if mother else typed
            values["phone"] = self.fields["phone"].value or (mother.phone if mother else "")
        with self._quietly():
            self._put(values)
        self.fields["sex" if mother or typed else "mother"].focus()
        self._changed("family")

    def _is_newborn(self) -> bool:
        parts = (self.fields[key].value or "" for key in NAME)
        return bool(self.fields["mother"].value) or names.is_newborn(PersonName(*parts))

    def _sex(self) -> Sex | None:
        return Sex(self.fields["sex"].value) if self.fields["sex"].value else None

    def _say(self, key: str, word: str) -> None:
        """Fill in the word that says that there is none, or that it is not known."""
        self.fields[key].value = word
        self.fields[self.first_empty(PATIENT)].focus()

    def _fit_word_to_sex(self) -> None:
        """Write «Неизвестная», «новорождённая» of a woman and a girl."""
        family, given, sex = self.fields["family"].value, self.fields["given"].value, self._sex()
        pairs = (
            ("family", family, [incomplete.unidentified_name(each).family for each in Sex]),
            ("given", given, [incomplete.newborn_name(NO_NAME, each).given for each in Sex]),
        )
        for key, written, known in pairs:
            if written in known:
                name = incomplete.unidentified_name(sex) if key == "family" else incomplete.newborn_name(NO_NAME, sex)
                self._put({key: getattr(name, key)})

    # ---- drafts ----

    def content(self) -> dict[str, Any]:
        """Return everything typed, as a draft stores it."""
        fields = {key: field.value for key, field in self.fields.items()}
        day = self.day()
        return {
            **fields,
            "external": self.external,
            "owner_guid": self.owner(),
            "referrer_snils": self._referrer_snils(),
            "date": day.isoformat() if day else fields["date"],
            "nearest": self.nearest,
            "chosen": field_values.patient_to_draft(self.patient),
        }

    def restore(self, content: Mapping[str, Any]) -> None:
        """Show a draft; a day that has passed meanwhile becomes today."""
        with self._quietly():
            chosen = content.get("chosen")
            self.patient = field_values.patient_from_draft(chosen) if chosen else None
            values = {key: content.get(key, EMPTY[key]) for key in self.fields}
            values["date"], passed = field_values.day_from_draft(values["date"], self._today())
            if values["procedure"] not in {each.code for each in self.options.procedures}:
                values["procedure"] = None
            self._put({"procedure": values["procedure"]})
            self._offer_devices()
            for key, field in self.fields.items():
                if isinstance(field.control, ui.select) and values[key] not in field.control.options:
                    values[key] = EMPTY[key]
            if passed:
                values["time"] = ""
            self._owners[str(values["owner"])] = content.get("owner_guid")
            self._referrers[str(values["referrer"])] = str(content.get("referrer_snils") or "")
            self._put(values)
            self._show_place(bool(content.get("external")) and bool(self.options.organisation))
            self.nearest = passed or bool(content.get("nearest", True))

    def blank(self) -> bool:
        """Return True if nothing worth saving was typed."""
        by_themselves = ("date", "time", "device", "sex")
        typed = {key: field.value for key, field in self.fields.items() if key not in by_themselves}
        return not any((value or EMPTY[key]) != EMPTY[key] for key, value in typed.items())

    # ---- reading ----

    def first_empty(self, keys: Sequence[str]) -> str:
        """Return the first of these fields that is empty, or the last one."""
        asked = [key for key in keys if key != "insurer" and (key != "mother" or self._is_newborn())]
        return next((key for key in asked if not self.fields[key].value), asked[-1])

    def minutes(self) -> int:
        """Return how many minutes the chosen procedure takes."""
        procedure = self.procedure()
        return procedure.minutes if procedure else DEFAULT_MINUTES

    def day(self) -> date | None:
        """Return the day that is typed, or None."""
        return typed_values.parse_day(self.fields["date"].value or "", self._today())

    def procedure(self) -> ProcedureType | None:
        """Return the chosen procedure, or None."""
        return self.options.procedure(self.fields["procedure"].value)

    def device(self) -> Device | None:
        """Return the chosen device, or the one that «Авто» stands for."""
        return self.options.device(self.procedure(), self.fields["device"].value)

    def parser(self, now: datetime) -> FormParser:
        """Return a parser of what the form holds at this local time."""
        content = FormContent(
            fields={key: field.value for key, field in self.fields.items()},
            patient=self.patient,
            external=self.external,
            owner=self.owner(),
            referrer_snils=self._referrer_snils(),
        )
        return FormParser(content, self.options, self._rules, now)

    def owner(self) -> str | None:
        """Return the GUID of the other clinic that is named; None if it is not known."""
        typed = names.tidy(self.fields["owner"].value or "")
        return self._owners.get(typed) or (typed.lower() if identifiers.is_guid(typed) else None)

    def show_problems(self, problems: Mapping[str, str]) -> None:
        """Show exactly these problems, and put the cursor into the first wrong field."""
        shown: dict[str, str] = {}
        for key, code in problems.items():
            shown.setdefault(SHOWN_AT.get(key, key), errors.problem(key, code))
        for key, field in self.fields.items():
            field.show_error(shown.get(key, ""))
        if any(key in shown for key in RARE):
            self._more.props("open")
        first = next((key for key in self.fields if key in shown), None)
        if first:
            self.fields[first].focus()

    # ---- inside ----

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        before, self.filling = self.filling, True
        try:
            yield
        finally:
            self.filling = before

    def _forget_replaced(self) -> None:
        self.editing = ""
        for key in self._replaced | self._from_region:
            self.fields[key].show_hint("")
        self._replaced.clear()
        self._from_region.clear()

    def _referrer_snils(self) -> str:
        return self._referrers.get(names.tidy(self.fields["referrer"].value or ""), "")

    def _referral_values(self, asked: Order | ReferralDraft) -> dict[str, Any]:
        values = field_values.of_referral(asked)
        self._referrers[values["referrer"]] = asked.referrer_snils
        return values

    def _show_place(self, external: bool) -> None:
        """Show the fields for a device and a time here, or for another clinic and a preferred day."""
        self.external = external
        for key in ("device", "time"):
            self.fields[key].box.set_visibility(not external)
        self.fields["owner"].box.set_visibility(external)
        date = self.fields["date"].box
        date.classes(add="s12", remove="s6") if external else date.classes(add="s6", remove="s12")

    def _put(self, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            self.fields[key].value = value if key != "insurer" else field_values.shown_insurer(value, self.options)
            self.fields[key].show_error("")
            other_layout.offer(self.fields, key, self._take_russian)
        if any(values.get(key) for key in RARE):
            self._more.props("open")
        self._show_dependent()

    def _take_russian(self) -> None:
        for key in other_layout.take_over(self.fields):
            self._on_blur(key)
        self.fields[self.first_empty(PATIENT)].focus()

    def _show_dependent(self) -> None:
        """Show the fields that are asked for only where others say so: the less there is to pass by, the better."""
        self.fields["mother"].box.set_visibility(self._is_newborn())
        self.fields["insurer"].box.set_visibility(bool(self.fields["policy"].value or self.fields["insurer"].value))

    def _on_change(self, key: str) -> None:
        if self.filling:
            return
        self.editing = key
        self.fields[key].show_offer("")
        if key in self._from_region:
            self._from_region.discard(key)
            self.fields[key].show_hint("")
        if key == "time":
            self.nearest = False
        if key == "sex":
            with self._quietly():
                self._fit_word_to_sex()
        if key == "procedure":
            with self._quietly():
                self._offer_devices()
            procedure = self.procedure()
            if procedure and procedure.modality in NEEDS_MORE:
                self._more.props("open")
        if self.fields[key].error:
            self._check(key)
        self._show_dependent()
        self._changed(key)

    def _on_blur(self, key: str) -> None:
        """Normalise what was typed and show what is wrong with it; empty fields are checked when saving."""
        changed, self.editing = self.editing == key, ""
        typed = names.tidy(self.fields[key].value or "")
        if not typed:
            return
        usual = field_values.usual_form(key, typed, self._today())
        if key == "insurer":
            usual = field_values.shown_insurer(field_values.insurer(typed, self.options), self.options)
        with self._quietly():
            if usual != self.fields[key].value:
                self.fields[key].value = usual
            if key == "middle" and self.fields["sex"].value is None and typed_values.sex_of_patronymic(typed):
                self._put({"sex": typed_values.sex_of_patronymic(typed)})
        if (
            changed or not self.fields[key].error
        ):  # what saving, or the sender, has found wrong stays till it is changed
            self._check(key)
        other_layout.offer(self.fields, key, self._take_russian)
        if changed:
            self.left(key)

    def _check(self, key: str) -> None:
        code = self.parser(datetime.combine(self._today(), time(23, 59))).check(key)
        self.fields[key].show_error(errors.problem(key, code) if code and code != "required" else "")

    def _offer_devices(self) -> None:
        suitable = self.options.suitable(self.procedure())
        control = self.fields["device"].control
        value = control.value if control.value in {each.ae_title for each in suitable} else ""
        auto = f"Авто: {words.device_place(suitable[0])}" if suitable else "Нет подходящего аппарата"
        if self.procedure() is None:
            auto = "Авто"
        control.set_options({"": auto} | {each.ae_title: words.device_place(each) for each in suitable}, value=value)
