"""«Регистратура»: a new referral from the first letter of a name to the printed label; or a change of one that stands.

It reads fields, calls one verb and says the result. What was typed is kept as a draft, so that nothing is lost.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day

from nicegui import run, ui

from broker import security
from broker.domain import lifecycle, names
from broker.domain.errors import Duplicate, Invalid, Stale
from broker.domain.model import Actor, Device, Order, Patient
from broker.security import Permission
from broker.store import journal
from broker.store.database import Reader
from broker.store.journal import Card, Visit
from broker.workflow import referral, staff
from ui import read, theme, words
from ui.combo import Combo
from ui.desk_aside import Aside, Recent
from ui.draft import Draft
from ui.frame import Done, attempt, follow, frame
from ui.referral_form import PATIENT, ReferralForm
from ui.referral_lists import Lists, place
from ui.services import Services, current_actor, look
from ui.slots import DayOnDevice
from ui.theme import text

FORM = "referral"  # the draft's name
LATE = timedelta(minutes=10)  # after which a time today looks like a slip
USUAL_WITHIN = timedelta(days=30)  # where a procedure was planned lately says where it usually is


def build(services: Services) -> None:
    """Register /desk; `?order=` opens an order for change."""

    @ui.page("/desk", title="Регистратура")
    async def desk(order: str = "") -> None:
        actor = current_actor(services)
        card = await look(services, lambda reader: journal.card(reader, order)) if order else None
        lists, draft = await look(services, lambda reader: _lists(reader, services)), None
        if not order:
            draft = await run.io_bound(staff.load_draft, services.store, FORM, actor)
        with frame(services, actor, "/desk"):
            text("h1", f"Изменить направление {order}" if order else "Новое направление", "unseen")
            needed = Permission.AMEND if order else Permission.REGISTER
            if not security.may(actor, needed):
                theme.empty("Направления записывает регистратура.", "Вам открыты доска, исследования и обмен.")
            elif order and card is None:
                theme.empty(f"Направления {order} нет.", "Проверьте номер. Поиск по исследованиям:", "/")
            elif card and not lifecycle.allowed(card.order.state, lifecycle.Event.AMEND):
                theme.empty(f"Направление {order} изменить уже нельзя.", words.not_amendable(card.order.state))
                ui.link("Открыть карточку", f"/order/{order}").classes("alone")
            else:
                page = Desk(services, actor, lists, card)
                if draft:
                    page.restore(*draft)
                if page.form.patient:
                    await page.show_past()
                await page.refresh()
                page.start()


def _lists(reader: Reader, services: Services) -> Lists:
    lately = journal.recent(reader, services.store.clock() - USUAL_WITHIN, 200)
    return Lists(
        procedures=journal.procedures(reader),
        devices=journal.stations(reader),
        referrers=journal.referrers(reader),
        # Newest first, so the newest is written last and stands.
        usual={visit.order.procedure_code: visit.station_ae_titles[0] for visit in reversed(lately)},
    )


class Desk:
    """The page of one person: the form, the search above it, the actions under it, the device's day beside it."""

    def __init__(self, services: Services, actor: Actor, lists: Lists, card: Card | None) -> None:
        self.services, self.actor, self.lists = services, actor, lists
        self.card = card
        self.submission = uuid.uuid4().hex
        self.saving = False
        self.refused = False  # it says beside the button why the form was not saved, until something is changed
        self.draft: Draft | None = None
        self.ticket = 0
        self.day = DayOnDevice((), {})
        self.device: Device | None = None  # whose day stands aside; between two referrals the last one's
        self.form = ReferralForm(lists, services.today, self.changed)
        with ui.element("div").classes("desk"):
            with ui.element("section").props("aria-label=Пациент"):
                self._draw_patient()
            with ui.element("section").props("aria-label=Исследование"):
                with ui.element("div").classes("head"):
                    text("h2", "Исследование")
                    if card:
                        text("span", f"изменяется {card.order.accession_number}", "muted small")
                with ui.element("div").classes("form"):
                    self.form.draw_study(self.take_nearest)
            with ui.element("div").classes("after"):
                self.actions = ui.element("div").classes("actions")
                self.recent = Recent(services)
            self.aside = Aside(services, self.form.choose_time)
        self.form.clear()
        if card:
            self.form.fill_order(card.order)
        else:
            self.draft = Draft(services, actor, FORM, self.content, self.tell_kept)
        self.draw_actions()

    def start(self) -> None:
        """Follow what changes, and keep what is typed; called when the page is complete."""
        follow(self.services, self.refresh)
        if self.draft:
            self.draft.start()

    # ---- drawing ----

    def _draw_patient(self) -> None:
        with ui.element("div").classes("head"):
            text("h2", "Пациент")
            self.who = text("span", "", "muted small")
        with ui.element("div").classes("form"):
            if self.card is None:
                with ui.element("div").classes("field combo"):
                    self._draw_search()
            self.form.draw_patient()
        self.form.draw_rare()

    def _draw_search(self) -> None:
        self.search = theme.field(
            "Поиск: ФИО, СНИЛС, полис или штрих-код",
            name="patient-search",
            narrow=12,
            props="autofocus data-start maxlength=200",
        )
        with self.search.control.add_slot("prepend"):
            ui.icon("search").style("font-size: 20px")
        Combo(
            self.search,
            self.find_patients,
            lambda patient: theme.patient_line(str(patient.name), patient.birth_date, self.services.today()),
            self.take_patient,
            name="patient",
            eager=True,
            nobody="Никого нет. Новый пациент:",
            other="Новый пациент:",
        )

    def draw_actions(self, saved: Order | None = None) -> None:
        """Draw what can be done now: save, or print what has been saved."""
        self.saved = saved
        self.actions.clear()
        with self.actions:
            if saved:
                self._draw_saved(saved)
                return
            self.save_button = theme.button("Сохранить", self.save, kind="primary", key="Ctrl+Enter")
            self.note = text("p", "", "muted small").props("role=status")
            ui.element("div").classes("spring")
            if self.card:
                ui.link("Не менять", f"/order/{self.card.order.accession_number}").props("data-back")
            else:
                self.clear_button = theme.button("Очистить", self.start_anew, small=True)
                self.clear_button.set_visibility(not self.form.blank())
                with ui.element("span").classes("muted small key"):
                    theme.key_hint("F2")
                    text("span", " новое направление")

    def _draw_saved(self, order: Order) -> None:
        step, number = order.steps[0], order.accession_number
        device = next((each for each in self.lists.devices if each.ae_title in step.station_ae_titles), None)
        day = words.day(step.start.date(), self.services.today()).capitalize()
        with ui.element("div").classes("saved").props("role=status"):
            ui.icon("check_circle")
            text("span", number, "number")
            with ui.element("div").classes("cut"):
                text("div", str(order.patient.name), "cut")
                where = f", {place(device)}" if device else ""
                text("div", f"Сохранено. {day} в {step.start:%H:%M}{where}", "muted small cut")
        ui.element("div").classes("spring")
        theme.button("Открыть", lambda: ui.navigate.to(f"/order/{number}"))
        label = theme.button("Печать этикетки", kind="primary", icon="print", key="Ctrl+Enter")
        label.props(f"href=/label/{number} target=_blank")

    def tell(self, note: str, bad: bool = False) -> None:
        """Write beside the button what has become of the form."""
        if self.saved:
            return
        self.refused = bad
        self.note.set_text(note)
        self.note.classes(add="bad", remove="muted") if bad else self.note.classes(add="muted", remove="bad")

    def tell_kept(self, note: str, bad: bool) -> None:
        """Say what has become of the draft, but never over a reason why the form was not saved."""
        if bad or not self.refused:
            self.tell(note, bad)

    # ---- the patient ----

    async def find_patients(self, typed: str) -> list[Patient]:
        """Look up who may be meant."""
        return await look(self.services, lambda reader: journal.find_patients(reader, typed))

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
        await self.show_past()

    async def show_past(self) -> None:
        """Show what was made for the chosen patient before."""
        patient = self.form.patient
        self.who.set_text(f"карта {patient.patient_id}" if patient else "")
        past: list[Visit] = []
        if patient:
            past = await look(self.services, lambda reader: journal.history(reader, patient.id, 6))
        if patient is self.form.patient:
            self.aside.show_past(patient, past)

    # ---- the day of the device ----

    async def refresh(self) -> None:
        """Read the device's day and what was registered last; of two answers the later question counts."""
        self.ticket += 1
        ticket, services = self.ticket, self.services
        on = self.form.day() or services.today()
        midnight = datetime.combine(services.today(), time_of_day(), services.clinic.zone).astimezone(UTC)
        visits, latest = await look(
            services, lambda reader: (journal.day(reader, on), journal.recent(reader, midnight, 4))
        )
        if ticket != self.ticket or self.actions.is_deleted:
            return
        self.recent.show(latest)
        if self.form.procedure() or self.device is None:
            self.device = self.form.device()
        device, minutes = self.device, {each.code: each.minutes for each in self.lists.procedures}
        self.day = DayOnDevice.of(visits, device.ae_title if device else "", minutes)
        self.follow_nearest()
        self.aside.show_day(device, on, self.day, self.form.minutes(), self.form.fields["time"].value or "")
        self.advise_time()

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
            but = self.card.order.id if self.card else 0
            taken = self.day.meets(datetime.combine(day, at), self.form.minutes(), but)
        if taken:
            field.advise(f"Занято: {names.short(taken.order.patient.name)} в {taken.start:%H:%M}")
        elif day and at and datetime.combine(day, at) < self.services.now() - LATE:
            field.advise("Это время уже прошло")
        else:
            field.advise("")

    def changed(self, key: str) -> None:
        """Hear of a change in the form."""
        self.refused = False
        if self.saved:
            self.draw_actions()
        if self.draft:
            self.draft.touch()
            self.clear_button.set_visibility(True)
        if key in {"procedure", "device", "date", "time"}:
            ui.timer(0, self.refresh, once=True)
        if key in {"family", "given", "birth_date"} and self.form.patient:
            same = self.form.read(self.services.now())[0].patient.id
            self.who.set_text(f"карта {self.form.patient.patient_id}" if same else "будет записан как новый пациент")

    # ---- drafts ----

    def restore(self, content: dict[str, object], saved_at: datetime) -> None:
        """Show the draft that was kept when the page or the program went."""
        self.form.restore(content)
        self.submission = str(content.get("submission") or self.submission)
        self.draw_actions()
        if self.draft:
            self.draft.kept = True
        self.tell(f"Черновик от {words.moment(saved_at, self.services.clinic.zone, self.services.today())}")

    def content(self) -> dict[str, object] | None:
        """Give what the draft keeps."""
        return None if self.form.blank() else {**self.form.content(), "submission": self.submission}

    async def start_anew(self) -> None:
        """Empty the form for the next one."""
        self.form.clear()
        self.submission = uuid.uuid4().hex
        self.draw_actions()
        self.search.focus()
        if self.draft:
            await self.draft.keep()
        await self.show_past()
        await self.refresh()

    # ---- saving ----

    async def save(self) -> None:
        """Save the referral once, however often it is asked for."""
        if self.saving or self.saved:
            return
        self.saving = True
        self.save_button.props("loading")
        if self.draft:
            self.draft.held = True
        try:
            await self._save()
        finally:
            self.saving = False
            if self.draft:
                self.draft.held = False
            if not self.saved:
                self.save_button.props(remove="loading")

    async def _save(self) -> None:
        await self.refresh()  # the nearest time, as things stand now
        draft, problems = self.form.read(self.services.now(), self.submission)
        if self.form.nearest and problems.get("time") == "required":
            problems["time"] = "full"
        if problems:
            self._complain(problems)
            return
        # From here on the form is what is being saved: should the program go down before it can say so, the same
        # press after the restart finds the same words and makes no second referral.
        self.form.nearest = False
        if self.draft:
            await self.draft.keep()
        store, clinic, card = self.services.store, self.services.clinic, self.card

        def verb() -> Order:
            if card:
                return referral.amend(store, card.order.id, card.order.revision, draft, self.actor, clinic)
            return referral.register(store, draft, self.actor, clinic)

        try:
            done = await attempt(
                verb, let_pass=(Invalid, Stale, Duplicate), tell=lambda said: self.tell(said, bad=True)
            )
        except Invalid as caught:
            self._complain(caught.problems)
        except Stale:
            await self._say_stale()
        except Duplicate:
            self.tell("Это направление уже сохранено, а теперь поля другие. Найдите его ниже и измените там", bad=True)
        else:
            await self._saved(done)

    async def _saved(self, done: Done[Order] | None) -> None:
        if done is None:
            return
        if self.card:
            ui.navigate.to(f"/order/{done.value.accession_number}")
            self.saved = done.value
            return
        self.form.clear()
        self.submission = uuid.uuid4().hex
        self.draw_actions(done.value)
        self.search.focus()
        if self.draft:
            await self.draft.keep()  # the form is empty now, so the draft goes
        await self.show_past()

    def _complain(self, problems: dict[str, str]) -> None:
        self.form.complain(problems)
        count = words.plural(len(problems), "поле", "поля", "полей")
        self.tell(f"Не сохранено: исправьте {count}", bad=True)

    async def _say_stale(self) -> None:
        """Say who has changed the order meanwhile and what, and offer to load it again."""
        if self.card is None:
            self.tell("Не сохранено: данные пациента изменил кто-то другой. Выберите его поиском ещё раз", bad=True)
            return
        number = self.card.order.accession_number
        now = await look(self.services, lambda reader: journal.card(reader, number))
        said = words.changed_meanwhile(now.happenings, self.services.clinic.zone, self.services.today()) if now else ""
        self.tell(f"Не сохранено. {said}", bad=True)
        self.save_button.set_visibility(False)
        with self.actions:
            theme.button("Открыть заново", ui.navigate.reload, kind="primary", key="Ctrl+Enter")
