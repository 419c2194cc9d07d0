"""Studies in the archive that belong to no referral, and the dialog in which a person finds theirs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from nicegui import ui

from broker.domain.orders import Order, OrderState
from broker.domain.patients import names
from broker.domain.patients.confirmation import Confirmation
from broker.domain.studies.archive import ArchiveStudy, DiscrepancyKind
from broker.store.database import Reader
from broker.store.queries import schedule
from broker.store.queries.patients import patient_index
from broker.store.queries.studies import archive_gaps
from broker.store.queries.studies.unreferred_studies import OfferedStudy
from broker.workflow.referrals import unreferred_studies
from broker.workflow.studies import archive_images
from ui.archive import table
from ui.archive.comparison import ComparedRow, compared_rows
from ui.live import attempt, current_actor, latest_only, read_as_viewer
from ui.reading import viewer_window
from ui.services import Services
from ui.text import archive, links, words
from ui.widgets import theme
from ui.widgets.form_field import labelled_field
from ui.widgets.keyed_list import KeyedList, redraw_row
from ui.widgets.memo import Memo
from ui.widgets.theme import text

MOST_FOUND = 20  # referrals that a search shows
_LOOKED_THROUGH = 100  # visits of a search: cancelled ones and other clinics' are left out
MOST_SHOWN = 100  # studies that are shown at once; the others are searched for


@dataclass(frozen=True, slots=True)
class Compared:
    """A referral beside a study: what is shown, and what a person who links them confirms."""

    order: Order
    rows: list[ComparedRow]
    fields: tuple[str, ...]  # in which the patients contradict each other


@dataclass(frozen=True, slots=True)
class FoundReferrals:
    """Referrals to choose from; `more` if others match, too."""

    orders: Sequence[Order] = ()
    more: bool = False


@dataclass(frozen=True, slots=True)
class LikelyStudy:
    """A study that one referral fits, compared with it; `more`: there are others."""

    study: OfferedStudy
    compared: Compared
    more: bool = False


class UnreferredSection:
    """The section of studies without a referral; `links`: the person may link one, `registers`: make one's referral."""

    def __init__(
        self, services: Services, reread: Callable[[], Awaitable[None]], *, links: bool, registers: bool
    ) -> None:
        self._services, self._reread, self._registers = services, reread, links and registers
        self._studies: Sequence[OfferedStudy] = ()
        self._later: tuple[int, ...] = ()  # studies that were passed over, the last one at the end
        self._likely = Memo(ui.element("div"))
        with ui.element("section").classes("section") as self._section:
            with ui.element("div").classes("head"):
                self._heading = text("h2", archive.UNREFERRED)
                self._count = text("span", "", "muted small")
            self._search = labelled_field("Найти среди них: имя, номер, дата", name="unreferred-search")
            self._search.control.on_value_change(self._draw_rows)
            self._rows = KeyedList(ui.element("ol").classes("gap-list"), redraw_row("li", "", self._draw))
            self._more = text("p", "", "muted")
        self._dialog = FindReferralDialog(services) if links else None

    def likely(self, reader: Reader, studies: Sequence[OfferedStudy]) -> LikelyStudy | None:
        """Return the study to compare first: one that a single referral fits for certain."""
        later = self._later
        single = [each for each in studies if len(each.candidates) == 1 and not each.uncertain]
        single.sort(key=lambda each: later.index(each.unreferred.id) if each.unreferred.id in later else -1)
        if not single:
            return None
        compared = compare(reader, single[0].candidates[0], single[0].unreferred.study)
        return None if compared.fields else LikelyStudy(single[0], compared, len(single) > 1)

    def show(self, studies: Sequence[OfferedStudy], likely: LikelyStudy | None = None) -> None:
        """Show these studies, and one compared with its referral; without one the section is hidden."""
        self._likely.show(likely, lambda: self._draw_likely(likely) if likely else None)
        self._studies = studies = [each for each in studies if likely is None or each != likely.study]
        self._section.set_visibility(bool(studies))
        self._heading.set_text("Остальные" if likely else archive.UNREFERRED)
        self._count.set_text(str(len(studies)))
        self._search.box.set_visibility(len(studies) > MOST_SHOWN)
        self._draw_rows()

    def _draw_rows(self) -> None:
        typed = str(self._search.value or "") if len(self._studies) > MOST_SHOWN else ""
        found = [each for each in self._studies if archive.is_found(each.unreferred.study, typed)]
        self._rows.show((each.unreferred.id, each) for each in found[:MOST_SHOWN])
        self._more.set_text(archive.not_shown(len(found) - MOST_SHOWN, is_search=bool(typed.strip()), found=len(found)))
        self._more.set_visibility(bool(self._more.text))

    def _draw_likely(self, likely: LikelyStudy) -> None:
        each, order = likely.study, likely.compared.order
        with ui.element("div").classes("versus likely"):
            with ui.element("div").classes("versus-head"):
                text("b", archive.likely(each))
                text("span", f"{archive.described(each.unreferred.study)}. {archive.offered(each)}", "muted")
                ui.link("Открыть карточку", links.card(order.accession_number))
            table.draw(likely.compared.rows)
            with ui.element("div").classes("acts"):
                word = f"Это снимки: {names.short(order.patient.name)}"
                theirs = theme.button(word, lambda: self._take(likely), kind="primary", key="1")
                theirs.props("data-key=1")
                not_theirs = theme.button(archive.NOT_OURS, lambda: self._dismiss(each.unreferred.id), key="2")
                not_theirs.props("data-key=2")
                viewer_window.draw_archived(self._services.settings.viewer, each.unreferred.study)
                if self._dialog is not None:
                    dialog = self._dialog
                    theme.button("Другое направление", lambda: dialog.ask(each)).props("data-opens=find-referral")
                if likely.more:
                    theme.button("Позже", lambda: self._pass_over(each.unreferred.id), key="0").props("data-key=0")

    async def _take(self, likely: LikelyStudy) -> None:
        await link_study(self._services, likely.study, likely.compared)

    async def _pass_over(self, id: int) -> None:
        self._later = (*(each for each in self._later if each != id), id)
        await self._reread()

    def _draw(self, each: OfferedStudy) -> None:
        study, id = each.unreferred.study, each.unreferred.id
        with ui.element("div"):
            theme.state_chip("unknown", archive.likely(each))
        with ui.element("div"):
            text("b", archive.described(study))
            text("p", archive.offered(each), "muted small")
        with ui.element("div").classes("acts"):
            if self._dialog is not None:
                dialog = self._dialog
                find = "Сравнить" if each.candidates else "Найти направление"
                theme.button(find, lambda: dialog.ask(each), small=True).props("data-opens=find-referral")
                if self._registers and not each.candidates:
                    ui.link("Завести", f"/desk?study={id}").classes("btn btn-small")
                theme.button(archive.NOT_OURS, lambda: self._dismiss(id), small=True)

    async def _dismiss(self, id: int) -> None:
        services, actor = self._services, current_actor(self._services)
        if await attempt(lambda: services.store.write(unreferred_studies.dismiss, id, actor)):
            theme.show_message("Осталось без направления. Больше не спросим")


class FindReferralDialog:
    """The dialog that links a study of the archive to a referral: nothing without a choice that was compared."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._asked: OfferedStudy | None = None
        self._orders: Sequence[Order] = ()
        self._compared: Compared | None = None
        self._choices: dict[int, ui.element] = {}
        self._typed = ""
        with ui.element("dialog").classes("wide").props("id=find-referral aria-labelledby=find-referral-title"):
            text("h2", "Чьё это исследование?").props("id=find-referral-title")
            self._about = text("p", "", "muted")
            self._search = labelled_field("Найти: фамилия, номер направления или карты", name="referral-search")
            self._found = latest_only(self._find, self._show)
            self._search.control.on_value_change(self._search_again)
            self._list = ui.element("div").classes("choices")
            self._list.props('role=radiogroup aria-labelledby="find-referral-title"')
            self._versus = ui.element("div")
            self._warning = text("p", "", "attention-reason").props("role=alert")
            text(
                "p",
                "Направления ещё нет? Запишите его (F2): оно появится здесь само, если сойдутся пациент и день.",
                "muted small",
            )
            with ui.element("div").classes("acts").style("margin-top: 16px"):
                theme.button("Не связывать").props("data-closes autofocus")
                self._go = theme.button("Связать", self._link).classes("btn-primary").props("data-closes")

    async def ask(self, each: OfferedStudy) -> None:
        """Show a study and the referrals that it may belong to; the likeliest is compared at once."""
        self._asked, self._typed = each, ""
        self._search.value = ""
        self._about.set_text(f"В архиве: {archive.described(each.unreferred.study)}. Выберите направление.")
        self._show(FoundReferrals(each.candidates))
        if each.candidates:
            await self._compare(each.candidates[0])

    async def _search_again(self) -> None:
        typed = str(self._search.value or "").strip()
        if self._asked is not None and typed != self._typed:
            self._typed = typed
            await self._found()

    async def _find(self) -> FoundReferrals:
        """Return the referrals that what was typed finds; the offered ones while nothing is typed."""
        typed, today = self._typed, self._services.today()
        if not typed:
            return FoundReferrals(self._asked.candidates if self._asked else ())
        found = await read_as_viewer(
            self._services, lambda reader: schedule.studies(reader, typed, today, _LOOKED_THROUGH)
        )
        open_ones = [each.order for each in found.visits if each.order.state is not OrderState.CANCELLED]
        orders = list({order.id: order for order in open_ones if not order.owner}.values())
        return FoundReferrals(orders[:MOST_FOUND], found.more or len(orders) > MOST_FOUND)

    def _show(self, found: FoundReferrals) -> None:
        orders = found.orders
        self._orders = orders
        self._choose(None)
        self._list.clear()
        self._choices = {}
        with self._list:
            if not orders and not found.more:
                nothing = "Таких направлений нет." if self._typed else "По пациенту и дню не подходит ни одно."
                text("p", nothing, "muted")
            for order in orders:
                self._choices[order.id] = self._draw(order)
            if found.more:
                text("p", "Показаны не все: уточните фамилию или номер.", "muted")

    def _draw(self, order: Order) -> ui.element:
        patient, start = order.patient, order.steps[0].start
        with ui.element("button").classes("choice").props("type=button role=radio aria-checked=false") as choice:
            text("span", f"{start:%d.%m}", "time")
            text("span", f"{names.short(patient.name)}, {words.born(patient.birth_date)}", "name cut")
            text("span", f"{start:%H:%M}, {order.accession_number}, {words.procedure(order)}", "what cut")
        return choice.on("click", lambda: self._compare(order))

    async def _compare(self, order: Order) -> None:
        """Choose a referral, after it was compared with the study."""
        if self._asked is None:
            return
        study = self._asked.unreferred.study
        self._choose(await read_as_viewer(self._services, lambda reader: compare(reader, order, study)))

    def _choose(self, compared: Compared | None) -> None:
        self._compared = compared
        chosen = compared.order.id if compared else None
        for order_id, choice in self._choices.items():
            choice.props(f"aria-checked={'true' if order_id == chosen else 'false'}")
        self._versus.clear()
        self._warning.set_visibility(bool(compared and compared.fields))
        if compared is None:
            self._go.set_text("Связать")
            self._go.disable()
            return
        with self._versus:
            table.draw(compared.rows)
        wrong = words.contradictions(compared.fields)
        self._warning.set_text(f"Не сходится {wrong}. Связывайте, только если уверены, что это один человек.")
        sure = "Это один человек, связать" if compared.fields else "Связать"
        self._go.set_text(f"{sure}: {names.short(compared.order.patient.name)}")
        self._go.enable()

    async def _link(self) -> None:
        asked, compared, services = self._asked, self._compared, self._services
        if asked is None or compared is None:
            return
        await link_study(services, asked, compared)


async def link_study(services: Services, each: OfferedStudy, compared: Compared) -> None:
    """Make a study the compared referral's, and say so."""
    actor, id, order = current_actor(services), each.unreferred.id, compared.order
    seen = Confirmation(order.patient, compared.fields)
    link = archive_images.link_unreferred
    if await attempt(lambda: services.store.write(link, id, order.id, actor, services.clinic, seen)):
        theme.show_message(f"Исследование привязано: {order.accession_number}")


def compare(reader: Reader, order: Order, study: ArchiveStudy) -> Compared:
    """Return a referral beside a study of the archive that bears none of its numbers."""
    person = study.patient_name, study.patient_id, study.birth_date, study.patient_sex
    cards = patient_index.cards(reader, order.patient)[1:]
    owner = archive_gaps.owner_of(reader, order, study)
    fields = patient_index.contradictions(reader, order.patient, *person)
    return Compared(order, compared_rows(order, study, owner, cards, DiscrepancyKind.UNREFERRED), tuple(fields))
