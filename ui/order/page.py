"""The card of one study: its facts, everything that happened to it, and what may be done now. Live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nicegui import ui

from broker.domain.actors import Actor
from broker.domain.clinic.devices import Device
from broker.domain.lifecycle import Event, allowed
from broker.domain.orders import Order, OrderState, Priority
from broker.domain.patients import identifiers, names
from broker.domain.patients.confirmation import Confirmation
from broker.domain.patients.people import Patient
from broker.domain.reading.reports import ReportState
from broker.domain.studies import passthrough
from broker.domain.studies.effective_dose import CalculatedDose, NotCalculated, TypedDose
from broker.domain.studies.performed import PerformedState, PerformedStep, StepSource
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.database import Reader
from broker.store.queries import device_registry, directory_search, order_card
from broker.store.queries.order_card import Card
from broker.store.queries.reading import over_read_requests
from broker.store.queries.schedule import Visit
from broker.store.queries.studies import effective_doses, received
from broker.store.queries.studies.archive_gaps import ImagesDue, MissingImages
from broker.store.queries.studies.received import Received
from broker.store.queries.undecided import OrderOfTwo
from broker.workflow import outbox, patient_merge
from broker.workflow.referrals import referrals
from broker.workflow.studies import step_links
from ui.archive.waive_dialog import WaiveDialog
from ui.layout.frame import frame
from ui.live import attempt, current_actor, follow, latest, read_as_viewer
from ui.order import report_archive, timeline
from ui.order.dialogs import OrderDialogs
from ui.order.why import WhyDialog
from ui.reading import viewer_window
from ui.reading.report import attached_files, device_reports, signed_report
from ui.services import Services
from ui.text import archive, bus, links, patient_cards, visit_states, words
from ui.text.referral_fields import CHOICES, SEXES
from ui.widgets import external_report, theme
from ui.widgets.keyed_list import KeyedList, Redraw
from ui.widgets.memo import Memo
from ui.widgets.theme import text

# Plain HTTP has no clipboard interface, but every browser copies a selection.
COPY = """() => {
  const range = document.createRange();
  range.selectNodeContents(document.getElementById("accession-number"));
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  document.execCommand("copy");
}"""


def build(services: Services) -> None:
    """Add the route /order/{accession_number}."""

    @ui.page("/order/{accession_number:path}", title="Исследование")
    async def order(accession_number: str) -> None:
        actor = current_actor(services)
        with frame(services, actor, "/studies"):
            ui.link("Назад", "/board").classes("unseen").props("data-back tabindex=-1")
            found = await read_as_viewer(
                services, lambda reader: _read(reader, accession_number, services.images_due())
            )
            if found is None:
                theme.empty(
                    f"Исследования с номером «{accession_number[:40]}» нет.",
                    "Проверьте номер или найдите по фамилии:",
                    "/",
                )
                return
            ui.page_title(f"Исследование {found.card.order.accession_number}")
            page = OrderPage(services, actor, found)
            refresh = latest(services, page.read, page.show)
            follow(services, refresh)
            await refresh()  # changes between reading and following


@dataclass(frozen=True, slots=True)
class OrderPageData:
    """The data that the card is drawn from."""

    card: Card
    devices: tuple[Device, ...]
    other: str = ""  # name of the other clinic that refers or performs the study
    received: Received = field(default_factory=Received)  # what modalities have stored of it
    effective_dose: CalculatedDose | NotCalculated = NotCalculated.NO_ROW
    typed_dose: TypedDose | None = None
    waits_over_read: bool = False  # a colleague was asked to read its signed report over
    clinics: Mapping[str, str] = field(default_factory=dict)  # of its results, GUID -> name


def _read(reader: Reader, accession_number: str, images_due: ImagesDue | None) -> OrderPageData | None:
    card = order_card.card(reader, accession_number, images_due)
    if card is None:
        return None
    guid = card.order.owner or card.order.requester
    other = words.clinic(directory_search.organisation_name(reader, guid), guid) if guid else ""
    devices = tuple(device_registry.approved(reader))
    return OrderPageData(
        card,
        devices,
        other,
        received.of_order(reader, card.order.id),
        effective_doses.of_order(reader, card.order),
        effective_doses.typed(reader, card.order.id),
        over_read_requests.open_of(reader, card.order.id) is not None,
        {
            each.organisation: words.clinic(
                directory_search.organisation_name(reader, each.organisation), each.organisation
            )
            for each in card.results
            if each.organisation
        },
    )


class OrderPage:
    """One open card of an order."""

    def __init__(self, services: Services, actor: Actor, found: OrderPageData) -> None:
        self._services = services
        self._actor = actor
        self._found = found
        with ui.element("div").classes("page-head card-head"):
            self._title = Memo(ui.element("h1"))
            ui.element("div").classes("spring")
            self._actions = Memo(ui.element("div").classes("acts"))
        with ui.element("div").classes("card"):
            with ui.element("div"):
                self._facts = Memo(ui.element("div"))
                with ui.element("section").classes("section"), ui.element("details"):
                    text("summary", "Для инженера: UID, имя аппарата")
                    self._wires = Memo(ui.element("div"))
            with ui.element("div"), theme.section("Что было", "новое сверху"):
                self._lines = KeyedList(ui.element("ol").classes("timeline"), _make_line)
        self._why = WhyDialog(services)
        self._dialogs = OrderDialogs(services, actor, lambda: self._found.card.order)
        self._waive = WaiveDialog(services)
        self.show(found)

    def read(self, reader: Reader) -> OrderPageData | None:
        """Return the data of the card; None if the order does not exist."""
        return _read(reader, self._found.card.order.accession_number, self._services.images_due())

    def show(self, found: OrderPageData | None) -> None:
        """Draw what has changed; an order is never deleted, so None only leaves the page as it is."""
        if found is None:
            return
        self._found = found
        card, order = found.card, found.card.order
        today = self._services.today()
        patient = order.patient
        self._title.show((patient, today), lambda: theme.patient_line(str(patient.name), patient.born, today))
        reported = (
            card.seen_at,
            card.bus,
            card.uncorrected,
            card.answers_former_data,
            card.attention_reason,
            card.performed,
            card.report,
            card.report_doubt,
            card.results,
            card.appended,
            card.archived_reports,
            card.attachments,
        )
        state = self._state(card.visit)
        facts = (order, *reported, card.discrepancies, card.holding, card.lack, card.undecided, state, today)
        beside = found.received, found.effective_dose, found.typed_dose, found.waits_over_read
        self._facts.show((*facts, *beside), self._draw_facts)
        self._wires.show(facts, self._draw_wires)
        actions = (
            order.state,
            card.bus,
            card.attention_reason,
            card.uncorrected,
            card.report and card.report.state,
            bool(card.performed),
            links.images(self._services.settings.viewer, card),
        )
        self._actions.show(actions, self._draw_actions)
        self._lines.show(timeline.entries(card, found.devices, self._services.clinic.zone, today))

    # ---- what may be done ----

    def _draw_actions(self) -> None:
        card, number = self._found.card, self._found.card.order.accession_number
        if self._may(Permission.AMEND) and allowed(card.order.state, Event.AMEND):
            ui.link("Изменить", links.amendment(number)).classes("btn")
        incomplete = bus.is_incomplete(card.attention_reason)
        held = bus.waits_on_card(card.attention_reason)  # a decision ends it: a doctor's, the patient's
        if incomplete and self._may(Permission.AMEND):
            ui.link("Дополнить карту", patient_cards.correction_address(card.order.patient.patient_id)).classes("btn")
        elif bus.is_other_patient(card.attention_reason) and self._may(Permission.RESEND):
            theme.button("Данные верны, отправить", self._dialogs.note_revision).props("data-opens=send-results")
        elif card.bus == "needs_attention" and not (incomplete or held) and self._may(Permission.RESEND):
            theme.button("Отправить снова", self._resend, icon="sync")
        if self._may(Permission.REPORT) and card.performed:
            signed = card.report and card.report.state is ReportState.SIGNED
            ui.link("Протокол" if signed else "Описать", links.reading(number)).classes("btn")
        viewer_window.draw_link(self._services.settings.viewer, card)
        if card.order.state is OrderState.SCHEDULED:
            why = theme.button("Почему не на аппарате?", lambda: self._why.ask(self._found.card.order))
            why.props("data-opens=why")
        with ui.link("", links.label(number), new_tab=True).classes("btn"):
            ui.icon("print")
            text("span", "Печать")
        shares = self._services.clinic.shares_accession_numbers and referrals.may_share_number(card.order)
        if shares and self._may(Permission.REGISTER):
            ui.link("Ещё исследование", links.another(number)).classes("btn")
        if self._may(Permission.CLOSE) and allowed(card.order.state, Event.CLOSE):
            theme.button("Выполнено", self._dialogs.note_revision).props("data-opens=close")
        if self._may(Permission.DOSE) and card.order.state in (OrderState.IN_PROGRESS, OrderState.COMPLETED):
            theme.button("Вписать дозу").props("data-opens=type-dose")
        if card.uncorrected and self._may(Permission.CANCEL) and self._may(Permission.REGISTER):
            theme.button("Отменить там и направить заново", self._dialogs.note_revision).props("data-opens=reissue")
        if self._may(Permission.CANCEL) and allowed(card.order.state, Event.CANCEL):
            theme.button("Отменить", self._dialogs.note_revision, kind="danger").props("data-opens=cancel")

    def _may(self, permission: Permission) -> bool:
        return permissions.may(self._actor, permission)

    async def _confirm(self, uid: str, seen: Confirmation) -> None:
        services, order = self._services, self._found.card.order
        actor = current_actor(services)
        if await attempt(
            lambda: services.store.write(step_links.confirm_patient, uid, order.id, actor, services.clinic, seen)
        ):
            theme.show_message(f"Подтверждено: {order.accession_number}")

    async def _decide(self, patient_id: int, number: str) -> None:
        services, order = self._services, self._found.card.order
        actor = current_actor(services)
        decide = patient_merge.decide_order
        if await attempt(lambda: services.store.write(decide, order.id, patient_id, actor, services.clinic)):
            theme.show_message(f"Решено: {order.accession_number}, карта {number}")

    async def _resend(self) -> None:
        services, order = self._services, self._found.card.order
        actor = current_actor(services)
        if await attempt(lambda: services.store.write(outbox.resend, order.id, actor)):
            theme.show_message("Снова в очереди на отправку")

    # ---- facts ----

    def _draw_facts(self) -> None:
        card, order = self._found.card, self._found.card.order
        with ui.element("section").classes("section"):
            text("div", "Номер исследования", "muted small")
            with ui.element("div").classes("row-line"):
                text("span", order.shown_number, "number").props("id=accession-number")
                copy = theme.button(
                    "Копировать", lambda: theme.show_message("Номер скопирован"), icon="content_copy", small=True
                )
                copy.on("click", js_handler=COPY)
            with ui.element("div").classes("row-line").style("margin-top: 8px"):
                visit = card.visit
                theme.state_chip(*self._state(visit))
                if card.report_doubt:
                    theme.state_chip("attention", "Проверьте протокол")
                if card.bus == "needs_attention":
                    theme.state_chip("attention", bus.held_chip(card.attention_reason))
                elif card.bus == "pending":
                    text("span", "ждёт отправки на шину", "muted small")
                elif card.bus == "delivered" and not visit.doubtful:
                    text("span", "шина приняла", "muted small")
            if card.uncorrected:
                text(
                    "p",
                    "Исправлено у нас, а в другой клинике прежние данные: шина исправлений не принимает.",
                    "attention-reason",
                )
            if card.answers_former_data:
                text(
                    "p",
                    "Другая клиника выполнила по прежним данным. Сверьте результат: тот ли пациент, то ли исследование,"
                    " та ли сторона.",
                    "attention-reason",
                )
            if card.attention_reason:
                text("p", bus.bus_reason(card.attention_reason), "attention-reason")
            if order.requester and card.appended:
                text("p", bus.CALL_ABOUT_IMAGES, "muted")
        if card.undecided:
            self._draw_whose(card.undecided)
        if card.report:
            with theme.section("Протокол"):
                if card.report_doubt:
                    text("p", words.REPORT_DOUBTS[card.report_doubt], "attention-reason")
                if self._found.waits_over_read:
                    theme.state_chip("over_read")
                zone, today = self._services.clinic.zone, self._services.today()
                signed_report.draw(card.report, zone, today, number=order.accession_number, brief=True)
                signed_report.draw_earlier(card.earlier_reports, zone, today)
                attached_files.draw(card.attachments, zone, today)
                report_archive.draw(self._services, self._actor, card)
        for result in card.results:
            with theme.section("Результат"):
                external_report.draw(result, self._found.clinics)
        self._draw_archive()
        found, zone, today = self._found, self._services.clinic.zone, self._services.today()
        device_reports.draw(found.received, found.effective_dose, zone, today, found.typed_dose)
        with theme.section("Исследование"):
            theme.facts(self._about(order))
            if card.request:
                text("div", "Под тем же номером", "muted small")
            for other in card.request:
                ui.link(words.procedure(other), links.card(other.accession_number)).classes("small")
        with theme.section("Пациент"):
            theme.facts(_patient(order.patient))
            ui.link("Карта пациента", patient_cards.address(order.patient.patient_id)).classes("small")
        for step in card.performed:
            with theme.section("Сделано", words.source_of_step(step)):
                theme.facts(self._performed(step))
                if step.sop_instance_uid in card.conflicts:
                    reported = names.cut(str(names.from_dicom(step.patient_name)), 64) or "без имени"
                    fields = tuple(card.conflicts[step.sop_instance_uid].split(", "))
                    question = f"На аппарате названо: «{reported}», не сходится {words.contradictions(fields)}."
                    question += " Тот ли это пациент?"
                    if fields == words.ENDED_BY_ANOTHER:
                        question = f"О конце сообщил не тот аппарат, который начал. На нём названо: «{reported}»."
                        question += " Это его исследование, и оно закончено?"
                    text("p", question, "attention-reason")
                if self._may(Permission.LINK):
                    self._draw_step_acts(step, card)

    def _draw_step_acts(self, step: PerformedStep, card: Card) -> None:
        """Draw what may be said of a step, each beside the other at a distance: they mean the opposite."""
        uid = step.sop_instance_uid
        with ui.element("div").classes("acts"):
            if uid in card.conflicts:
                fields = tuple(card.conflicts[uid].split(", "))
                seen = Confirmation(card.order.patient, fields)
                word = "Да, это оно" if fields == words.ENDED_BY_ANOTHER else "Да, это он"
                theme.button(word, lambda: self._confirm(uid, seen), small=True)
            word = "Снять отметку" if step.source is StepSource.MANUAL else "Это чужие снимки"
            theme.button(word, lambda: self._dialogs.note_step(uid), small=True).props("data-opens=unlink")

    def _draw_whose(self, found: OrderOfTwo) -> None:
        with theme.section(patient_cards.WHOSE_ORDER):
            text("p", patient_cards.WHOSE_WAITS, "attention-reason")
            if self._may(Permission.MERGE):
                with ui.element("div").classes("row-line of-two"):
                    for card in found.cards:
                        id, number = card.stored_id, card.patient_id
                        theme.button(
                            patient_cards.named(card), lambda id=id, number=number: self._decide(id, number), small=True
                        )

    def _draw_archive(self) -> None:
        card, number = self._found.card, self._found.card.order.accession_number
        for each in card.discrepancies:
            with theme.section(f"{archive.IN_ARCHIVE}: {archive.lowered(archive.TITLES[each.kind])}"):
                text("p", archive.meaning(each.kind, number), "attention-reason")
                ui.link("Сравнить", links.comparison(number)).classes("btn btn-small")
        if isinstance(card.lack, MissingImages):
            at = words.moment(card.since, self._services.clinic.zone, self._services.today())
            with theme.section(archive.MISSING):
                text("p", archive.missing(at, holds_region=card.lack.holds_region), "attention-reason")
                if self._may(Permission.LINK):
                    theme.button(archive.NO_IMAGES, lambda: self._waive.note(card.order), small=True).props(
                        "data-opens=waive"
                    )
        elif card.holding and card.order.state is OrderState.COMPLETED:
            with theme.section(archive.IN_ARCHIVE, archive.held(card.holding.exists, card.holding.images)):
                if card.holding.waived and not card.holding.exists:
                    text("p", "Отмечено: снимков не будет.", "muted")
                if card.lack:
                    text("p", archive.difference(card.lack.counted), "attention-reason")

    def _state(self, visit: Visit) -> tuple[str, str]:
        services = self._services
        return visit_states.state(visit, self._found.card.lack, services.now(), services.clinic.zone)

    def _about(self, order: Order) -> list[tuple[str, str]]:
        today = self._services.today()
        when = [
            f"{words.day(step.start.date(), today)}, {step.start:%H:%M}"
            if step.station_ae_titles
            else f"желательно {words.day(step.start.date(), today)}"  # the other clinic chooses the time
            for step in order.steps
        ]
        on_devices = order.device_number(bus=self._services.clinic.bus_numbers)
        where = dict.fromkeys(self._place(ae_title) for step in order.steps for ae_title in step.station_ae_titles)
        return [
            ("Что", words.procedure(order)),
            *([("Номер для шины", order.accession_number)] if order.request_number else []),
            *([("Номер на аппаратах", on_devices)] if on_devices != order.shown_number else []),
            ("Когда", "; ".join(when)),
            ("Где", "; ".join(where) or self._found.other),
            *([("Направила", self._found.other)] if order.requester else []),
            *([("Срочность", "Срочно")] if order.priority is Priority.URGENT else []),
            ("Направил", order.referring_doctor),
            ("Диагноз", order.diagnosis),
            ("Оплата", CHOICES["finance"].get(order.finance, order.finance)),
            ("Комментарий", order.comment),
            ("Записал", order.created_by),
        ]

    def _performed(self, step: PerformedStep) -> list[tuple[str, str]]:
        times = [f"{moment:%H:%M}" if moment else "?" for moment in (step.start, step.end)]
        return [
            ("Где", self._place(step.ae_title)),
            ("Когда", f"с {times[0]}" + (f" до {times[1]}" if step.end else "")),
            ("Лаборант", str(names.from_dicom(step.operator))),
            ("Снимков", str(step.images) if step.images else ""),
            *([("Прервано", words.discontinuation(step))] if step.state is PerformedState.DISCONTINUED else []),
        ]

    def _place(self, ae_title: str) -> str:
        known = next((device for device in self._found.devices if device.ae_title == ae_title), None)
        return words.device_place(known) if known else ae_title

    def _draw_wires(self) -> None:
        card, order = self._found.card, self._found.card.order
        stations = [ae_title for step in order.steps for ae_title in step.station_ae_titles]
        theme.facts(
            [
                ("UID", order.study_instance_uid),
                *([("UID в архиве", card.holding.study_instance_uid)] if card.holding and card.holding.exists else []),
                ("Аппарат", ", ".join(stations)),
                ("Вид", ", ".join(passthrough.modalities(order))),
                ("Процедура", order.requested_procedure_id),
                ("Запись", ", ".join(step.sps_id for step in order.steps)),
                *(("MPPS", step.sop_instance_uid) for step in card.performed),
            ]
        )


def _patient(patient: Patient) -> list[tuple[str, str]]:
    rare = [
        ("Страховая", patient.insurer),
        ("Мать", patient.mother),
        ("Вес", f"{patient.weight:g} кг".replace(".", ",") if patient.weight else ""),
        ("Рост", f"{patient.height:g} см".replace(".", ",") if patient.height else ""),
        ("Аллергия", patient.allergies),
        ("Беременность", patient.pregnancy),
    ]
    return [
        ("Пол", SEXES[patient.sex]),
        ("СНИЛС", identifiers.show_snils(patient.snils)),
        ("Полис ОМС", identifiers.show_policy(patient.policy)),
        ("Номер карты", patient.patient_id),
        ("Телефон", patient.phone),
        *((name, value) for name, value in rare if value),
    ]


def _make_line(line: timeline.DayHeading | timeline.TimelineEntry) -> tuple[ui.element, Redraw]:
    """Draw an entry of the timeline; its evidence stays open while other entries are added."""
    element = ui.element("li")

    def redraw(line: timeline.DayHeading | timeline.TimelineEntry) -> None:
        element.clear()
        if isinstance(line, timeline.DayHeading):
            element.classes(replace="day")
            with element:
                text("span", line.word)
            return
        icon, _, tone = theme.STATES[line.state]
        element.classes(replace=f"tone-{tone}")
        with element:
            text("time", line.time)
            ui.icon(icon).classes("dot").props("aria-hidden=true")
            with ui.element("div"):
                text("p", line.what, "what")
                text("p", line.who, "who")
                if line.evidence:
                    with ui.element("details"):
                        text("summary", line.evidence_name)
                        text("div", line.evidence, "evidence")

    redraw(line)
    return element, redraw
