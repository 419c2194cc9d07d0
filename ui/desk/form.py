"""The form of the desk: the fields, the search above them, the actions under them, the device's day beside them.

It parses the fields, calls one use case and shows the result. What was typed is kept as a draft.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial

from nicegui import ui

from broker.domain.actors import Actor
from broker.domain.clinic.devices import Device
from broker.domain.errors import Duplicate, Invalid, Stale, WrongState
from broker.domain.orders import Order
from broker.domain.patients import names, patient_merge
from broker.domain.patients.confirmation import Confirmation
from broker.domain.patients.patient_match import Likeness, PatientMatch
from broker.domain.patients.people import Patient
from broker.domain.studies import prior_studies
from broker.domain.studies.avoided_repeats import AvoidedRepeat
from broker.domain.studies.prior_studies import PriorStudy
from broker.store.database import Reader
from broker.store.queries import desk, order_card, schedule
from broker.store.queries.patient_cards import OrderToMove, orders_of
from broker.store.queries.schedule import Visit
from broker.workflow.studies import avoided_repeats
from ui.desk import history
from ui.desk.actions import ActionBar
from ui.desk.consequences import draw_change
from ui.desk.decline_dialog import DeclineDialog
from ui.desk.history import PatientHistory
from ui.desk.modes.referrals import AmendMode, FormMode, IncomingMode
from ui.desk.patient_search import PatientSearch, suggest_mothers
from ui.desk.referral.field_values import PATIENT, ReferralOptions
from ui.desk.referral.form import ReferralForm
from ui.desk.referral.suggestions import DirectorySuggestions
from ui.desk.region_offer import RegionOffer
from ui.desk.repeat_warning import RepeatWarning
from ui.desk.sidebar import RecentReferrals, Sidebar
from ui.desk.similar_patients import SimilarPatients, is_asked_early
from ui.desk.slots import DeviceDay
from ui.live import Done, attempt, follow, read_as_viewer
from ui.services import Services
from ui.text import errors, patient_cards, typed_values, words
from ui.widgets import autocomplete
from ui.widgets.draft import Draft
from ui.widgets.memo import Memo
from ui.widgets.theme import text

FORM = "referral"  # the draft's name
LATE = timedelta(minutes=10)  # a time that passed longer ago today is taken for a typing error
_IDENTIFYING = frozenset({"family", "given", "middle", "birth_date", "sex", "snils", "policy"})
_NOT_FULLY_KNOWN = (("Неизвестный", ReferralForm.fill_unidentified), ("Новорождённый", ReferralForm.fill_newborn))


@dataclass(frozen=True, slots=True)
class DeskData:
    """The data that the page shows beside the form."""

    visits: list[Visit]  # of the chosen device on the day that is typed
    latest: list[Visit]
    found: PatientMatch  # whom the fields mean
    earlier: PatientHistory | None  # of that patient
    closed: str  # why it cannot be saved any more; empty if it can
    contradictions: tuple[str, ...]  # in what a study that was made contradicts the patient
    touched: tuple[OrderToMove, ...]  # that a change of the patient's card would change, too


class DeskForm:
    """One open form with the search above it, the actions under it and the device's day beside it."""

    def __init__(self, services: Services, actor: Actor, options: ReferralOptions, mode: FormMode) -> None:
        self.services, self.actor, self.mode = services, actor, mode
        self.options = mode.options(options)
        self.submission = uuid.uuid4().hex
        self.saving = False
        self.closed = ""  # why it cannot be saved any more
        self.known: Patient | None = None  # whom the fields mean, if it is one of ours
        self.requested: int | None = None  # the patient whose history has been requested
        self.draft: Draft | None = None
        self.generation = 0
        self.keystrokes = 0
        self.contradictions: tuple[str, ...] = ()  # in what a study that was made contradicts the patient
        self.confirmed: Confirmation | None = None  # what of it a person was asked about
        self.day = DeviceDay((), {}, services.clinic.hours)
        self.device: Device | None = None  # shown in the sidebar; between two referrals that of the last one
        self.form = ReferralForm(
            self.options, mode, DirectorySuggestions(services, self.options), services.today, self.changed
        )
        with ui.element("div").classes("desk"):
            with ui.element("section").props("aria-label=Пациент"):
                self._draw_patient()
            with ui.element("section").props("aria-label=Исследование"):
                with ui.element("div").classes("head"):
                    text("h2", "Исследование")
                    text("span", mode.subtitle, "muted small cut")
                with ui.element("div").classes("form"):
                    self.form.draw_study(self.take_nearest)
            with ui.element("div").classes("after"):
                self.repeats = RepeatWarning(
                    lambda reference: self.sidebar.history.open(reference), self.avoid_repeat if mode.new else None
                )
                with ui.element("div").classes("merge-after touched") as self.touched:
                    self.touches = Memo(ui.element("section")), Memo(ui.element("section"))
                self.touched.set_visibility(False)
                self.bar = ActionBar(services, mode, self.options, self.save, self.start_new)
                self.recent = RecentReferrals(services)
            self.sidebar = Sidebar(services, self.form.choose_time)
        self.form.left = self._left
        self.form.clear()
        mode.fill(self.form)
        self.filled = self.form.parser(services.now()).patient()  # as it is known, before anybody has typed
        if mode.new:
            self.draft = Draft(services, actor, FORM, self.content, self.bar.show_draft_note)
        self._show_who()
        self.bar.draw(self.form.blank())
        if isinstance(mode, IncomingMode):
            DeclineDialog(services, mode.referral)

    def start(self) -> None:
        """Start following changes and saving a draft; called when the page is complete."""
        follow(self.services, self.refresh)
        if self.draft:
            self.draft.start()
        elif self.mode.searches:  # otherwise the patient is filled in already
            first = next((key for key in ("family", "procedure", "time") if not self.form.fields[key].value), "time")
            self.form.fields[first].focus()

    # ---- drawing ----

    def _draw_patient(self) -> None:
        with ui.element("div").classes("head"):
            text("h2", "Пациент")
            self.who = text("span", "", "muted small")
            ui.element("div").classes("spring")
            if not self.mode.patient_is_fixed:
                for word, fill in _NOT_FULLY_KNOWN:
                    begin = text("button", word, "quick").props("type=button")
                    begin.on("click", lambda fill=fill: self._begin(fill))
            self.card_link = ui.link("Карта пациента", "", new_tab=True).classes("small")
            self.card_link.set_visibility(False)
        with ui.element("div").classes("form"):
            if self.mode.searches:
                with ui.element("div").classes("field combo"):
                    self.search = PatientSearch(self.services, self.take_patient, autofocus=self.mode.new).field
            self.form.draw_patient()
            suggest_mothers(self.services, self.form)
        self.similar = SimilarPatients(self.take_similar, self.begin_new)
        self.region = RegionOffer(self.services, self.actor, self.form, self.go_on)
        self.form.draw_rare()

    def _begin(self, fill: Callable[[ReferralForm], None]) -> None:
        """Begin with somebody who is not fully known."""
        self.similar.forget()
        fill(self.form)
        self._show_who()

    # ---- the patient ----

    async def take_patient(self, patient: Patient | None, typed: str) -> None:
        """Fill the form with a found patient, or with what was typed for a new one."""
        self.search.value = ""
        if patient:
            self.form.fill_patient(patient)
        else:
            self.form.fill_words(typed)
        self.changed("family")
        first = "procedure" if patient else self.form.first_empty(PATIENT)
        self.form.fields[first].focus()
        self._show_who()
        await self.refresh()

    async def take_similar(self, patient: Patient) -> None:
        """Go on with a known patient who was meant; what he lacks stays as it was typed."""
        self.form.take_over(patient)
        self.bar.show_note("")
        self.changed("procedure")
        self.form.fields[self.form.first_empty(("procedure", "time"))].focus()
        self._show_who()
        await self.refresh()

    async def begin_new(self) -> None:
        """Go on with somebody who is none of the similar ones."""
        self.bar.show_note("")
        self.form.fields[self.form.first_empty((*PATIENT, "procedure"))].focus()
        await self.refresh()

    async def go_on(self) -> None:
        """Go on after fields were filled from the region."""
        self.changed("phone")
        self.form.fields[self.form.first_empty((*PATIENT, "procedure"))].focus()
        await self.refresh()

    def _left(self, key: str) -> None:
        """Ask the region once a field is typed to its end."""
        if key in _IDENTIFYING and self.mode.asks_region:
            ui.timer(0, self.refresh, once=True)

    def _show_who(self) -> None:
        """Show the chosen patient's card number; nothing for a new one."""
        patient = self.form.patient
        self.who.set_text(f"карта {patient.patient_id}" if patient else "")
        self.card_link.set_visibility(patient is not None)
        if patient:
            self.card_link.props["href"] = patient_cards.address(patient.patient_id)

    # ---- the day of the device ----

    async def refresh(self) -> None:
        """Read and show the data beside the form; an answer older than the newest request is dropped."""
        await self._refreshed()

    async def _refreshed(self) -> bool:
        """Refresh; return False if the answer was dropped, so that what is shown may be about earlier fields."""
        self.generation += 1
        generation, services = self.generation, self.services
        on = self.form.day() or services.today()
        patient = self.form.parser(services.now()).patient()
        half_typed = not self.form.fields["birth_date"].value  # that the date is unknown was not said
        if self.form.procedure() or self.device is None:
            self.device = self.form.device()
        device = self.device
        seen = await read_as_viewer(services, lambda reader: self._read(reader, on, device, patient, half_typed))
        if self.bar.is_gone:
            return True
        if generation != self.generation:
            return False
        self._show_closed(seen.closed)
        self.contradictions = seen.contradictions
        self.recent.show(seen.latest)
        self.similar.show(patient, seen.found)
        if self.mode.asks_region:
            self.region.ask(patient, is_known=seen.found.patient is not None)
        self._show_history(seen.earlier, patient, on)
        self._show_touched(seen.touched, patient)
        minutes = {each.code: each.minutes for each in self.options.procedures}
        self.day = DeviceDay.of(seen.visits, device.ae_title if device else "", minutes, services.clinic.hours)
        if self.form.external:
            self.sidebar.show_external()
            return True
        self.follow_nearest()
        self.sidebar.show_day(device, on, self.day, self.form.minutes(), self.form.fields["time"].value or "")
        self.advise_time()
        return True

    def _read(self, reader: Reader, on: date, device: Device | None, typed: Patient, half_typed: bool) -> DeskData:
        services = self.services
        midnight = datetime.combine(services.today(), time(), services.clinic.zone).astimezone(UTC)
        # Also a patient who was typed, not chosen: saving would find the same one.
        found = desk.match_described(reader, typed)
        too_early = half_typed and found.likeness is Likeness.SIMILAR and not is_asked_early(typed, found)
        if too_early or (self.mode.patient_is_fixed and typed.id is None):
            found = PatientMatch(Likeness.NO_MATCH)
        patient = None if found.former else found.patient  # what a card was before is no answer yet
        return DeskData(
            visits=schedule.day(reader, on, device.ae_title) if device else [],
            latest=schedule.recent(reader, midnight, 4),
            found=found,
            earlier=history.read(reader, patient, services.images_due()) if patient else None,
            closed=self.mode.closed_reason(reader),
            contradictions=tuple(self.mode.contradictions(reader, patient or typed)),
            touched=orders_of(reader, typed.stored_id) if self._changes(typed) else (),
        )

    def _changes(self, typed: Patient) -> Mapping[str, object]:
        """Return which fields of a card will be others, where the form is about a certain patient."""
        is_same = self.mode.patient_is_fixed and typed.id is not None
        return patient_merge.changes(self.filled, typed) if is_same else {}

    def _show_touched(self, touched: Sequence[OrderToMove], typed: Patient) -> None:
        """Say what else a change of the patient changes: all orders of the card follow, not only this one."""
        changed = self._changes(typed)
        self.touched.set_visibility(bool(changed))
        if changed:
            draw_change(self.services, self.touches, touched, changed)

    def _show_history(self, earlier: PatientHistory | None, typed: Patient, on: date) -> None:
        """Show the patient's history, request the region's part once, and warn of what would be repeated."""
        request, known = self.services.request_history, earlier.patient.stored_id if earlier else None
        if request and known not in (None, self.requested) and request(known) is not False:
            self.requested = known
        # While it is not known who it is, neither another patient's studies are shown nor «У нас ничего».
        self.known = earlier.patient if earlier else None
        somebody = bool(typed.name.family and typed.born) and not self.similar.needs_answer()
        self.sidebar.history.show(earlier, somebody, bool(typed.snils or typed.policy))
        procedure = self.form.procedure()
        found: list[PriorStudy] = []
        if earlier and procedure and self.mode.warns_of_repeats:
            days = self.services.settings.repeat_days
            own = [each for each in earlier.own if each.order_id not in self.mode.request]
            external = earlier.external.studies
            found = prior_studies.repeated_studies(procedure.modality, procedure.body_site, on, own, external, days)
        states = history.own_states(earlier, self.services.now(), self.services.clinic.zone) if earlier else {}
        limit = ""
        if earlier and procedure and self.mode.warns_of_repeats:
            limit = history.prophylactic(earlier, procedure.code, on)
        year = history.dose(earlier, self.services.today()) if earlier else ""
        self.repeats.show(found, earlier.clinics if earlier else {}, states, year, limit)
        self._name_save()

    def _name_save(self) -> None:
        word = "Записать всё равно" if self.repeats.was_asked() else "Сохранить"
        if self.contradictions and self.confirmed and self.confirmed.fields == self.contradictions:
            word = "Это один человек, сохранить"
        self.bar.name_save(word)

    def _show_closed(self, reason: str) -> None:
        """Show that the referral cannot be saved any more."""
        if reason and reason != self.closed and not self.saving and not self.bar.saved:
            self.closed = reason
            self.bar.close(reason)

    def follow_nearest(self) -> None:
        """Move the time to the first free one, unless a person has chosen a time."""
        if not self.form.nearest or self.form.procedure() is None or self.form.device() is None:
            return
        day = self.form.day()
        free = self.day.first_free(day, self.form.minutes(), self.services.now()) if day else None
        self.form.choose_time(f"{free:%H:%M}" if free else "", nearest=True)

    async def take_nearest(self) -> None:
        """Make the time follow the first free one again."""
        self.form.nearest = True
        await self.refresh()

    def advise_time(self) -> None:
        """Show a hint, without forbidding anything, if the time is taken or has passed."""
        field, day = self.form.fields["time"], self.form.day()
        at = typed_values.parse_time(field.value or "")
        taken = None
        if day and at and not self.form.nearest:
            except_order = self.mode.card.order.id if isinstance(self.mode, AmendMode) else 0
            taken = self.day.overlapping(datetime.combine(day, at), self.form.minutes(), except_order)
        if not self.mode.planned:
            field.show_hint("")
        elif taken:
            field.show_hint(f"Занято: {names.short(taken.order.patient.name)} в {taken.start:%H:%M}")
        elif day and at and datetime.combine(day, at) < self.services.now() - LATE:
            field.show_hint("Это время уже прошло")
        else:
            field.show_hint("")

    def changed(self, key: str) -> None:
        """React to a change of the field `key` by a person."""
        self.bar.refused = False
        if self.bar.saved:
            self.bar.draw(self.form.blank())
        if self.draft:
            self.draft.touch()
            self.bar.show_clear()
        if key in {"procedure", "device", "date", "time"}:
            ui.timer(0, self.refresh, once=True)
        if key in _IDENTIFYING or (key in PATIENT and self.mode.patient_is_fixed):
            self._refresh_after_typing()
        if key in {"family", "given", "birth_date"} and self.form.patient:
            same = self.form.parser(self.services.now()).patient().id
            self.who.set_text(f"карта {self.form.patient.patient_id}" if same else "будет записан как новый пациент")

    def _refresh_after_typing(self) -> None:
        """Read again as soon as the keyboard pauses."""
        self.keystrokes += 1
        count = self.keystrokes

        async def refresh() -> None:
            if count == self.keystrokes:
                await self.refresh()

        ui.timer(autocomplete.DEBOUNCE, refresh, once=True)

    # ---- drafts ----

    def restore(self, content: dict[str, object], saved_at: datetime) -> None:
        """Show the draft that was kept when the page or the program was closed."""
        self.form.restore(content)
        self._show_who()
        self.submission = str(content.get("submission") or self.submission)
        self.bar.draw(self.form.blank())
        if self.draft:
            self.draft.kept = True
        self.bar.show_note(f"Черновик от {words.moment(saved_at, self.services.clinic.zone, self.services.today())}")

    def content(self) -> dict[str, object] | None:
        """Return the content of the draft; None if nothing worth saving was typed."""
        return None if self.form.blank() else {**self.form.content(), "submission": self.submission}

    async def start_new(self) -> None:
        """Empty the form for the next referral."""
        self.form.clear()
        self.similar.forget()
        self.submission = uuid.uuid4().hex
        self.bar.draw(self.form.blank())
        self.search.focus()
        if self.draft:
            await self.draft.keep()
        self._show_who()
        await self.refresh()

    async def avoid_repeat(self) -> None:
        """Order nothing, because an earlier study is enough: that is counted, and what was typed can be had back."""
        typed, procedure, first = self.content(), self.form.procedure(), self.repeats.first
        if self.saving or not (typed and procedure and first and self.known):
            return
        avoided = AvoidedRepeat(
            self.submission,
            self.known.patient_id,
            procedure.code,
            procedure.modality,
            self.repeats.repeats(),
            first.effective_dose,
        )
        services = self.services
        note = partial(services.store.write, avoided_repeats.note, avoided, self.actor)
        if await attempt(note, report=lambda why: self.bar.show_note(why, bad=True)) is None:
            return
        await self.start_new()

        async def take_back() -> None:
            self.restore(typed, services.store.clock())
            self.bar.show_note("")
            if self.draft:
                await self.draft.keep()
            await self.refresh()

        self.bar.offer("Не записано: такое уже делали", "Вернуть", take_back)

    # ---- saving ----

    async def save(self) -> None:
        """Save the referral once, however often the button is pressed meanwhile."""
        if self.saving or self.bar.saved:
            return
        self.saving = True
        self.bar.busy(True)
        if self.draft:
            self.draft.held = True
        try:
            await self._save()
        finally:
            self.saving = False
            if self.draft:
                self.draft.held = False
            self.bar.busy(False)

    async def _save(self) -> None:
        while not await self._refreshed():  # the nearest free time and the similar patients may have changed
            pass
        parsed = self.form.parser(self.services.now()).parse(self.submission)
        draft, problems = parsed.draft, parsed.problems
        if self.form.nearest and problems.get("time") == "required":
            problems = {**problems, "time": "full"}
        if draft is None:
            self._show_problems(problems)
            return
        if self.closed:
            self.bar.show_note(self.closed, bad=True)
            return
        if self.similar.needs_answer():
            self.form.show_problems(dict.fromkeys(self.similar.shared_numbers(), "other_patient"))
            self.similar.show_problem()
            self.bar.show_note("Не сохранено: сначала ответьте, он ли это", bad=True)
            return
        draft = replace(draft, other_than=self.similar.refused())
        if self.repeats.needs_confirmation():
            self._name_save()
            self.bar.show_note("Такое уже делали, смотрите выше. Если нужно снова, нажмите ещё раз", bad=True)
            return
        confirmed = Confirmation(draft.patient, self.contradictions)
        if self.contradictions and self.confirmed != confirmed:
            self.confirmed = confirmed
            self._name_save()
            differ = words.contradictions(self.contradictions)
            note = f"На аппарате иначе: не сходится {differ}. Если это один человек, нажмите ещё раз"
            self.bar.show_note(note, bad=True)
            return
        # From here on the form shows what is being saved: should the program stop before the answer is shown, the same
        # press after the restart submits the same content and makes no second referral.
        self.form.nearest = False
        if self.draft:
            await self.draft.keep()
        services, mode = self.services, self.mode
        repeated = self.repeats.repeats()

        def save() -> Order:
            return mode.save(services.store, draft, self.actor, services.clinic, repeated, confirmed)

        try:
            done = await attempt(
                save,
                let_pass=(Invalid, Stale, Duplicate, WrongState),
                report=lambda why: self.bar.show_note(why, bad=True),
            )
        except Invalid as caught:
            self._show_problems(caught.problems)
        except Stale:
            await self._show_stale()
        except Duplicate:
            self.bar.show_note(
                "Это направление уже сохранено, а теперь поля другие. Найдите его ниже и измените там", bad=True
            )
        except WrongState as caught:
            reason = await read_as_viewer(services, mode.closed_reason)
            self.bar.show_note(reason or f"Не сохранено. {errors.error(caught)}", bad=True)
        else:
            await self._saved(done)

    async def _saved(self, done: Done[Order] | None) -> None:
        if done is None:
            return
        order = done.value
        if address := self.mode.after_saving(order.accession_number):
            ui.navigate.to(address)
            self.bar.saved = order
            return
        if self.services.request_history and order.patient.id != self.requested:
            # The history of a new patient could not be requested before.
            self.services.request_history(order.patient.stored_id)
        self.form.clear()
        self.similar.forget()
        self.submission = uuid.uuid4().hex
        self.bar.draw(True, order)
        self.search.focus()
        if self.draft:
            await self.draft.keep()  # the form is empty now, so the draft is deleted
        self._show_who()
        await self.refresh()

    def _show_problems(self, problems: Mapping[str, str]) -> None:
        self.form.show_problems(problems)
        count = words.plural(len(problems), "поле", "поля", "полей")
        self.bar.show_note(f"Не сохранено: исправьте {count}", bad=True)

    async def _show_stale(self) -> None:
        """Show who has changed the order meanwhile and what, and offer to load it again."""
        if self.mode.new:
            self.bar.show_note(
                "Не сохранено: данные пациента изменил кто-то другой. Выберите его поиском ещё раз", bad=True
            )
            return
        reason = errors.ERRORS["stale"]
        if isinstance(self.mode, AmendMode):
            number, zone = self.mode.card.order.accession_number, self.services.clinic.zone
            now = await read_as_viewer(self.services, lambda reader: order_card.card(reader, number))
            reason = errors.changed_meanwhile(now.events, zone, self.services.today()) if now else reason
        self.bar.close(f"Не сохранено. {reason}", reload=True)
