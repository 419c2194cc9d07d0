"""A patient's page: numbers, what is important, own and external studies, the dose of a year, what is planned. Live."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date
from urllib.parse import quote

from markupsafe import Markup
from nicegui import ui

from broker.documents import report_pdf
from broker.domain.actors import Actor
from broker.domain.clinic.settings import Clinic
from broker.domain.orders import Order, OrderState
from broker.domain.patients import identifiers, names
from broker.domain.patients.details import FormerNumber
from broker.domain.patients.people import Patient, Sex
from broker.domain.reading.reports import ExternalStudy
from broker.domain.studies import prior_studies
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.database import Reader, Tx
from broker.store.queries import patient_cards
from broker.store.queries.patient_cards import FormerCard, PatientCard
from broker.store.queries.patients import patient_search
from broker.store.queries.schedule import Visit
from broker.workflow import patient_merge
from broker.workflow.patients import patient_consent
from ui.desk import history
from ui.desk.history import PatientHistory
from ui.layout.frame import frame
from ui.live import attempt, current_actor, follow, latest, read_as_viewer
from ui.patients.study_rows import StudyRow, rows
from ui.services import Services
from ui.text import errors, links, words
from ui.text import patient_cards as card_words
from ui.text.referral_fields import LABELS
from ui.widgets import html, theme
from ui.widgets.autocomplete import Autocomplete
from ui.widgets.form_field import labelled_field
from ui.widgets.html import tag
from ui.widgets.memo import Memo
from ui.widgets.theme import text

MOST_SIMILAR = 5
SHOWN = 8  # patients that the search lists
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
        self._merges = permissions.may(actor, Permission.MERGE)
        self._registers = permissions.may(actor, Permission.REGISTER)
        self._corrects = permissions.may(actor, Permission.AMEND)
        self._shown = ALL  # which studies are listed
        self._splitting: tuple[FormerCard, int] | None = None  # which merge, seen with which revision of the card
        # Order since that merge -> is it of the merged card's person? None: that is not known.
        self._decided: dict[int, bool | None] = {}
        self._former: dict[int, str] = {}  # by what name of before patients were found
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
        if self._merges:
            self._draw_search()
            self._draw_whose()
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
        self._facts.show(facts, self._draw_facts)
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
        if self._merges:
            theme.button("Объединить", lambda: self._search_field.focus()).props("data-opens=other-card")

    def _draw_sheet_link(self) -> None:
        with ui.link("", f"/doses/{self._part}", new_tab=True).classes("btn"):
            ui.icon("print").props("aria-hidden=true")
            text("span", "Лист доз")

    def _draw_banner(self) -> None:
        zone, today = self._services.clinic.zone, self._services.today()
        for former in self._found.former:
            if not self._is_new(former):
                continue  # older ones are undone among the numbers
            with ui.element("div").classes("done-banner").props("role=status"):
                ui.icon("check_circle").props("aria-hidden=true")
                cards = f"Карты {self._found.patient.patient_id} и {former.patient.patient_id} объединены"
                text("p", f"{cards} в {words.moment(former.at, zone, today)}. {card_words.moved(former)}")
                self._draw_split(former)

        for two in dict.fromkeys(each.cards for each in self._found.undecided):
            orders = [each.order for each in self._found.undecided if each.cards == two]
            with ui.element("div").classes("banner").props("role=status"):
                ui.icon("error").props("aria-hidden=true")
                with text("p", f"{card_words.WHOSE_ORDER} {card_words.of_two(*two)}: "):
                    for order in orders:
                        number = order.accession_number
                        ui.link(number, links.card(number)).classes("nowrap").style("margin-right: 8px")

    def _is_new(self, former: FormerCard) -> bool:
        return former.at.astimezone(self._services.clinic.zone).date() == self._services.today()

    def _draw_split(self, former: FormerCard) -> None:
        if self._merges:
            if former.later:
                split = theme.button("Разъединить", lambda: self._ask_whose(former), small=True)
                split.props("data-opens=whose")
            else:
                split = theme.button("Разъединить", lambda: self._split(former, {}), small=True)
            split.props(f'aria-label="Разъединить с картой {former.patient.patient_id}"')

    def _draw_whose(self) -> None:
        with ui.element("dialog").classes("wide").props("id=whose aria-labelledby=whose-title"):
            text("h2", "Чьи это направления?").props("id=whose-title")
            self._whose = ui.element("div").classes("scrolled")
            with ui.element("div").classes("acts").style("margin-top: 16px"):
                theme.button("Не разъединять").props("data-closes autofocus")
                theme.button("Да, разъединить", self._split_decided, kind="danger").props("data-closes")

    def _ask_whose(self, former: FormerCard) -> None:
        """Fill the dialog, which the browser has just opened, with the orders since the merge."""
        self._splitting, self._decided = (former, self._found.patient.revision), {}
        today = self._services.today()
        self._whose.clear()
        with self._whose:
            text("p", card_words.WHOSE_SINCE, "muted").style("margin: 8px 0")
            for each in former.later:
                with ui.element("fieldset").classes("whose"):
                    when = f"{words.day(each.steps[0].start.date(), today)}, {each.steps[0].start:%H:%M}"
                    text(
                        "legend", f"{when} {words.procedure(each)}, {each.accession_number}. Записал: {each.created_by}"
                    )
                    for is_merged, card in ((False, former.remaining), (True, former.patient)):
                        self._draw_owner(each, card_words.named(card), is_merged=is_merged)
                    self._draw_owner(each, card_words.WHOSE_UNKNOWN, is_merged=None)

    def _draw_owner(self, order: Order, word: str, *, is_merged: bool | None) -> None:
        with ui.element("label").classes("pick"):
            choice = ui.element("input").props(f"type=radio name=whose-{order.id}")
            choice.on("change", lambda: self._decided.update({order.id: is_merged}))
            text("span", word)

    async def _split_decided(self) -> None:
        if self._splitting is None:
            return
        former, revision = self._splitting
        if len(self._decided) < len(former.later):
            theme.show_message(errors.problem("orders", "undecided"), bad=True)
            return
        await self._split(former, self._decided, revision)

    async def _split(self, former: FormerCard, decided: Mapping[int, bool | None], seen: int | None = None) -> None:
        services, revision = self._services, seen or self._found.patient.revision
        actor = current_actor(services)
        done = await attempt(
            lambda: services.store.write(
                patient_merge.undo_merge, former.merge_id, actor, services.clinic, revision=revision, decided=decided
            )
        )
        if done is None:
            return
        lost = ", ".join(LABELS[field] for field in done.value)
        said = f"Разъединено: карта {former.patient.patient_id} снова отдельно"
        theme.show_message(f"{said}. Проверьте {lost}: номер уже у другого человека" if lost else said, bad=bool(lost))

    def _draw_search(self) -> None:
        with ui.element("dialog").classes("wide other-card").props("id=other-card aria-labelledby=other-card-title"):
            text("h2", "С какой картой объединить?").props("id=other-card-title")
            text("p", "Найдите вторую карту этого человека. Сначала покажем, что станет.", "muted").style(
                "margin: 8px 0"
            )
            with ui.element("div").classes("field combo"):
                field = labelled_field("Фамилия, дата рождения или номер", name="other-card-search", narrow=12)
                field.control.props("maxlength=200")
                self._search_field = field
                today = self._services.today()
                Autocomplete(
                    field,
                    self._search,
                    lambda each: theme.patient_line(
                        str(each.name), each.born, today, self._former.get(each.stored_id, "")
                    ),
                    self._compare,
                    name="other-card-list",
                    at_most=SHOWN,
                    eager=True,
                    no_match="Никого нет:",
                )
            with ui.element("div").classes("acts").style("margin-top: 16px"):
                theme.button("Закрыть").props("data-closes")

    async def _search(self, typed: str) -> list[Patient]:
        own = self._found.patient.stored_id
        # One more than are listed, so that it is said if there are more; and the card itself may be among them.
        found = await read_as_viewer(self._services, lambda reader: patient_search.search(reader, typed, SHOWN + 2))
        self._former = card_words.former_names(found)
        return [each for each in found.patients if each.id != own]

    async def _compare(self, other: Patient | None, typed: str) -> None:
        if other is None:
            theme.show_message(f"Карты «{typed[:64]}» нет", bad=True)
        else:
            ui.navigate.to(card_words.merge_address(self._found.patient.patient_id, other.patient_id))

    # ---- facts ----

    def _draw_facts(self) -> None:
        found, patient = self._found, self._found.patient
        with theme.section("Номера"):
            theme.facts(
                [
                    ("Карта", patient.patient_id),
                    ("СНИЛС", identifiers.show_snils(patient.snils)),
                    ("Полис ОМС", identifiers.show_policy(patient.policy)),
                    *(_former_number(each) for each in found.former_numbers),
                    ("Паспорт", found.details.passport),
                ]
            )
            for former in found.former:
                self._draw_former(former)
        with theme.section("Связь и согласия"):
            self._draw_contact()
        with theme.section("Важно"):
            self._draw_notes()

    def _draw_contact(self) -> None:
        patient, details = self._found.patient, self._found.details
        given, withdrawn = details.consent_on, details.consent_withdrawn_on
        if withdrawn:
            consent = f"отозвано {withdrawn:%d.%m.%Y}: в регион ничего не уходит"
        else:
            consent = f"передавать в регион, {given:%d.%m.%Y}" if given else ""
        mother = [("Мать", patient.mother)] if patient.mother else []
        theme.facts([("Телефон", patient.phone), *mother, ("Адрес", details.address), ("Согласие", consent)])
        if self._corrects:
            may_withdraw = given is not None and withdrawn is None
            with ui.element("button").classes("quick").props("type=button") as button:
                text("span", "Отозвать согласие" if may_withdraw else "Согласие дано сегодня")
            button.on("click", self._withdraw if may_withdraw else self._consent)

    async def _consent(self) -> None:
        await self._note_consent(patient_consent.give)

    async def _withdraw(self) -> None:
        await self._note_consent(patient_consent.withdraw)

    async def _note_consent(self, use_case: Callable[[Tx, int, Actor, Clinic], None]) -> None:
        services, id = self._services, self._found.patient.stored_id
        actor = current_actor(services)
        await attempt(lambda: services.store.write(use_case, id, actor, services.clinic))

    def _draw_former(self, former: FormerCard) -> None:
        zone = self._services.clinic.zone
        with ui.element("div").classes("former"):
            numbers = [("Прежняя карта", former.patient.patient_id)]
            numbers += [(_FORMER[field], card_words.shown(field, number)) for field, number in former.former_numbers]
            theme.facts(numbers)
            with ui.element("div").classes("row-line"):
                text("span", f"объединено {former.at.astimezone(zone):%d.%m.%Y %H:%M}, {former.actor}", "muted small")
                if not self._is_new(former):
                    self._draw_split(former)

    def _draw_notes(self) -> None:
        found, patient = self._found, self._found.patient
        older = [card_words.former_name(patient, each) for each in found.former_names]
        notes = [
            ("info", "amber", card_words.lacking(patient) if self._services.clinic.sends_to_bus else ""),
            ("warning", "amber", f"Аллергия: {patient.allergies}" if patient.allergies else ""),
            ("pregnant_woman", "amber", f"Беременность: {patient.pregnancy}" if patient.pregnancy else ""),
            ("scale", "slate", _size(patient)),
            ("history", "slate", f"Ранее: {', '.join(dict.fromkeys(older))}" if older else ""),
        ]
        with ui.element("ul").classes("notes"):
            for icon, tone, note in notes:
                if note:
                    with ui.element("li"):
                        ui.icon(icon).classes(f"tone-{tone}").props("aria-hidden=true")
                        text("span", note)
            for similar in found.similar[:MOST_SIMILAR]:
                other = similar.patient
                with ui.element("li"):
                    ui.icon("help").classes("tone-amber").props("aria-hidden=true")
                    with ui.element("span"):
                        born = theme.born_and_age(other.born, self._services.today())
                        why = card_words.SIMILAR[similar.similarity]
                        text("span", f"Похожа карта {other.patient_id}: {other.name}, {born}: {why}. ")
                        if self._merges:
                            older_first = sorted((patient, other), key=lambda each: each.stored_id)
                            path = card_words.merge_address(*(each.patient_id for each in older_first))
                            ui.link("Сравнить", path).props(f'aria-label="Сравнить с картой {other.patient_id}"')
        if not any(note for *_, note in notes) and not found.similar:
            text("p", "Ничего не записано", "muted")

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
        self._past_title.set_text(history.report_title(study))
        self._past.clear()
        with self._past:
            history.draw_external_report(study, self._clinics())

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


def _former_number(each: FormerNumber) -> tuple[str, str]:
    return _FORMER[each.kind], f"{card_words.shown(each.kind, each.number)}, до {each.until:%d.%m.%Y}"


_FORMER = {"snils": "Прежний СНИЛС", "policy": "Прежний полис"}
_AHEAD = (OrderState.SCHEDULED, OrderState.REFERRED)


def _bar(modality: str, dose: float, largest: float) -> Markup:
    name = words.MODALITIES.get(modality, modality or "Вид неизвестен")
    meter = tag("div", "meter", tag("i", "", style=f"width: {round(100 * dose / largest) if largest else 0}%"))
    return tag("div", "", tag("span", "", name), tag("span", "r", report_pdf.dose(round(dose, 6))), meter)


def _size(patient: Patient) -> str:
    parts = [(card_words.shown(field, getattr(patient, field))) for field in ("height", "weight")]
    return ", ".join(part for part in parts if part != "–")


def _when(visit: Visit, today: date) -> str:
    on = words.day(visit.start.date(), today)
    return f"{on}, {visit.start:%H:%M}" if visit.station_ae_titles else f"желательно {on}"
