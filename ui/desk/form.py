"""The form of the desk: the fields, the search above them, the actions under them, the device's day beside them.

It reads fields, calls one verb and says the result. What was typed is kept as a draft, so that nothing is lost.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day

from nicegui import ui

from broker.domain import names, prior_studies
from broker.domain.actors import Actor
from broker.domain.devices import Device
from broker.domain.errors import Duplicate, Invalid, Stale, WrongState
from broker.domain.orders import Order
from broker.domain.people import Patient
from broker.domain.prior_studies import Earlier
from broker.store.database import Reader
from broker.store.queries import desk, lookups, order_card, schedule
from broker.store.queries.schedule import Visit
from broker.workflow import referrals
from ui.desk import history
from ui.desk.actions import ActionBar
from ui.desk.history import PatientHistory
from ui.desk.modes import AmendMode, FormMode, IncomingMode
from ui.desk.referral import typed as read
from ui.desk.referral.form import ReferralForm
from ui.desk.referral.lists import ReferralOptions
from ui.desk.referral.lookups import DirectoryLookups
from ui.desk.referral.values import PATIENT
from ui.desk.repeat_warning import RepeatWarning
from ui.desk.sidebar import RecentReferrals, Sidebar
from ui.desk.slots import DeviceDay
from ui.incoming.page import DeclineDialog
from ui.live import Done, attempt, follow, look
from ui.services import Services
from ui.text import errors, words
from ui.widgets import theme
from ui.widgets.autocomplete import Autocomplete
from ui.widgets.draft import Draft
from ui.widgets.theme import text

FORM = "referral"  # the draft's name
LATE = timedelta(minutes=10)  # after which a time today looks like a slip


@dataclass(frozen=True, slots=True)
class DeskData:
    """What the database says beside the form."""

    visits: list[Visit]  # of the device on the day that is typed
    latest: list[Visit]
    known: PatientHistory | None  # of the patient whom the fields mean
    over: str  # why there is nothing to save any more


class DeskForm:
    """The page of one person: the form, the search above it, the actions under it, the device's day beside it."""

    def __init__(self, services: Services, actor: Actor, lists: ReferralOptions, purpose: FormMode) -> None:
        self.services, self.actor, self.purpose = services, actor, purpose
        self.lists = purpose.lists(lists)
        self.submission = uuid.uuid4().hex
        self.saving = False
        self.over = ""  # why there is nothing to save any more
        self.asked_of: int | None = None  # the patient of whom the region has been asked
        self.draft: Draft | None = None
        self.ticket = 0
        self.day = DeviceDay((), {}, services.clinic.hours)
        self.device: Device | None = None  # whose day stands aside; between two referrals the last one's
        self.form = ReferralForm(self.lists, DirectoryLookups(services, self.lists), services.today, self.changed)
        with ui.element("div").classes("desk"):
            with ui.element("section").props("aria-label=Пациент"):
                self._draw_patient()
            with ui.element("section").props("aria-label=Исследование"):
                with ui.element("div").classes("head"):
                    text("h2", "Исследование")
                    text("span", purpose.about, "muted small cut")
                with ui.element("div").classes("form"):
                    self.form.draw_study(self.take_nearest)
            with ui.element("div").classes("after"):
                self.repeats = RepeatWarning(lambda reference: self.aside.past.open(reference))
                self.bar = ActionBar(services, purpose, self.lists, self.save, self.start_anew)
                self.recent = RecentReferrals(services)
            self.aside = Sidebar(services, self.form.choose_time)
        self.form.clear()
        purpose.fill(self.form)
        if purpose.new:
            self.draft = Draft(services, actor, FORM, self.content, self.bar.tell_kept)
        self._tell_who()
        self.bar.draw(self.form.blank())
        if isinstance(purpose, IncomingMode):
            DeclineDialog(services, purpose.came)

    def start(self) -> None:
        """Follow what changes, and keep what is typed; called when the page is complete."""
        follow(self.services, self.refresh)
        if self.draft:
            self.draft.start()
        elif self.purpose.searches:  # the patient is there already; a change begins where one clicks
            first = next((key for key in ("family", "procedure", "time") if not self.form.fields[key].value), "time")
            self.form.fields[first].focus()

    # ---- drawing ----

    def _draw_patient(self) -> None:
        with ui.element("div").classes("head"):
            text("h2", "Пациент")
            self.who = text("span", "", "muted small")
        with ui.element("div").classes("form"):
            if self.purpose.searches:
                with ui.element("div").classes("field combo"):
                    self._draw_search()
            self.form.draw_patient()
        self.form.draw_rare()

    def _draw_search(self) -> None:
        self.search = theme.field(
            "Поиск: ФИО, СНИЛС, полис или штрих-код",
            name="patient-search",
            narrow=12,
            props="data-start maxlength=200" + (" autofocus" if self.purpose.new else ""),
        )
        with self.search.control.add_slot("prepend"):
            ui.icon("search").style("font-size: 20px")
        Autocomplete(
            self.search,
            self.find_patients,
            lambda patient: theme.patient_line(str(patient.name), patient.birth_date, self.services.today()),
            self.take_patient,
            name="patient",
            eager=True,
            nobody="Никого нет. Новый пациент:",
            other="Новый пациент:",
        )

    # ---- the patient ----

    async def find_patients(self, typed: str) -> list[Patient]:
        """Look up who may be meant."""
        return await look(self.services, lambda reader: lookups.patients(reader, typed))

    async def take_patient(self, patient: Patient | None, typed: str) -> None:
        """Take who was found, or begin somebody new with what was typed."""
        self.search.value = ""
        if patient:
            self.form.fill_patient(patient)
        else:
            self.form.fill_words(typed)
        self.changed("family")
        first = "procedure" if patient else self.form.first_empty(PATIENT)
        self.form.fields[first].focus()
        self._tell_who()
        await self.refresh()

    def _tell_who(self) -> None:
        """Say whose card it is; of somebody new nothing."""
        patient = self.form.patient
        self.who.set_text(f"карта {patient.patient_id}" if patient else "")

    def _meant(self) -> Patient:
        """Give the patient whom the fields mean now."""
        return referrals.tidied(self.form.read(self.services.now())[0]).patient

    # ---- the day of the device ----

    async def refresh(self) -> None:
        """Read the device's day and what was registered last; of two answers the later question counts."""
        self.ticket += 1
        ticket, services = self.ticket, self.services
        on = self.form.day() or services.today()
        said = self._meant()
        if self.form.procedure() or self.device is None:
            self.device = self.form.device()
        device = self.device
        seen = await look(services, lambda reader: self._read(reader, on, device, said))
        if ticket != self.ticket or self.bar.is_gone:
            return
        self._say_over(seen.over)
        self.recent.show(seen.latest)
        self._show_known(seen.known, said, on)
        minutes = {each.code: each.minutes for each in self.lists.procedures}
        self.day = DeviceDay.of(seen.visits, device.ae_title if device else "", minutes, services.clinic.hours)
        if self.form.elsewhere:
            self.aside.show_elsewhere()
            return
        self.follow_nearest()
        self.aside.show_day(device, on, self.day, self.form.minutes(), self.form.fields["time"].value or "")
        self.advise_time()

    def _read(self, reader: Reader, on: date, device: Device | None, said: Patient) -> DeskData:
        services = self.services
        midnight = datetime.combine(services.today(), time_of_day(), services.clinic.zone).astimezone(UTC)
        # Also whoever was typed and not chosen: saving would find the same patient.
        patient = desk.meant(reader, said)
        return DeskData(
            visits=schedule.day(reader, on, device.ae_title) if device else [],
            latest=schedule.recent(reader, midnight, 4),
            known=history.read(reader, patient) if patient else None,
            over=self.purpose.over(reader),
        )

    def _show_known(self, known: PatientHistory | None, said: Patient, on: date) -> None:
        """Show what was done to the patient before, have the region asked, and warn of what would be repeated."""
        ask = self.services.request_history
        if known and ask and known.patient.id != self.asked_of and ask(known.patient.id) is not False:
            self.asked_of = known.patient.id
        somebody = bool(said.name.family and said.birth_date and said.birth_date != self.services.today())
        self.aside.past.show(known, somebody, bool(said.snils or said.policy))
        procedure = self.form.procedure()
        found: list[Earlier] = []
        if known and procedure and self.purpose.warns:
            days = self.services.settings.repeat_days
            foreign = known.told.studies
            found = prior_studies.earlier(procedure.modality, procedure.body_site, on, known.own, foreign, days)
        self.repeats.show(found, known.clinics if known else {})
        self._name_save()

    def _name_save(self) -> None:
        word = "Записать всё равно" if self.repeats.told() else "Сохранить"
        self.bar.name_save(word)

    def _say_over(self, over: str) -> None:
        """Say at once that there is nothing to save any more."""
        if over and over != self.over and not self.saving and not self.bar.saved:
            self.over = over
            self.bar.close(over)

    def follow_nearest(self) -> None:
        """Move the time to the first free one, unless a person has chosen a time."""
        if not self.form.nearest or self.form.procedure() is None or self.form.device() is None:
            return
        day = self.form.day()
        free = self.day.first_free(day, self.form.minutes(), self.services.now()) if day else None
        self.form.choose_time(f"{free:%H:%M}" if free else "", nearest=True)

    async def take_nearest(self) -> None:
        """Let the time follow the first free one again."""
        self.form.nearest = True
        await self.refresh()

    def advise_time(self) -> None:
        """Warn, without forbidding, where somebody has that time already."""
        field, day = self.form.fields["time"], self.form.day()
        at = read.clock(field.value or "")
        taken = None
        if day and at and not self.form.nearest:
            but = self.purpose.card.order.id if isinstance(self.purpose, AmendMode) else 0
            taken = self.day.overlapping(datetime.combine(day, at), self.form.minutes(), but)
        if self.form.done:
            field.advise("")
        elif taken:
            field.advise(f"Занято: {names.short(taken.order.patient.name)} в {taken.start:%H:%M}")
        elif day and at and datetime.combine(day, at) < self.services.now() - LATE:
            field.advise("Это время уже прошло")
        else:
            field.advise("")

    def changed(self, key: str) -> None:
        """Hear of a change in the form."""
        self.bar.refused = False
        if self.bar.saved:
            self.bar.draw(self.form.blank())
        if self.draft:
            self.draft.touch()
            self.bar.show_clear()
        if key in {"procedure", "device", "date", "time"}:
            ui.timer(0, self.refresh, once=True)
        if key in {"birth_date", "snils", "policy"}:
            ui.timer(0, self.refresh, once=True)
        if key in {"family", "given", "birth_date"} and self.form.patient:
            same = self.form.read(self.services.now())[0].patient.id
            self.who.set_text(f"карта {self.form.patient.patient_id}" if same else "будет записан как новый пациент")

    # ---- drafts ----

    def restore(self, content: dict[str, object], saved_at: datetime) -> None:
        """Show the draft that was kept when the page or the program went."""
        self.form.restore(content)
        self._tell_who()
        self.submission = str(content.get("submission") or self.submission)
        self.bar.draw(self.form.blank())
        if self.draft:
            self.draft.kept = True
        self.bar.tell(f"Черновик от {words.moment(saved_at, self.services.clinic.zone, self.services.today())}")

    def content(self) -> dict[str, object] | None:
        """Give what the draft keeps."""
        return None if self.form.blank() else {**self.form.content(), "submission": self.submission}

    async def start_anew(self) -> None:
        """Empty the form for the next one."""
        self.form.clear()
        self.submission = uuid.uuid4().hex
        self.bar.draw(self.form.blank())
        self.search.focus()
        if self.draft:
            await self.draft.keep()
        self._tell_who()
        await self.refresh()

    # ---- saving ----

    async def save(self) -> None:
        """Save the referral once, however often it is asked for."""
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
        await self.refresh()  # the nearest time, as things stand now
        draft, problems = self.form.read(self.services.now(), self.submission)
        if self.form.nearest and problems.get("time") == "required":
            problems["time"] = "full"
        if problems:
            self._complain(problems)
            return
        if self.over:
            self.bar.tell(self.over, bad=True)
            return
        if self.repeats.asks():
            self._name_save()
            self.bar.tell("Такое уже делали, смотрите выше. Если нужно снова, нажмите ещё раз", bad=True)
            return
        # From here on the form is what is being saved: should the program go down before it can say so, the same
        # press after the restart finds the same words and makes no second referral.
        self.form.nearest = False
        if self.draft:
            await self.draft.keep()
        services, purpose = self.services, self.purpose
        repeated = self.repeats.named()

        def verb() -> Order:
            return purpose.save(services.store, draft, self.actor, services.clinic, repeated)

        try:
            done = await attempt(
                verb,
                let_pass=(Invalid, Stale, Duplicate, WrongState),
                report=lambda why: self.bar.tell(why, bad=True),
            )
        except Invalid as caught:
            self._complain(caught.problems)
        except Stale:
            await self._say_stale()
        except Duplicate:
            self.bar.tell(
                "Это направление уже сохранено, а теперь поля другие. Найдите его ниже и измените там", bad=True
            )
        except WrongState as caught:
            over = await look(services, purpose.over)
            self.bar.tell(over or f"Не сохранено. {errors.error(caught)}", bad=True)
        else:
            await self._saved(done)

    async def _saved(self, done: Done[Order] | None) -> None:
        if done is None:
            return
        order = done.value
        if self.purpose.then:
            ui.navigate.to(self.purpose.then.format(order.accession_number))
            self.bar.saved = order
            return
        if self.services.request_history and order.patient.id != self.asked_of:
            self.services.request_history(order.patient.id)  # somebody new could not be asked for before
        self.form.clear()
        self.submission = uuid.uuid4().hex
        self.bar.draw(True, order)
        self.search.focus()
        if self.draft:
            await self.draft.keep()  # the form is empty now, so the draft goes
        self._tell_who()
        await self.refresh()

    def _complain(self, problems: dict[str, str]) -> None:
        self.form.complain(problems)
        count = words.plural(len(problems), "поле", "поля", "полей")
        self.bar.tell(f"Не сохранено: исправьте {count}", bad=True)

    async def _say_stale(self) -> None:
        """Say who has changed the order meanwhile and what, and offer to load it again."""
        if self.purpose.new:
            self.bar.tell("Не сохранено: данные пациента изменил кто-то другой. Выберите его поиском ещё раз", bad=True)
            return
        said = errors.ERRORS["stale"]
        if isinstance(self.purpose, AmendMode):
            number, zone = self.purpose.card.order.accession_number, self.services.clinic.zone
            now = await look(self.services, lambda reader: order_card.card(reader, number))
            said = errors.changed_meanwhile(now.happenings, zone, self.services.today()) if now else said
        self.bar.close(f"Не сохранено. {said}", reload=True)
