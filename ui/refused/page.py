"""«Не принято из файлов»: worklist files and rows of tables that were refused, why, and what to do; and imported
patients who are similar to others. Live."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from itertools import groupby

from nicegui import ui

from broker.domain.actors import Actor
from broker.domain.import_result import ImportSource
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.database import Reader
from broker.store.queries import refused_imports
from broker.store.queries.refused_imports import RefusedImport, SimilarCards
from broker.workflow import patient_merge
from broker.workflow.referrals import import_refusals
from ui.layout.frame import frame
from ui.live import attempt, current_actor, follow, latest
from ui.services import Services
from ui.text import patient_cards, refused, words
from ui.widgets import theme
from ui.widgets.keyed_list import KeyedList, redraw_row
from ui.widgets.memo import Memo
from ui.widgets.theme import text

SHOWN = 50  # rows of one table


def build(services: Services) -> None:
    """Add the route /refused."""

    @ui.page("/refused", title=refused.PLACE)
    async def refused_page() -> None:
        actor = current_actor(services)
        with frame(services, actor, "/board"), ui.element("div").classes("page"):
            page = RefusedPage(services, actor)
            refresh = latest(services, read, page.show)
            follow(services, refresh)
            await refresh()


def read(reader: Reader) -> RefusedPageData:
    """Return what the page is drawn from."""
    return RefusedPageData(refused_imports.waiting(reader), refused_imports.similar(reader))


@dataclass(frozen=True, slots=True)
class RefusedPageData:
    """What was refused, and the cards of what was taken that are similar to others."""

    refused: list[RefusedImport]
    similar: list[SimilarCards]


CHANGED = "Остальное тем временем стало другим или уже убрано, посмотрите ещё раз"


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """One file and all of it that was refused."""

    source: ImportSource
    path: str
    items: tuple[RefusedImport, ...]


class RefusedPage:
    """One open page of what was refused."""

    def __init__(self, services: Services, actor: Actor) -> None:
        self._services = services
        self._may_dismiss = permissions.may(actor, Permission.REGISTER)
        self._merges = permissions.may(actor, Permission.MERGE)
        with ui.element("div").classes("page-head"):
            text("h1", refused.PLACE)
            self._count = text("span", "", "muted small")
        self._none = Memo(ui.element("div"))
        self._files = KeyedList(ui.element("div"), redraw_row("section", "section", self._draw_file))
        with ui.element("section").classes("section") as self._similar_section:
            with ui.element("div").classes("head"):
                text("h2", refused.SIMILAR_CARDS)
            text("p", refused.SIMILAR_WHAT_TO_DO, "muted small")
            self._similar = KeyedList(ui.element("ol").classes("gap-list"), redraw_row("li", "", self._draw_similar))

    def show(self, data: RefusedPageData) -> None:
        """Draw what has changed."""
        found = data.refused
        self._similar_section.set_visibility(bool(data.similar))
        self._similar.show(((each.imported.id, each.other.id), each) for each in data.similar[:SHOWN])
        files = sum(each.refusal.source is ImportSource.WORKLIST_FILE for each in found)
        self._count.set_text(refused.count(files, len(found) - files))
        is_empty = not (found or data.similar)
        self._none.show(is_empty, lambda: self._draw_none() if is_empty else None)
        places = groupby(found, lambda each: (each.refusal.source, each.refusal.path))
        self._files.show((key, RefusedFile(*key, tuple(items))) for key, items in places)

    @staticmethod
    def _draw_none() -> None:
        theme.empty("Всё, что было в файлах, принято.", "Чего принять нельзя, появится здесь с причиной.")

    def _draw_file(self, file: RefusedFile) -> None:
        is_table = file.source is ImportSource.TABLE
        with ui.element("div").classes("head"):
            text("h2", refused.short(file.path)).props["title"] = file.path
            at = max(each.refusal.at for each in file.items if each.refusal.at)
            moment = words.moment(at, self._services.clinic.zone, self._services.today())
            text("span", f"{'таблица' if is_table else 'файл рабочего списка'}, {moment}", "muted small")
            ui.element("div").classes("spring")
            if is_table and self._may_dismiss and len(file.items) > 1:
                dismiss = theme.button("Убрать все строки", lambda: self._dismiss(file.items), small=True)
                dismiss.props(f'aria-label="Убрать все строки таблицы {_plain(refused.short(file.path))}"')
        if is_table:
            text("p", refused.what_to_do(file.source, ()), "muted small")
        with ui.element("ol").classes("gap-list"):
            for each in file.items[:SHOWN]:
                with ui.element("li"):
                    self._draw(each)
        if (rest := len(file.items) - SHOWN) > 0:
            text("p", f"И ещё {words.plural(rest, 'строка', 'строки', 'строк')}", "muted small")

    def _draw(self, each: RefusedImport) -> None:
        refusal = each.refusal
        with ui.element("div"):
            theme.state_chip("attention", f"Строка {refusal.row}" if refusal.row else "Не принят")
        with ui.element("div"):
            text("b", _person(refusal.patient_name, refusal.birth_date, refusal.patient_id))
            text("p", refused.why(refusal.source, refusal.reasons), "small")
            if each.known:
                known = each.known
                text("p", f"У нас: {known.name}, {words.born(known.birth_date)}, карта {known.patient_id}", "small")
            if refusal.source is ImportSource.WORKLIST_FILE:
                text("p", refused.what_to_do(refusal.source, refusal.reasons), "muted small")
        with ui.element("div").classes("acts"):
            if each.known:
                card = patient_cards.address(each.known.patient_id)
                ui.link("Открыть карту", card).classes("btn btn-small")
            if self._may_dismiss:
                what = _plain(refused.short(refusal.path)) + (f", строка {refusal.row}" if refusal.row else "")
                dismiss = theme.button("Не нужно", lambda: self._dismiss([each]), small=True)
                dismiss.props(f'aria-label="Не нужно: {what}"')

    def _draw_similar(self, each: SimilarCards) -> None:
        new, other = each.imported, each.other
        with ui.element("div"):
            theme.state_chip("attention", refused.place(each.place.source, each.place.row))
        with ui.element("div"):
            text("b", f"{new.name}, {words.born(new.born)}, карта {new.patient_id}")
            text("p", f"{refused.similar(each)}.", "small")
            text("p", f"У нас: {other.name}, {words.born(other.born)}, карта {other.patient_id}", "small")
            text("p", refused.short(each.place.path), "muted small").props["title"] = each.place.path
        with ui.element("div").classes("acts"):
            if self._merges:
                path = patient_cards.merge_address(other.patient_id, new.patient_id)
                compare = ui.link("Сравнить", path).classes("btn btn-small")
                compare.props(f'aria-label="Сравнить карты {_plain(other.patient_id)} и {_plain(new.patient_id)}"')
                different = theme.button("Это разные люди", lambda: self._declare_different(each), small=True)
                different.props(
                    f'aria-label="Это разные люди: {_plain(str(new.name))}, карта {_plain(new.patient_id)}"'
                )
            else:
                ui.link("Открыть карту", patient_cards.address(new.patient_id)).classes("btn btn-small")

    async def _declare_different(self, each: SimilarCards) -> None:
        services, actor = self._services, current_actor(self._services)
        pair = each.imported.stored_id, each.other.stored_id
        if await attempt(lambda: services.store.write(patient_merge.declare_different, *pair, actor)):
            theme.show_message("Запомнили: это разные люди")

    async def _dismiss(self, shown: Collection[RefusedImport]) -> None:
        seen = [each.refusal for each in shown]
        services, actor = self._services, current_actor(self._services)
        if done := await attempt(lambda: services.store.write(import_refusals.dismiss, seen, actor)):
            count = words.plural(done.value, "запись", "записи", "записей")
            if done.value < len(seen):
                theme.show_message(f"Убрано: {count}. {CHANGED}", bad=True)
            else:
                theme.show_message(f"Убрано: {count}. Если содержимое изменится, появится снова")


def _person(name: str, birth_date: str, patient_id: str) -> str:
    born = words.born(date.fromisoformat(birth_date)) if birth_date else ""
    parts = (name or "Пациента не прочитать", born, f"карта {patient_id}" if patient_id else "")
    return ", ".join(part for part in parts if part)


def _plain(name: str) -> str:
    return name.replace('"', "'")
