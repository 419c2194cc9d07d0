"""A patient's page: numbers, what is important, own and external studies, the dose of a year, what is planned. Live."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date
from urllib.parse import quote

from markupsafe import Markup
from nicegui import ui

from broker.documents import report_pdf
from broker.domain.actors import Actor
from broker.domain.orders import OrderState
from broker.domain.patients import names
from broker.domain.patients.people import Sex
from broker.domain.reading.reports import ExternalStudy
from broker.domain.studies import prior_studies
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.database import Reader
from broker.store.queries import patient_cards
from broker.store.queries.patient_cards import PatientCard
from broker.store.queries.schedule import Visit
from ui.desk import history
from ui.desk.history import PatientHistory
from ui.layout.frame import frame
from ui.live import current_actor, follow, latest, read_as_viewer
from ui.patients.card_facts import CardFacts, merged_today
from ui.patients.merging import CardMerging
from ui.patients.study_rows import StudyRow, rows
from ui.services import Services
from ui.text import links, words
from ui.text import patient_cards as card_words
from ui.widgets import external_report, html, theme
from ui.widgets.html import tag
from ui.widgets.memo import Memo
from ui.widgets.theme import text

MOST_REPEATS = 3
LONGEST = 160  # characters of a conclusion in the table


def build(services: Services) -> None:
    """Add the route /patient/{card}: the number of a merged card leads to the one that stayed."""

    @ui.page("/patient/{card}", title="Пациент")
    async def patient_page(card: str) -> None:
        actor = current_actor(services)
        number = card_words.number(card)
        with frame(services, actor, "/studies"):
            ui.link("Назад", "/studies").classes("unseen").props("data-back tabindex=-1")
            found = await read_as_viewer(
                services, lambda reader: patient_cards.read(reader, number, services.images_due())
            )
            if found is None:
                theme.empty(f"Карты с номером «{number[:64]}» нет.", "Найдите пациента по фамилии:", "/")
                return
            ui.page_title(names.short(found.patient.name))
            page = PatientPage(services, actor, number, found)
            refresh = latest(services, page.read, page.show)
            follow(services, refresh)
            await refresh()  # what came between reading and following
            if services.request_history:
                services.request_history(found.patient.stored_id)


class PatientPage:
    """One open page of a patient; `number` is that of the address, perhaps of a merged card."""

    def __init__(self, services: Services, actor: Actor, number: str, found: PatientCard) -> None:
        self._services, self._number, self._found = services, number, found
        self._registers = permissions.may(actor, Permission.REGISTER)
        self._corrects = permissions.may(actor, Permission.AMEND)
        self._shown = ALL  # which studies are listed
        self._merging = CardMerging(services, actor, lambda: self._found)
        self._card_facts = CardFacts(services, actor, self._merging)
        self._banner = Memo(ui.element("div"))
        with ui.element("div").classes("page-head card-head"):
            self._title = Memo(ui.element("h1"))
            self._sex = text("span", "", "muted")
            ui.element("div").classes("spring")
            self._actions = Memo(ui.element("div").classes("acts"))
        with ui.element("div").classes("card patient-card"):
            self._facts = Memo(ui.element("div"))
            with ui.element("div"):
                with ui.element("section").classes("section"):
                    with ui.element("div").classes("head"):
                        text("h2", "Исследования")
                        text("span", "здесь и по шине" if services.settings.has_bus else "", "muted small")
                        ui.element("div").classes("spring")
                        self._filters = Memo(
                            ui.element("div").classes("filters").props("role=group aria-label=Показать")
                        )
                    self._studies = Memo(ui.element("div"))
                    self._age = text("p", "", "small muted").props("role=status")
                with ui.element("div").classes("two-cols under"):
                    self._doses = Memo(ui.element("section"))
                    self._ahead = Memo(ui.element("section"))
        with ui.element("dialog").classes("wide").props("id=past aria-labelledby=past-title"):
            self._past_title = text("h2", "").props("id=past-title")
            self._past = ui.element("div").classes("scrolled")
            with ui.element("div").classes("acts").style("margin-top: 16px"):
                theme.button("Закрыть").props("data-closes autofocus")
        self._merging.draw_dialogs()
        self.show(found)

    def read(self, reader: Reader) -> PatientCard | None:
        """Return what the page is drawn from."""
        return patient_cards.read(reader, self._number, self._services.images_due())

    def show(self, found: PatientCard | None) -> None:
        """Draw what has changed; a card is never deleted, so None leaves the page as it is."""
        if found is None:
            return
        self._found = found
        patient, today = found.patient, self._services.today()
        self._banner.show((found.former, found.undecided, today), self._draw_banner)
        self._title.show((patient, today), lambda: theme.patient_line(str(patient.name), patient.born, today))
        self._sex.set_text(_SEX_WORDS.get(patient.sex, ""))
        self._actions.show(patient.patient_id, self._draw_actions)
        facts = (patient, found.former, found.former_numbers, found.details, found.similar, today)
        self._facts.show(facts, lambda: self._card_facts.draw(found))
        self._show_studies()
        self._age.set_text(self._history_age())
        self._doses.show((found.own, found.external.studies, today), self._draw_doses)
        self._ahead.show((found.visits, found.own, today), self._draw_ahead)

    def _show_studies(self) -> None:
        found = self._found
        everything = rows(found, self._clinics(), self._services.now(), self._services.clinic.zone)
        listed = [each for each in everything if _FILTERS[self._shown](each)]
        counts = [(word, sum(map(shows, everything))) for word, shows in _FILTERS.items()]
        self._filters.show((counts, self._shown), lambda: self._draw_filters(counts))
        self._studies.show(listed, lambda: self._draw_studies(listed))

    def _draw_filters(self, counts: list[tuple[str, int]]) -> None:
        for word, count in counts:
            chosen = word == self._shown
            with ui.element("button") as button:
                text("span", word)
                text("span", str(count), "small")
            button.props(f"type=button aria-pressed={'true' if chosen else 'false'}")
            button.on("click", lambda word=word: self._filter(word))

    def _filter(self, word: str) -> None:
        self._shown = word
        self._show_studies()

    @property
    def _part(self) -> str:
        """Return the card's number as it stands in an address."""
        return card_words.address(self._found.patient.patient_id).rpartition("/")[2]

    # ---- what may be done ----

    def _draw_actions(self) -> None:
        number = self._found.patient.patient_id
        if self._registers:
            with ui.link("", f"/desk?patient={quote(number, safe='')}").classes("btn btn-primary").props("data-start"):
                text("span", "Новое направление")
                text("kbd", "F2", "key")
        if self._corrects:
            ui.link("Изменить", card_words.correction_address(number)).classes("btn")
        self._draw_sheet_link()
        self._merging.draw_button()

    def _draw_sheet_link(self) -> None:
        with ui.link("", f"/doses/{self._part}", new_tab=True).classes("btn"):
            ui.icon("print").props("aria-hidden=true")
            text("span", "Лист доз")
        ui.link("PDF", f"/doses/{self._part}.pdf", new_tab=True).classes("btn")

    def _draw_banner(self) -> None:
        zone, today = self._services.clinic.zone, self._services.today()
        for former in self._found.former:
            if not merged_today(former, self._services):
                continue  # older ones are undone among the numbers
            with ui.element("div").classes("done-banner").props("role=status"):
                ui.icon("check_circle").props("aria-hidden=true")
                cards = f"Карты {self._found.patient.patient_id} и {former.patient.patient_id} объединены"
                text("p", f"{cards} в {words.moment(former.at, zone, today)}. {card_words.moved(former)}")
                self._merging.draw_split(former)

        for two in dict.fromkeys(each.cards for each in self._found.undecided):
            orders = [each.order for each in self._found.undecided if each.cards == two]
            with ui.element("div").classes("banner").props("role=status"):
                ui.icon("error").props("aria-hidden=true")
                with text("p", f"{card_words.WHOSE_ORDER} {card_words.of_two(*two)}: "):
                    for order in orders:
                        number = order.accession_number
                        ui.link(number, links.card(number)).classes("nowrap").style("margin-right: 8px")

    # ---- studies ----

    def _draw_studies(self, listed: list[StudyRow]) -> None:
        if not listed:
            text("p", "Исследований ещё не было", "muted")
            return
        with ui.element("table").classes("flat studies"):
            text("caption", "Исследования пациента", "unseen")
            titles = (("Когда", ""), ("Исследование", ""), ("Где", "c-rare"), ("Заключение", ""), ("мЗв", "r c-rare"))
            head = (tag("th", classes, word, scope="col") for word, classes in (*titles, ("Состояние", "c-rare")))
            theme.html_element("thead", tag("tr", "", *head))
            with ui.element("tbody"):
                for row in listed:
                    self._draw_study(row)

    def _draw_study(self, row: StudyRow) -> None:
        with ui.element("tr"):
            text("td", row.when, "nowrap")
            with ui.element("td"):
                if row.study is None:
                    ui.link(row.what, links.card(row.number))
                else:
                    opener = ui.element("button").classes("quick as-link").props("type=button data-opens=past")
                    with opener.on("click", lambda study=row.study: self._open(study)):
                        text("span", row.what)
            text("td", row.where, "muted c-rare")
            text("td", names.cut(row.conclusion, LONGEST))
            text("td", row.dose, "r c-rare" if row.dose[:1].isdigit() else "r c-rare muted")
            sign = theme.state_chip_html(row.state, row.word) if row.state else tag("span", "muted small", "прислали")
            theme.html_element("td", sign, "" if row.word else "c-rare")

    def _open(self, study: ExternalStudy) -> None:
        """Fill the dialog, which the browser has just opened, with a report of another clinic."""
        self._past_title.set_text(external_report.title(study))
        self._past.clear()
        with self._past:
            external_report.draw(study, self._clinics())

    def _clinics(self) -> dict[str, str]:
        return {guid: words.clinic(name, guid) for guid, name in self._found.organisations.items()}

    def _history_age(self) -> str:
        found = self._found
        earlier = PatientHistory(found.patient, found.visits, found.own, found.external, self._clinics())
        asks = self._services.request_history is not None
        return history.age(earlier, asks, self._services.store.clock().astimezone(UTC), self._services)

    def _draw_doses(self) -> None:
        own, external, today = self._found.own, self._found.external.studies, self._services.today()
        year = prior_studies.dose_of_year(today, own, external)
        with ui.element("div").classes("head"):
            text("h2", "Дозы за 12 месяцев")
        without = words.plural(year.unknown, "исследования", "исследований", "исследований")
        with ui.element("div").classes("dose-year"):
            if year.known:
                text("b", f"{'не меньше ' if year.unknown else ''}{report_pdf.dose(year.millisieverts)}")
                if year.unknown:
                    text("span", f"у {without} дозы нет", "muted small")
            else:
                text("span", f"у {without} дозы нет" if year.unknown else "Исследований с облучением не было", "muted")
        bars = prior_studies.dose_by_modality(today, own, external)
        if bars:
            theme.html_element("div", html.join(*(_bar(*each, bars[0][1]) for each in bars)), "hbars")

    def _draw_ahead(self) -> None:
        today = self._services.today()
        with ui.element("div").classes("head"):
            text("h2", "Впереди")
        waiting = [each for each in self._found.visits if each.order.state in _AHEAD and each.start.date() >= today]
        with ui.element("ul").classes("plain"):
            for visit in reversed(waiting):
                with ui.element("li"):
                    text("time", _when(visit, today), "nowrap")
                    ui.link(words.procedure(visit.order), links.card(visit.order.accession_number))
                    theme.state_chip(words.visit_state(visit))
        for sentence in self._repeats(today):
            text("p", sentence, "small muted")
        if not waiting:
            text("p", "Ничего не записано", "muted")

    def _repeats(self, today: date) -> list[str]:
        """Return until when a study again would be a repeated one; of each kind the newest counts."""
        until: dict[str, date] = {}
        for study in self._found.own:
            last = prior_studies.repeats_until(
                study.modality, study.body_site, study.studied_on, self._services.settings.repeat_days
            )
            if last and last >= today:
                until.setdefault(study.procedure_name, last)
        nearest = sorted(until.items(), key=lambda each: each[1])[:MOST_REPEATS]
        return [f"{name}: повтор по {last:%d.%m.%Y} вызовет предупреждение." for name, last in nearest]


_SEX_WORDS = {Sex.FEMALE: "женщина", Sex.MALE: "мужчина", Sex.OTHER: "пол не указан"}
ALL = "Все"
_FILTERS: dict[str, Callable[[StudyRow], bool]] = {
    ALL: lambda row: True,
    "У нас": lambda row: row.study is None,
    "Другие клиники": lambda row: row.study is not None,
    "Без снимков": lambda row: "Без снимков" in row.lacking,
    "Без описания": lambda row: "Без описания" in row.lacking,
}


_AHEAD = (OrderState.SCHEDULED, OrderState.REFERRED)


def _bar(modality: str, dose: float, largest: float) -> Markup:
    name = words.MODALITIES.get(modality, modality or "Вид неизвестен")
    meter = tag("div", "dose-bar", tag("i", "", style=f"width: {round(100 * dose / largest) if largest else 0}%"))
    return tag("div", "", tag("span", "", name), tag("span", "r", report_pdf.dose(round(dose, 6))), meter)


def _when(visit: Visit, today: date) -> str:
    on = words.day(visit.start.date(), today)
    return f"{on}, {visit.start:%H:%M}" if visit.station_ae_titles else f"желательно {on}"
