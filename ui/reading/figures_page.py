"""How far two readers agree, for the head of the clinic; readers do not see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from urllib.parse import urlencode

from markupsafe import Markup
from nicegui import ui

from broker.documents.report_pdf import dose
from broker.domain.reading.agreement import FEWEST, Agreement, ReaderFigures, ReadPair, agreement, by_reader
from broker.domain.studies.avoided_repeats import AvoidedCount
from broker.domain.studies.dose_account import is_ionising
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.database import Reader
from broker.store.queries.reading import reading_figures
from broker.store.queries.studies import avoided_repeats
from ui.layout.frame import frame
from ui.live import current_actor, read_as_viewer
from ui.reading import dose_account
from ui.services import Services
from ui.text import words
from ui.widgets import html, theme
from ui.widgets.html import tag
from ui.widgets.theme import text

PERIODS = {30: "30 дней", 90: "Квартал", 365: "Год"}
FEW = "мало"
_REFERENCE = (
    "Для сравнения, маммография в Англии (805 206 женщин): первый читатель вызывает 4,8 %, оба вместе 6,2 %, после"
    " решения третьего 4,1 %; в Норвегии расходятся 5,3 %."
)


def build(services: Services) -> None:
    """Add the route /figures; `?modality=` and `?days=` choose what is counted."""

    @ui.page("/figures", title="Согласие читателей")
    async def figures(modality: str = "", days: int = 90) -> None:
        actor = current_actor(services)
        with frame(services, actor, "/figures"), ui.element("div").classes("page"):
            if not permissions.may(actor, Permission.MANAGE):
                theme.empty("Это видят главный врач и заведующий.", "Читатели друг о друге этого не видят.")
                return
            days = days if days in PERIODS else 90
            found = await read_as_viewer(services, lambda reader: _read(reader, services, days))
            _draw(found, modality if modality in found.pairs else next(iter(found.pairs), ""), days)
            _draw_avoided(found.avoided)
            with ui.element("div").classes("acts"):
                dose_account.draw_links(services.today().year)


@dataclass(frozen=True, slots=True)
class FiguresData:
    """The pairs of every modality, and the readers' names."""

    pairs: Mapping[str, Sequence[ReadPair]]
    names: Mapping[str, str]
    avoided: Sequence[AvoidedCount]  # repeats that were not ordered


def _read(reader: Reader, services: Services, days: int) -> FiguresData:
    midnight = datetime.combine(services.today() + timedelta(days=1), time.min, services.clinic.zone)
    utc = midnight.astimezone(services.store.clock().tzinfo)
    since = utc - timedelta(days=days)
    return FiguresData(
        reading_figures.pairs(reader, since, utc),
        reading_figures.names(reader),
        avoided_repeats.counts(reader, since, utc),
    )


def _draw(found: FiguresData, modality: str, days: int) -> None:
    with ui.element("div").classes("page-head"):
        text("h1", "Согласие читателей")
        with ui.element("nav").classes("filters").props("aria-label=Вид"):
            for each, pairs in found.pairs.items():
                query = {"modality": each, "days": days}
                _choice(words.MODALITIES.get(each, each), str(len(pairs)), query, each == modality)
        ui.element("div").classes("spring")
        with ui.element("nav").classes("filters").props("aria-label=Период"):
            for number, word in PERIODS.items():
                _choice(word, "", {"modality": modality, "days": number}, number == days)
    if not modality:
        theme.empty(
            "За этот период двойных чтений нет.", "Они появятся, когда случаи, которые читают двое, завершатся."
        )
        return
    pairs = found.pairs[modality]
    theme.html_element("div", _tiles(agreement(pairs)), "tiles")
    theme.html_element("table", _table(by_reader(pairs), found.names), "flat")
    said = f"Видят главный врач и заведующий; читатели не видят. Доли при числе меньше {FEWEST} не считаются."
    text("p", said, "muted small")
    if modality == "MG":
        text("p", _REFERENCE, "muted small")


def _draw_avoided(found: Sequence[AvoidedCount]) -> None:
    """Say what was not made again because an earlier study was shown."""
    with theme.section("Повторы, которых не было", "записать передумали, увидев прежнее исследование"):
        if not found:
            text("p", "За этот период таких нет.", "muted")
        for each in found:
            kind = words.MODALITIES.get(each.modality, each.modality)
            text(
                "p",
                f"{kind}: {words.plural(each.count, 'исследование', 'исследования', 'исследований')}, {_saved(each)}",
            )


def _saved(each: AvoidedCount) -> str:
    """Return the dose that the avoided studies of a modality would have added."""
    if not is_ionising(each.modality):
        return "без облучения"
    if each.unknown == each.count:
        return "доза прежних неизвестна"
    return f"сбережено {'не меньше ' if each.unknown else ''}{dose(each.millisieverts)}"


def _choice(word: str, number: str, query: Mapping[str, object], is_chosen: bool) -> None:
    with ui.link("", f"/figures?{urlencode(query)}") as made:
        text("span", word)
        if number:
            text("span", number, "muted")
    if is_chosen:
        made.props("aria-current=true")


def _tiles(found: Agreement) -> Markup:
    tiles = (
        (str(found.compared), "прочли двое"),
        (percent(found.agreed), "мнения совпали"),
        (number(found.kappa), "каппа Коэна"),
        (percent(found.discordant), "разошлись, вызывать ли"),
        (percent(found.first_recalls), "вызывает первый"),
        (percent(found.second_recalls), "вызывает второй"),
        (percent(found.recalls), "вызвано в итоге"),
        (f"{found.second_only_right} из {found.recalled}", "вызванных нашёл только второй"),
    )
    return html.join(*(tag("div", "", tag("b", "", value), tag("span", "muted small", word)) for value, word in tiles))


def _table(readers: Sequence[ReaderFigures], names: Mapping[str, str]) -> Markup:
    heads = ("Читатель", "Первым", "Вторым", "Вызывает", "Из решённых третьим отклонено", "Брак")
    head = tag("tr", "", *(tag("th", "r" if place else "", word, scope="col") for place, word in enumerate(heads)))
    rows = [
        tag(
            "tr",
            "",
            tag("td", "", tag("b", "", names.get(each.reader, each.reader))),
            *(
                tag("td", "r", value)
                for value in (
                    str(each.as_first),
                    str(each.as_second),
                    percent(each.recall_share),
                    percent(each.dismissed_share),
                    str(each.technical),
                )
            ),
        )
        for each in readers
    ]
    return html.join(tag("caption", "unseen", "По читателям"), tag("thead", "", head), tag("tbody", "", *rows))


def percent(share: float | None) -> str:
    """Return a share as people read it: «95,2 %», or that there are too few."""
    return FEW if share is None else f"{100 * share:.1f} %".replace(".", ",")


def number(value: float | None) -> str:
    """Return a number with two digits, or that there are too few."""
    return FEW if value is None else f"{value:.2f}".replace(".", ",")
