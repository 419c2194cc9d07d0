"""«Расхождения с архивом»: studies in the archive that bear a referral's numbers and do not fit it. Live.

The gravest is shown as a comparison, or the one that a person chose; the others stand below.
"""

from __future__ import annotations

from dataclasses import dataclass

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from broker.domain.actors import Actor
from broker.domain.patients import names
from broker.domain.patients.confirmation import Confirmation
from broker.domain.patients.people import Patient
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.database import Reader
from broker.store.queries.studies import archive_gaps, received
from broker.store.queries.studies.archive_gaps import ArchiveGaps, DoubtfulStudy, FewerImages, MissingImages, OtherCount
from broker.store.queries.studies.received import HeldObject
from broker.store.queries.studies.unreferred_studies import UnreferredStudy
from broker.workflow.referrals import unreferred_studies
from broker.workflow.studies import archive_images
from ui.archive import table
from ui.archive.comparison import ComparedRow, compared_rows, contradicting_fields, contradictions
from ui.archive.received import HeldSection
from ui.archive.unreferred import LikelyStudy, UnreferredSection
from ui.archive.waive_dialog import WaiveDialog
from ui.layout.frame import frame
from ui.live import attempt, check_viewer, current_actor, follow, latest, read_as_viewer
from ui.reading import viewer_window
from ui.services import Services
from ui.text import archive, links, words
from ui.widgets import theme
from ui.widgets.keyed_list import KeyedList, redraw_row
from ui.widgets.memo import Memo
from ui.widgets.theme import text


def build(services: Services) -> None:
    """Add the route /archive; `?order=` is the accession number of the referral to begin with.

    `?show=unreferred` begins with the studies without a referral.
    """

    @ui.page("/archive", title=archive.PLACE)
    async def archive_page(order: str = "", show: str = "") -> None:
        actor = current_actor(services)
        with frame(services, actor, "/board"), ui.element("div").classes("page"):
            page = ArchivePage(services, actor, order, archive.UNREFERRED if show == "unreferred" else "")
            refresh = latest(services, page.read, page.show)
            follow(services, refresh)
            await refresh()


@dataclass(frozen=True, slots=True)
class ArchivePageData:
    """What the page is drawn from."""

    gaps: ArchiveGaps
    owners: dict[int, Patient]  # by the discrepancy's id
    likely: LikelyStudy | None = None  # a study without a referral that one referral fits
    held: tuple[HeldObject, ...] = ()  # reports of modalities that belong to no study yet


class ArchivePage:
    """One open page of discrepancies."""

    def __init__(self, services: Services, actor: Actor, number: str, tab: str = "") -> None:
        self._services = services
        self._links = permissions.may(actor, Permission.LINK)
        self._reports = permissions.may(actor, Permission.REPORT)
        registers = permissions.may(actor, Permission.REGISTER)
        self._number = number  # of the referral to begin with
        # What is shown; empty: not decided. It does not change by itself: keys mean something else on the other one.
        self._tab = archive.GAPS if number else tab
        self._chosen: int | None = None  # the discrepancy that a person wants to compare
        # What the open dialog asks about, and what it says.
        self._asked: tuple[DoubtfulStudy, Confirmation] | None = None
        self._found: ArchivePageData | None = None
        with ui.element("div").classes("page-head"):
            text("h1", archive.PLACE)
            with ui.element("div").classes("filters").props("role=group aria-label=Показать"):
                self._tabs = {word: self._make_tab(word) for word in (archive.GAPS, archive.UNREFERRED)}
            self._count = text("span", "", "muted small")
            ui.element("div").classes("spring")
            self._asked_at = text("span", "", "muted small")
            if services.ask_archive:
                self._ask_now = theme.button("Спросить архив сейчас", self._ask_archive)
        self._none = Memo(ui.element("div"))
        with ui.element("div") as self._gaps:
            self._versus = Memo(ui.element("div"))
            with ui.element("section").classes("section") as self._rest:
                with ui.element("div").classes("head"):
                    text("h2", "Остальные")
                    self._rest_count = text("span", "", "muted small")
                self._rows = KeyedList(ui.element("ol").classes("gap-list"), redraw_row("li", "", self._draw_row))
            with ui.element("section").classes("section") as self._missed:
                with ui.element("div").classes("head"):
                    text("h2", archive.MISSING)
                    self._missed_count = text("span", "", "muted small")
                self._missing = KeyedList(
                    ui.element("ol").classes("gap-list"), redraw_row("li", "", self._draw_missing)
                )
            with ui.element("section").classes("section") as self._other:
                with ui.element("div").classes("head"):
                    text("h2", archive.COUNTS)
                    self._other_count = text("span", "", "muted small")
                self._counts = KeyedList(ui.element("ol").classes("gap-list"), redraw_row("li", "", self._draw_count))
            with ui.element("section").classes("section") as self._lost:
                with ui.element("div").classes("head"):
                    text("h2", archive.FEWER)
                    self._lost_count = text("span", "", "muted small")
                self._fewer = KeyedList(ui.element("ol").classes("gap-list"), redraw_row("li", "", self._draw_fewer))
        self._held = HeldSection(services, links=self._links)
        self._unreferred = UnreferredSection(services, self._reread, links=self._links, registers=registers)
        with ui.element("section").classes("section") as self._decided:
            with ui.element("div").classes("head"):
                text("h2", "Решено")
                text("span", "за неделю", "muted small")
            self._decisions = KeyedList(ui.element("ol").classes("gap-list"), redraw_row("li", "", self._draw_decided))
            self._left = KeyedList(ui.element("ol").classes("gap-list"), redraw_row("li", "", self._draw_left))
        self._dialog()
        self._waive = WaiveDialog(services)

    def read(self, reader: Reader) -> ArchivePageData:
        """Return what waits for a person."""
        gaps = archive_gaps.gaps(reader, self._services.store.clock(), self._services.images_due())
        likely = self._unreferred.likely(reader, gaps.unreferred) if self._links else None
        return ArchivePageData(gaps, archive_gaps.owners(reader, gaps.studies), likely, received.held(reader))

    async def _reread(self) -> None:
        self.show(await read_as_viewer(self._services, self.read))

    def show(self, found: ArchivePageData) -> None:
        """Draw what has changed."""
        self._found = found
        studies, missing = found.gaps.studies, found.gaps.missing
        self._count.set_text(
            words.plural(len(studies), "ждёт решения", "ждут решения", "ждут решения") if studies else ""
        )
        now = found.gaps.answered_at
        at = words.moment(now, self._services.clinic.zone, self._services.today()) if now else ""
        never = "Архив ещё не отвечал" if self._services.ask_archive else ""
        self._asked_at.set_text(f"Последняя сверка в {at}" if at else never)
        gaps = found.gaps
        counted = {archive.GAPS: len(studies) + len(missing) + len(gaps.counts) + len(gaps.fewer) + len(found.held)}
        counted[archive.UNREFERRED] = len(gaps.unreferred)
        some = any(counted.values())
        if not self._tab and some:
            self._tab = archive.GAPS if counted[archive.GAPS] else archive.UNREFERRED
        shown = self._tab or archive.GAPS
        for word, (pill, count) in self._tabs.items():
            count.set_text(str(counted[word]))
            pill.props(f"aria-pressed={'true' if word == shown else 'false'}")
        for each in (self._gaps, self._count):
            each.set_visibility(shown == archive.GAPS)
        is_empty = not counted[shown]
        self._none.show((some, is_empty, shown, at), lambda: self._draw_none(at, some, shown) if is_empty else None)
        first = self._first(studies) if shown == archive.GAPS else None  # what is not shown must bear no keys
        owner = found.owners.get(first.discrepancy.id) if first else None
        self._versus.show((first, owner, len(studies) > 1), lambda: self._draw_versus(first, owner) if first else None)
        rest = [each for each in studies if each is not first]
        self._rest.set_visibility(bool(rest))
        self._rest_count.set_text(str(len(rest)))
        self._rows.show((each.discrepancy.id, each) for each in rest)
        self._missed.set_visibility(bool(missing))
        self._missed_count.set_text(str(len(missing)))
        clock = self._services.store.clock()
        self._missing.show((each.order.id, (each, archive.missing_for(clock - each.since))) for each in missing)
        is_shown = shown == archive.UNREFERRED
        self._unreferred.show(gaps.unreferred if is_shown else (), found.likely if is_shown else None)
        self._held.show(() if is_shown else found.held)
        self._other.set_visibility(bool(gaps.counts))
        self._other_count.set_text(str(len(gaps.counts)))
        self._counts.show((each.order.id, each) for each in gaps.counts)
        self._lost.set_visibility(bool(gaps.fewer))
        self._lost_count.set_text(str(len(gaps.fewer)))
        self._fewer.show((each.order.id, each) for each in gaps.fewer)
        self._left.show((each.id, each) for each in gaps.left)
        self._decided.set_visibility(bool(gaps.decided or gaps.left))
        self._decisions.show((each.discrepancy.id, each) for each in found.gaps.decided)

    def _first(self, studies: tuple[DoubtfulStudy, ...]) -> DoubtfulStudy | None:
        """Return the study to compare: the chosen one, else one of the chosen referral, else the gravest."""
        chosen = [each for each in studies if each.discrepancy.id == self._chosen]
        ordered = [each for each in studies if each.order.accession_number == self._number]
        return next(iter([*chosen, *ordered, *studies]), None)

    def _make_tab(self, word: str) -> tuple[ui.element, TextElement]:
        with ui.element("button").props("type=button").on("click", lambda: self._show_tab(word)) as pill:
            text("span", word)
            count = text("span", "", "small")
        return pill, count

    def _show_tab(self, word: str) -> None:
        self._tab = word
        if self._found:
            self.show(self._found)

    def _draw_none(self, at: str, some: bool, shown: str) -> None:
        if some:
            theme.empty(*archive.EMPTY[shown])
            return
        how = "Если снимки не пришли или чужие, они появятся здесь."
        theme.empty("Архив и направления сходятся.", f"Последняя сверка в {at}. {how}" if at else how)

    # ---- the comparison ----

    def _draw_versus(self, each: DoubtfulStudy, owner: Patient | None) -> None:
        order, discrepancy = each.order, each.discrepancy
        rows = _rows_of(each, owner)
        with ui.element("div").classes("versus"):
            with ui.element("div").classes("versus-head"):
                text("b", archive.TITLES[discrepancy.kind])
                text("span", archive.meaning(discrepancy.kind, order.accession_number), "muted")
                ui.link("Открыть карточку", links.card(order.accession_number))
            table.draw(rows)
            with ui.element("div").classes("acts"):
                if self._links:
                    self._ours_button(each, small=False)
                    not_ours = theme.button("Чужое, не наше", lambda: self._dismiss(discrepancy.id), key="2")
                    not_ours.props("data-key=2")
                viewer_window.draw_archived(self._services.settings.viewer, discrepancy.study)
                if self._links and self._found and len(self._found.gaps.studies) > 1:
                    later = theme.button("Позже", lambda: self._later(discrepancy.id), key="0")
                    later.props("data-key=0")

    def _draw_row(self, each: DoubtfulStudy) -> None:
        order, discrepancy = each.order, each.discrepancy
        with ui.element("div"):
            theme.state_chip("doubtful", archive.TITLES[discrepancy.kind])
        with ui.element("div"):
            text("b", f"{names.short(order.patient.name)}, {order.accession_number}")
            text("p", archive.meaning(discrepancy.kind, order.accession_number), "muted small")
        with ui.element("div").classes("acts"):
            theme.button("Сравнить", lambda: self._choose(discrepancy.id), small=True)
            if self._links:
                self._ours_button(each, small=True)
                theme.button("Чужое, не наше", lambda: self._dismiss(discrepancy.id), small=True)

    def _draw_missing(self, model: tuple[MissingImages, str]) -> None:
        each, word = model
        order, services = each.order, self._services
        with ui.element("div"):
            theme.state_chip("imageless", word)
        with ui.element("div"):
            text("b", f"{names.short(order.patient.name)}, {order.accession_number}")
            at = words.moment(each.since, services.clinic.zone, services.today())
            text("p", archive.missing(at, holds_region=each.holds_region), "muted small")
        with ui.element("div").classes("acts"):
            ui.link("Открыть карточку", links.card(order.accession_number)).classes("btn btn-small")
            if self._links:
                theme.button(archive.NO_IMAGES, lambda: self._waive.note(order), small=True).props("data-opens=waive")

    def _draw_count(self, each: OtherCount) -> None:
        order = each.order
        with ui.element("div"):
            theme.state_chip("imageless", archive.other_count(each.counted))
        with ui.element("div"):
            text("b", f"{names.short(order.patient.name)}, {order.accession_number}")
            text("p", archive.difference(each.counted), "muted small")
        with ui.element("div").classes("acts"):
            ui.link("Открыть карточку", links.card(order.accession_number)).classes("btn btn-small")
            if self._links:
                theme.button(f"Так и нужно: {each.counted.archived}", lambda: self._accept_count(each), small=True)

    def _draw_fewer(self, each: FewerImages) -> None:
        order = each.order
        with ui.element("div"):
            theme.state_chip("imageless", archive.fewer(each))
        with ui.element("div"):
            text("b", f"{names.short(order.patient.name)}, {order.accession_number}")
            text("p", archive.FEWER_MEANS, "muted small")
        with ui.element("div").classes("acts"):
            ui.link("Открыть карточку", links.card(order.accession_number)).classes("btn btn-small")
            if self._reports:
                ui.link("Открыть протокол", links.reading(order.accession_number)).classes("btn btn-small")

    def _draw_left(self, each: UnreferredStudy) -> None:
        text("span", "Без направления", "muted")
        with ui.element("div"):
            text("span", f"В архиве {archive.described(each.study)}")
        with ui.element("div").classes("acts"):
            if self._links:
                theme.button("Вернуть", lambda: self._reconsider_left(each.id), small=True)

    def _draw_decided(self, each: DoubtfulStudy) -> None:
        order, discrepancy = each.order, each.discrepancy
        text("span", archive.DECISIONS[discrepancy.state], "muted")
        with ui.element("div"):
            name = names.cut(str(names.from_dicom(discrepancy.study.patient_name)), archive.LONGEST) or "без имени"
            text("span", f"В архиве «{name}», направление {order.accession_number}, {names.short(order.patient.name)}")
        with ui.element("div").classes("acts"):
            if self._links:
                theme.button("Вернуть", lambda: self._reconsider(discrepancy.id), small=True)

    def _ours_button(self, each: DoubtfulStudy, *, small: bool) -> None:
        """Draw the button that takes a study; where something speaks against it, the dialog says so first."""
        owner = self._found.owners.get(each.discrepancy.id) if self._found else None
        against = contradictions(_rows_of(each, owner))
        word = "Это наше исследование"
        key = "" if small else "1"
        if against:
            made = theme.button(word, lambda: self._ask(each, owner, against), small=small, key=key)
            made.props("data-opens=ours")
        else:
            kind = "" if small else "primary"
            seen = Confirmation(each.order.patient)
            made = theme.button(word, lambda: self._accept(each, seen), small=small, kind=kind, key=key)
        if key:
            made.props(f"data-key={key}")

    def _dialog(self) -> None:
        with theme.dialog("ours", "Это точно наше исследование?", danger="Да, наше", on_danger=self._sure, leave="Нет"):
            self._doubt = text("p", "", "muted")

    # ---- what a person decides ----

    def _choose(self, id: int | None) -> None:
        self._chosen = id
        if self._found:
            self.show(self._found)

    def _later(self, id: int) -> None:
        assert self._found is not None
        ids = [each.discrepancy.id for each in self._found.gaps.studies]
        self._choose(ids[(ids.index(id) + 1) % len(ids)] if id in ids else None)

    def _ask(self, each: DoubtfulStudy, owner: Patient | None, against: str) -> None:
        patient = each.order.patient
        fields = contradicting_fields(each.order, each.discrepancy.study, each.cards)
        if owner is not None and "patient_id" not in fields:
            fields.append("patient_id")  # the dialog says whose card number it is
        self._asked = each, Confirmation(patient, tuple(fields))
        order = each.order
        more = " Шина узнает, что снимки сделаны." if self._services.clinic.sends_to_bus else ""
        who = f"{names.short(order.patient.name)}, {order.accession_number}"
        self._doubt.set_text(f"{who}. В архиве иначе: {against}. Направление будет выполнено этими снимками.{more}")

    async def _sure(self) -> None:
        if self._asked:
            await self._accept(*self._asked)

    async def _accept(self, each: DoubtfulStudy, confirmed: Confirmation) -> None:
        services, actor, id = self._services, current_actor(self._services), each.discrepancy.id
        if done := await attempt(
            lambda: services.store.write(archive_images.accept, id, actor, services.clinic, confirmed)
        ):
            theme.show_message(f"Исследование привязано: {done.value.accession_number}")

    async def _reconsider(self, id: int) -> None:
        services, actor = self._services, current_actor(self._services)
        if done := await attempt(lambda: services.store.write(archive_images.reconsider, id, actor, services.clinic)):
            theme.show_message(f"Снова ждёт решения: {done.value.accession_number}")

    async def _reconsider_left(self, id: int) -> None:
        services, actor = self._services, current_actor(self._services)
        if await attempt(lambda: services.store.write(unreferred_studies.reconsider, id, actor)):
            theme.show_message("Снова ждёт решения")

    async def _accept_count(self, each: OtherCount) -> None:
        services, actor, order = self._services, current_actor(self._services), each.order
        if await attempt(lambda: services.store.write(archive_images.accept_count, order.id, each.held, actor)):
            theme.show_message(f"Отмечено: снимков {each.counted.archived}, {order.accession_number}")

    async def _ask_archive(self) -> None:
        """Ask the archive now; it may take as long as one look does."""
        check_viewer(self._services)
        ask = self._services.ask_archive
        assert ask is not None
        self._ask_now.disable()
        theme.show_message("Спрашиваем архив…")
        try:
            done = await attempt(ask)
        finally:
            self._ask_now.enable()
        if done and done.value:
            theme.show_message("Архив ответил")
        elif done:
            theme.show_message("Архив не отвечает. Проверьте его и сеть.", bad=True)

    async def _dismiss(self, id: int) -> None:
        services, actor = self._services, current_actor(self._services)
        if done := await attempt(lambda: services.store.write(archive_images.dismiss, id, actor, services.clinic)):
            theme.show_message(f"Записано: чужое для {done.value.accession_number}. Больше не спросим")


def _rows_of(each: DoubtfulStudy, owner: Patient | None = None) -> list[ComparedRow]:
    return compared_rows(each.order, each.discrepancy.study, owner, each.cards, each.discrepancy.kind)
