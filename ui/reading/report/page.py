"""The doctor's page of one study: its facts on the left, the report on the right, saved while typing, signed once.

Live: a report that somebody else saves or signs shows here, and what is typed here is never overwritten unseen.
"""

from __future__ import annotations

from dataclasses import dataclass

from nicegui import ui

from broker.domain.actors import Actor
from broker.domain.orders import OrderState
from broker.domain.patients import names
from broker.domain.reading.leases import Lease
from broker.domain.reading.reports import Report, ReportChange, ReportState
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.database import Reader
from broker.store.queries.reading import reading_cases, reading_list, writers
from broker.store.queries.reading.reading_list import StudyToRead, UnreportedStudy
from broker.workflow import accounts
from broker.workflow.reading import kept_texts, reports
from broker.workflow.reading.kept_texts import KeptText
from ui.layout.frame import frame
from ui.live import attempt, current_actor, follow, latest, read_as_viewer
from ui.reading import queue_page, session_panel, viewer_window
from ui.reading.report import attached_files, opinions, over_read, signed_report, study_facts, writing_lease
from ui.reading.report import kept_texts as shown_texts
from ui.reading.report.form import ReportForm
from ui.reading.report.opinions import OpinionsData, OpinionsPanel
from ui.reading.report.over_read import OverReadData, OverReadPanel
from ui.reading.report.revision import KeptDraft, RevisionPanel, draft_name
from ui.services import Services
from ui.text import links, words
from ui.widgets import theme
from ui.widgets.memo import Memo
from ui.widgets.theme import text


def build(services: Services) -> None:
    """Add the route /reading/{accession_number}; `?only=` is the modality of the list it was opened from."""

    @ui.page("/reading/{accession_number:path}", title="Описание")
    async def study(accession_number: str, only: str = "") -> None:
        actor = current_actor(services)
        with frame(services, actor, "/reading"):
            ui.link("Назад", queue_page.list_address(only)).classes("unseen").props("data-back tabindex=-1")
            if not permissions.may(actor, Permission.REPORT):
                theme.empty("Описывают врачи.", "Подписанный протокол виден в карточке исследования.")
                return
            found = await read_as_viewer(
                services, lambda reader: _read(reader, services, actor, accession_number, only)
            )
            if found is None:
                theme.empty(f"Исследования с номером «{accession_number[:40]}» нет.", "Проверьте номер.")
                return
            ui.page_title(f"Описание {found.study.card.order.accession_number}")
            if found.made_of_reads:
                order = found.study.card.order
                theme.empty(
                    "Это исследование читают в сеансе.", "Протокол составят из мнений, когда они станут окончательны."
                )
                link = ui.link("Читать", session_panel.address((order.modality, 0), first=order.accession_number))
                link.classes("btn btn-primary").props("data-primary")
                return
            form = draft_name(found.study.card.order.id)
            kept = await read_as_viewer(services, lambda reader: accounts.load_draft(reader, form, actor))
            page = ReadingPage(services, actor, only, found, kept)
            refresh = latest(services, page.read, page.show)
            follow(services, refresh)
            await refresh()  # changes between reading and following


@dataclass(frozen=True, slots=True)
class ReadingPageData:
    """The data of the page; `following` is the study to report next, once this one is signed."""

    study: StudyToRead
    devices: dict[str, str]
    following: UnreportedStudy | None
    lease: Lease | None = None  # who writes it now
    kept_texts: tuple[KeptText, ...] = ()  # of this doctor
    over_reads: OverReadData = over_read.NONE
    opinions: OpinionsData = opinions.NONE  # of other clinics
    made_of_reads: bool = False  # two doctors read it, or one has given an opinion: this page writes no report of it


def _read(reader: Reader, services: Services, actor: Actor, accession_number: str, only: str) -> ReadingPageData | None:
    study = reading_list.study(reader, accession_number, services.images_due())
    if study is None:
        return None
    following, made_of_reads = None, False
    if study.card.report and study.card.report.state is ReportState.SIGNED:
        following = queue_page.following(reader, services.store.clock(), only, study.card.order.id)
    else:
        made_of_reads = bool(reading_cases.made_of_reads(reader, [study.card.order.id]))
    lease = None if made_of_reads else writers.writer(reader, study.card.order.id, services.store.clock())
    kept = kept_texts.of_order(reader, study.card.order.id, actor)
    asked, of_others = over_read.NONE, opinions.NONE
    if study.card.report and study.card.report.state is ReportState.SIGNED:
        asked = over_read.read(reader, services, study.card.order.id, actor)
        of_others = opinions.read(reader, services, study.card.order.id)
    return ReadingPageData(study, study_facts.places(reader), following, lease, kept, asked, of_others, made_of_reads)


class ReadingPage:
    """One open reading page of a doctor."""

    def __init__(
        self, services: Services, actor: Actor, only: str, found: ReadingPageData, kept: KeptDraft | None
    ) -> None:
        """`kept` is what the doctor had typed to revise the report."""
        self._services = services
        self._actor = actor
        self._only = only
        self._found = found
        self._kept = kept
        self._panel: RevisionPanel | None = None
        with ui.element("div").classes("page-head card-head"):
            self._title = Memo(ui.element("h1"))
            ui.element("div").classes("spring")
            self._images = Memo(ui.element("div").classes("acts"))
            with ui.link("", links.card(found.study.card.order.accession_number)).classes("btn"):
                text("span", "Карточка")
        with ui.element("div").classes("card reading"):
            self._known = Memo(ui.element("div"))
            with ui.element("div").classes("writing"):
                with ui.element("div").classes("attention-reason").props("role=alert") as self._alarm:
                    self._doubt = text("p", "")
                    self._confirmed = text("p", "")
                    self._right = theme.button("Протокол верен", self._uphold, small=True)
                self._writer = Memo(ui.element("div").props("role=status"))
                self._signed = Memo(ui.element("div"))
                self._revising = Memo(ui.element("div"))
                order_id = found.study.card.order.id
                over_read_box, opinions_box = ui.element("div"), ui.element("div")
                self._beside = ui.element("div")
                with over_read_box:
                    self._over_read = OverReadPanel(
                        services, actor, order_id, self._propose, self._reread, self._beside
                    )
                with opinions_box:
                    self._opinions = OpinionsPanel(services, actor, order_id, self._propose, self._reread, self._beside)
                self._following = Memo(self._beside)
                self._form = ReportForm(services, actor, found.study, self._reread)
                self._kept_texts = Memo(ui.element("div"))
        self.show(found)

    def read(self, reader: Reader) -> ReadingPageData | None:
        """Return the data of the page; None if the order does not exist."""
        return _read(reader, self._services, self._actor, self._found.study.card.order.accession_number, self._only)

    def show(self, found: ReadingPageData | None) -> None:
        """Draw what has changed; an order is never deleted, so None only leaves the page as it is."""
        if found is None:
            return
        self._found = found
        card, today = found.study.card, self._services.today()
        patient = card.order.patient
        self._title.show((patient, today), lambda: theme.patient_line(str(patient.name), patient.born, today))
        viewer = self._services.settings.viewer
        self._images.show(links.images(viewer, card), lambda: viewer_window.draw_link(viewer, card))
        left = (card.order, card.performed, card.conflicts, found.study.series, found.study.doses, found.study.earlier)
        doses = found.study.received, found.study.effective_dose
        states = study_facts.states(found.study, self._services.now(), self._services.clinic.zone)
        self._known.show(
            (*left, *doses, states, found.devices, today),
            lambda: study_facts.draw(found.study, states, found.devices, today, self._services.clinic.zone),
        )
        signed = card.report if card.report and card.report.state is ReportState.SIGNED else None
        self._doubt.set_text(words.REPORT_DOUBTS[card.report_doubt] if card.report_doubt else "")
        self._alarm.set_visibility(card.report_doubt is not None)
        is_right = card.order.state is OrderState.COMPLETED and not card.conflicts and not card.disputed
        self._right.set_visibility(is_right)
        self._confirmed.set_text(study_facts.confirmed(card, found.devices))
        self._confirmed.set_visibility(is_right)
        self._signed.show((signed, card.earlier_reports, card.attachments, today), lambda: self._draw_signed(signed))
        # What is typed into its form outlives what else changes on the page, also another version.
        self._revising.show(signed is None, lambda: self._draw_revising(signed))
        if self._panel and signed:
            self._panel.show(signed, found.lease)
        if signed:
            self._over_read.show(signed, found.over_reads)
            self._opinions.show(signed, found.opinions)
        self._following.show((signed is None, found.following), lambda: self._draw_following(signed, found.following))
        self._form.show(found.study, signed is not None, found.lease)
        other = found.lease if found.lease and found.lease.reader != self._actor.name else None
        self._writer.show((other, signed is None), lambda: self._draw_writer(other, signed))
        writes = signed is None and other is None
        self._kept_texts.show((found.kept_texts, writes), lambda: self._draw_kept_texts(found, writes))

    async def _reread(self) -> None:
        self.show(await read_as_viewer(self._services, self.read))

    def _draw_writer(self, other: Lease | None, signed: Report | None) -> None:
        if other is not None:
            what = "Новую версию" if signed else "Протокол"
            said = writing_lease.notice(other, self._services.clinic.zone, self._services.today(), what)
            text("p", said, "attention-reason writer")

    def _draw_kept_texts(self, found: ReadingPageData, writes: bool) -> None:
        take = self._form.write_instead if writes else None
        shown_texts.draw(self._services, found.study.card.order.id, found.kept_texts, take)

    # ---- signed ----

    def _draw_signed(self, report: Report | None) -> None:
        if report is None:
            return
        zone, today, card = self._services.clinic.zone, self._services.today(), self._found.study.card
        with theme.section("Протокол"):
            signed_report.draw(report, zone, today, number=card.order.accession_number)
            signed_report.draw_earlier(card.earlier_reports, zone, today)
            signed_report.draw_reads(self._found.study.reads, zone, today)
            attached_files.draw(card.attachments, zone, today)
            if permissions.may(self._actor, Permission.REPORT) and not report.is_withdrawn:
                attached_files.draw_form(card.order.accession_number, report.version)

    def _draw_revising(self, report: Report | None) -> None:
        if report is None or not permissions.may(self._actor, Permission.REPORT):
            return
        sends = bool(self._services.clinic.sends_to_bus and self._found.study.card.order.bus_role)
        self._panel = RevisionPanel(
            self._services,
            self._actor,
            report,
            lambda: self._found.study.card.images,
            kept=self._kept,
            sends=sends,
            reread=self._reread,
            beside=self._beside,
        )

    def _propose(self, change: ReportChange, values: dict[str, str]) -> bool:
        return self._panel is not None and self._panel.propose(change, values)

    def _draw_following(self, report: Report | None, following: UnreportedStudy | None) -> None:
        if report is None:
            return
        with ui.element("div").classes("actions"):
            if following:
                order = following.order
                word = f"Следующее: {names.short(order.patient.name)}, {words.short_procedure(order)}"
                with ui.link("", links.reading(order.accession_number, self._only)) as link:
                    link.classes("btn btn-primary").props("data-primary")
                    text("span", word, "cut")
                    text("kbd", "Ctrl+Enter", "key")
            else:
                text("p", "Больше ничего не ждёт описания.", "muted")
            ui.element("div").classes("spring")
            ui.link("К списку", queue_page.list_address(self._only))

    async def _uphold(self) -> None:
        services, order, seen = self._services, self._found.study.card.order, self._found.study.card.images
        actor = current_actor(services)
        if await attempt(lambda: services.store.write(reports.uphold, order.id, seen, actor, services.clinic)):
            theme.show_message("Подтверждено: протокол об этих снимках")
