"""Two cards beside each other: are they one person's, what would become of them, what moves, what the region learns."""

from __future__ import annotations

from nicegui import ui

from broker.domain.actors import Actor
from broker.domain.patients import patient_merge as rules
from broker.domain.patients.patient_merge import JOINED, ComparedField, Value
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.queries import patient_cards
from broker.store.queries.patient_cards import CardComparison, ComparedCard
from broker.workflow import patient_merge
from ui.desk.consequences import MOST_LINES, draw_lines, region_lines
from ui.layout.frame import frame
from ui.live import attempt, current_actor, read_as_viewer
from ui.services import Services
from ui.text import patient_cards as card_words
from ui.text import words
from ui.text.referral_fields import LABELS
from ui.widgets import theme
from ui.widgets.memo import Memo
from ui.widgets.theme import text

ALWAYS = ("family", "given", "middle", "birth_date", "sex", "snils", "policy", "phone")  # the others only if known
_TWO_PEOPLE = {
    "snils": "СНИЛС разные и оба верны: это два человека. Объединить нельзя.",
    "policy": "Полисы разные и оба верны: это два человека. Объединить нельзя.",
}


def build(services: Services) -> None:
    """Add the route /patient/{card}/merge/{other}; the first card is the one that stays."""

    @ui.page("/patient/{card}/merge/{other}", title="Объединение карт")
    async def merge_page(card: str, other: str) -> None:
        actor = current_actor(services)
        numbers = card_words.number(card), card_words.number(other)
        found = await read_as_viewer(services, lambda reader: patient_cards.compare(reader, *numbers))
        with frame(services, actor, "/studies"), ui.element("div").classes("page tall"):
            if not permissions.may(actor, Permission.MERGE):
                theme.empty("Карты объединяет регистратура.", "Скажите ей, какие две карты похожи.")
            elif found is None:
                theme.empty("Таких двух карт нет.", "Может быть, они уже объединены. Найдите пациента:", "/")
            else:
                MergePage(services, actor, found)


class MergePage:
    """One open comparison. What it merges is what it shows: cards that have changed since are refused."""

    def __init__(self, services: Services, actor: Actor, found: CardComparison) -> None:
        self._services, self._found = services, found
        self._one, self._other = found.surviving.patient, found.merged.patient
        self._fields = rules.compare(self._one, self._other)
        self._differing = rules.differing_numbers(self._one, self._other)
        self._chosen = set(rules.suggested(self._one, self._other))
        self._results: dict[str, Memo] = {}
        with ui.element("div").classes("page-head"):
            text("h1", "Один это человек или два?")
            ui.element("div").classes("spring")
            ui.link("Назад", self._back).classes("unseen").props("data-back tabindex=-1")
        self._draw_verdict()
        self._draw_fields()
        self._region: Memo | None = None
        if not self._differing:
            with ui.element("div").classes("merge-after"):
                with ui.element("section"):
                    self._draw_moving()
                self._region = Memo(ui.element("section"))
            self._show_region()
        self._draw_actions()

    @property
    def _back(self) -> str:
        return card_words.address(self._one.patient_id)

    # ---- what the two cards say ----

    def _draw_verdict(self) -> None:
        if self._differing:
            sentences = [_TWO_PEOPLE[field] for field in self._differing]
            more = "Если один номер вписан по ошибке, сначала исправьте его в карте."
            self._draw_sentence("error", "red", " ".join(sentences), more)
            return
        more = "Проверьте документ."
        merged = self._found.merged
        if merged.since:
            on = f"{merged.since.astimezone(self._services.clinic.zone):%d.%m.%Y}"
            more += f" Карту {self._other.patient_id} завели {on}: {merged.created_by.rstrip('.')}."
        if self._found.different:
            more += " Раньше уже решили, что это разные люди."
        self._draw_sentence("help", "amber", card_words.comparison(self._fields), more)

    @staticmethod
    def _draw_sentence(icon: str, tone: str, sentence: str, more: str) -> None:
        with ui.element("div").classes(f"verdict tone-{tone}"):
            ui.icon(icon).props("aria-hidden=true")
            with ui.element("div"):
                text("p", sentence)
                text("p", more, "todo")

    def _draw_fields(self) -> None:
        with ui.element("table").classes("flat compare"):
            text("caption", "Сравнение двух карт", "unseen")
            with ui.element("thead"), ui.element("tr"):
                with ui.element("th").props("scope=col"):
                    text("span", "Что", "unseen")
                text("th", f"{self._card(self._found.surviving)}: останется").props("scope=col")
                with ui.element("th").props("scope=col"):
                    text("span", self._card(self._found.merged))
                    if not self._differing:
                        swapped = card_words.merge_address(self._other.patient_id, self._one.patient_id)
                        ui.link("оставить её", swapped).classes("small swap")
                text("th", "" if self._differing else "Станет").props("scope=col")
            with ui.element("tbody"):
                for field in self._fields:
                    if field.name in ALWAYS or field.surviving or field.merged:
                        self._draw_field(field)

    def _card(self, card: ComparedCard) -> str:
        number = f"Карта {card.patient.patient_id}"
        if card.since is None:
            return number
        return f"{number}, с {card.since.astimezone(self._services.clinic.zone):%d.%m.%Y}"

    def _draw_field(self, field: ComparedField) -> None:
        same = field.surviving == field.merged
        with ui.element("tr").classes("" if field.same else "differs"):
            text("th", LABELS[field.name]).props("scope=row")
            choosing = not same and not self._differing and field.name != JOINED
            for merged, value in ((False, field.surviving), (True, field.merged)):
                with ui.element("td"):
                    if choosing:
                        self._draw_choice(field, value, merged=merged)
                    else:
                        text("span", card_words.shown(field.name, value), "muted" if field.same else "")
            with ui.element("td"):
                if field.name in self._differing:
                    with ui.element("span").classes("state tone-red"):
                        ui.icon("close").props("aria-hidden=true")
                        text("span", "разные номера")
                elif not self._differing:
                    self._results[field.name] = Memo(ui.element("b"))
                    self._show_result(field.name)

    def _draw_choice(self, field: ComparedField, value: Value, *, merged: bool) -> None:
        word = card_words.shown(field.name, value)
        with ui.element("label").classes("pick"):
            choice = ui.element("input").props(f"type=radio name=pick-{field.name}")
            if (field.name in self._chosen) is merged:
                choice.props("checked")
            whose = self._other if merged else self._one
            spoken = "не заполнено" if word == "–" else word
            choice.props["aria-label"] = f"{LABELS[field.name]}: {spoken}, из карты {whose.patient_id}"
            choice.on("change", lambda: self._choose(field.name, merged=merged))
            text("span", word)

    def _choose(self, field: str, *, merged: bool) -> None:
        (self._chosen.add if merged else self._chosen.discard)(field)
        self._show_result(field)
        self._show_region()

    def _show_result(self, field: str) -> None:
        result = rules.value(rules.combine(self._one, self._other, self._chosen), field)
        word = card_words.shown(field, result)
        self._results[field].show(word, lambda: text("span", word))

    # ---- what follows ----

    def _draw_moving(self) -> None:
        found, number = self._found, self._other.patient_id
        lines: list[tuple[str, str]] = []
        for each in found.merged.orders[:MOST_LINES]:
            lines.append(("list_alt", f"{each.visit.start:%d.%m.%Y} {words.procedure(each.order)}"))
        if (rest := len(found.merged.orders) - MOST_LINES) > 0:
            lines.append(("list_alt", f"и ещё {words.plural(rest, 'исследование', 'исследования', 'исследований')}"))
        if found.merged.external_studies:
            count = words.plural(found.merged.external_studies, "исследование", "исследования", "исследований")
            lines.append(("sync_alt", f"{count} других клиник"))
        lines.append(("badge", f"Номер {number} останется как прежний: по нему найдут"))
        devices = dict.fromkeys(name for each in found.merged.orders for name in each.devices)
        for name in devices:
            lines.append(("monitor_heart", f"{name}: направление уже получено с номером {number}, снимки узнаем"))
        draw_lines(f"Что переедет из карты {number}", lines)

    def _show_region(self) -> None:
        lines = self._region_lines()
        if self._region is not None:
            self._region.show(lines, lambda: draw_lines("Что скажем региону", lines))

    def _region_lines(self) -> list[tuple[str, str]]:
        changed = rules.changes(self._one, rules.combine(self._one, self._other, self._chosen))
        return region_lines(
            self._services, [*self._found.merged.orders, *(self._found.surviving.orders if changed else ())]
        )

    # ---- what may be done ----

    def _draw_actions(self) -> None:
        with ui.element("div").classes("actions page-acts bleed"):
            if self._differing:
                ui.link(f"Открыть карту {self._other.patient_id}", card_words.address(self._other.patient_id)).classes(
                    "btn"
                )
            else:
                theme.button("Объединить", self._merge, kind="primary", key="Ctrl+Enter")
            theme.button("Это разные люди", self._different)
            with ui.link("", self._back).classes("btn"):
                text("span", "Назад")
                text("kbd", "Esc", "key")
            ui.element("div").classes("spring")
            remark = (
                "Больше не спросим об этой паре, если ответите «разные»"
                if self._differing
                else "Разъединить можно в любой день: в карте останется след"
            )
            text("span", remark, "muted small")

    async def _merge(self) -> None:
        services, one, other = self._services, self._one, self._other
        actor, chosen = current_actor(services), tuple(self._chosen)
        found, revisions = self._found, (one.revision, other.revision)
        order_ids = (*found.surviving.order_ids, *found.merged.order_ids)
        done = await attempt(
            lambda: services.store.write(
                patient_merge.merge,
                one.stored_id,
                other.stored_id,
                chosen,
                revisions,
                actor,
                services.clinic,
                order_ids=order_ids,
                knows_difference=found.different,
            )
        )
        if done:
            ui.navigate.to(self._back)

    async def _different(self) -> None:
        services, one, other = self._services, self._one, self._other
        actor = current_actor(services)
        done = await attempt(
            lambda: services.store.write(patient_merge.declare_different, one.stored_id, other.stored_id, actor)
        )
        if done:
            ui.navigate.to(self._back)
