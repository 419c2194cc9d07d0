"""The dialog in which an administrator adds, approves or changes a device; rare settings are behind «Ещё»."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from nicegui import ui

from broker.domain.clinic.devices import Device
from broker.domain.errors import Invalid
from broker.domain.patients import names
from broker.workflow import devices
from ui.devices import advice
from ui.live import attempt, current_actor
from ui.services import Services
from ui.text import errors, words
from ui.widgets import theme
from ui.widgets.form_field import FormField, labelled_field
from ui.widgets.theme import text

NUMBERS = tuple(devices.RANGES)
USUAL = Device("", "", "")
OTHER = "other"  # one of the rare character sets


class DeviceForm:
    """The dialog; elements with data-opens=device open it, and `ask` fills it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._known: Device | None = None
        with ui.element("dialog").classes("wide").props("id=device aria-labelledby=device-title"):
            self._title = text("h2", "").props("id=device-title")
            with ui.element("div").classes("form").style("margin: 12px 0 16px"):
                self._fields = self._draw_usual()
                self._charset = RadioRow(
                    "Кодировка имён пациентов",
                    {code: words.CHARSETS.get(code, code) for code in devices.USUAL_CHARSETS} | {OTHER: "Другая"},
                    "Автоматически: какую просит аппарат. Если имена на нём нечитаемы, выберите другую.",
                    lambda code: self._rare_charset.show(code == OTHER),
                )
                self._rare_charset = RadioRow(
                    "Другая кодировка",
                    {code: words.CHARSETS.get(code, code) for code in devices.RARE_CHARSETS},
                    "Латиница: русские имена пишем латинскими буквами, остальное – как есть в этой кодировке.",
                )
                with ui.element("details").classes("field more-settings") as self._more:
                    text("summary", "Ещё настройки")
                    with ui.element("div").classes("form"):
                        self._draw_rare()
            with ui.element("div").classes("acts"):
                theme.button("Закрыть").props("data-closes")
                theme.button("Сохранить", self._save).classes("btn-primary")

    def _draw_usual(self) -> dict[str, FormField]:
        return {
            "ae_title": labelled_field("AE title", name="ae_title", span=6, narrow=12, hint="Как на аппарате"),
            "modality": labelled_field("Вид (modality)", name="modality", span=6, narrow=12, hint="DX, MG, CT, US…"),
            "name": labelled_field("Название", name="device-name", span=6, narrow=12),
            "room": labelled_field("Кабинет", name="room", span=6, narrow=12),
            "address": labelled_field(
                "Адрес в сети",
                name="address",
                narrow=12,
                hint="IP-адрес, или несколько через запятую. Пусто: пускаем с любого адреса",
            ),
        }

    def _draw_rare(self) -> None:
        def number(key: str, label: str, hint: str) -> None:
            self._fields[key] = labelled_field(
                label, name=key.replace("_", "-"), span=6, narrow=12, hint=hint, props="inputmode=numeric"
            )

        number("days_before", "Прошедшие показывать, дней", "Потом аппарат их не видит, люди видят")
        number("days_after", "Показывать вперёд, дней", "Если аппарат не спросил дату")
        number("closed_hours", "Выполненные показывать ещё, часов", "0: пропадают сразу")
        number("longest", "Знаков в имени и описании", "Сколько видно на экране аппарата, от 8 до 64")
        number("mpps_hours", "Закрыть брошенное через, часов", "Исследование, о конце которого не сообщено")
        self._own_only = labelled_field(
            "Без отбора по аппарату показывать только его записи", ui.checkbox, name="own-only", narrow=12
        )
        self._for_others = labelled_field(
            "Может смотреть записи других аппаратов и завершать их исследования",
            ui.checkbox,
            name="for-others",
            narrow=12,
        )
        self._strict = labelled_field(
            "Отказывать в сообщениях MPPS, которые нарушают стандарт", ui.checkbox, name="strict-mpps", narrow=12
        )
        self._own_study_uids = labelled_field(
            "Ставит свои UID исследований и не сообщает о них: верить номеру, если сошлось всё остальное",
            ui.checkbox,
            name="own-study-uids",
            narrow=12,
        )
        self._fallback = RadioRow(
            "Если аппарат не называет кодировку, его буквы читаем как",
            {code: advice.FALLBACKS.get(code, code) for code in devices.FALLBACKS},
        )

    def ask(self, device: Device | None, suggested: Mapping[str, Any] | None = None) -> None:
        """Fill the form, which the browser has just opened, with the device and `suggested` settings."""
        self._known = device
        given = replace(device or USUAL, **(suggested or {}))
        approved = device is not None and device.approved
        word = "Изменить аппарат" if approved else "Принять аппарат" if device else "Новый аппарат"
        self._title.set_text(f"{word} {given.ae_title}".strip())
        for key, field in self._fields.items():
            # The name of an unapproved device is its AE title: a person must enter a better one.
            field.value = "" if key == "name" and not approved else str(getattr(given, key))
            field.show_error("")
        title = self._fields["ae_title"].control
        title.props(add="readonly") if device else title.props(remove="readonly")
        is_rare = given.charset in devices.RARE_CHARSETS
        self._charset.choose(OTHER if is_rare else given.charset)
        self._rare_charset.choose(given.charset if is_rare else devices.RARE_CHARSETS[0])
        self._fallback.choose(given.fallback_charset)
        self._own_only.value, self._strict.value = given.own_only, given.strict_mpps
        self._own_study_uids.value, self._for_others.value = given.own_study_uids, given.for_others
        rare = (*NUMBERS, "own_only", "for_others", "strict_mpps", "own_study_uids", "fallback_charset")
        self._open_more(any(getattr(given, key) != getattr(USUAL, key) for key in rare))

    def _open_more(self, wanted: bool) -> None:
        self._more.props(add="open") if wanted else self._more.props(remove="open")

    async def _save(self) -> None:
        services, actor = self._services, current_actor(self._services)
        typed = {key: names.tidy(str(field.value or "")) for key, field in self._fields.items()}
        numbers, problems = _numbers(typed)
        for field in self._fields.values():
            field.show_error("")
        if problems:
            self._show_problems(problems)
            return
        device = replace(
            self._known or Device(typed["ae_title"], "", ""),
            approved=True,
            name=typed["name"],
            modality=typed["modality"].upper(),
            room=typed["room"],
            address=typed["address"],
            charset=self._rare_charset.chosen if self._charset.chosen == OTHER else self._charset.chosen,
            fallback_charset=self._fallback.chosen,
            own_only=bool(self._own_only.value),
            strict_mpps=bool(self._strict.value),
            for_others=bool(self._for_others.value),
            own_study_uids=bool(self._own_study_uids.value),
            **numbers,
        )
        try:
            done = await attempt(lambda: services.store.write(devices.put_device, device, actor), let_pass=(Invalid,))
        except Invalid as caught:
            self._show_problems(caught.problems)
            return
        if done:
            ui.run_javascript('document.getElementById("device").close()')
            theme.show_message(f"Аппарат записан: {device.name}")

    def _show_problems(self, problems: Mapping[str, str]) -> None:
        for key, code in problems.items():
            if key in self._fields:
                self._fields[key].show_error(errors.problem(key, code))
        if any(key in NUMBERS for key in problems):
            self._open_more(True)


def _numbers(typed: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the settings that are numbers, and the problems: field -> code."""
    numbers = {key: int(typed[key]) for key in NUMBERS if typed[key].isascii() and typed[key].isdigit()}
    return numbers, {key: "range" for key in NUMBERS if key not in numbers}


class RadioRow:
    """A labelled row of choices of which one is chosen."""

    def __init__(
        self, label: str, choices: Mapping[str, str], hint: str = "", on_choose: Callable[[str], None] | None = None
    ) -> None:
        self.chosen, self._on_choose = next(iter(choices)), on_choose
        with ui.element("div").classes("field") as self._row:
            with ui.element("div").classes("cap"):
                text("span", label)
            with ui.element("div").classes("filters").props(f'role=radiogroup aria-label="{label}"'):
                self._made = {code: self._make(code, word) for code, word in choices.items()}
            if hint:
                text("p", hint, "note")

    def show(self, wanted: bool) -> None:
        """Show the row, or hide it."""
        self._row.set_visibility(wanted)

    def _make(self, code: str, word: str) -> ui.element:
        with ui.element("button").props("type=button role=radio") as choice:
            text("span", word)
        return choice.on("click", lambda: self.choose(code))

    def choose(self, code: str) -> None:
        """Choose one of them."""
        self.chosen = code
        if self._on_choose is not None:
            self._on_choose(code)
        for each, choice in self._made.items():
            pressed = "true" if each == code else "false"
            choice.props(f"aria-checked={pressed} aria-pressed={pressed}")
