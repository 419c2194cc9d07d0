"""The registry of devices: known ones, those that wait for approval, the last contact of each, and advice.

Administrators change it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from nicegui import ui

from broker.domain.actors import Actor
from broker.domain.clinic.device_advice import Suggestion
from broker.domain.clinic.devices import Device
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.database import Reader
from broker.store.queries import device_registry
from broker.store.queries.device_registry import DeviceContacts
from broker.workflow import devices
from ui.devices import advice, evidence
from ui.devices.form import DeviceForm
from ui.layout.frame import frame
from ui.live import attempt, current_actor, follow, latest
from ui.services import Services
from ui.settings import WorklistAddress
from ui.text import words
from ui.widgets import theme
from ui.widgets.keyed_list import KeyedList, Redraw
from ui.widgets.memo import Memo
from ui.widgets.theme import text

# Plain HTTP has no clipboard interface, but every browser copies a selection.
COPY = """() => {
  const range = document.createRange();
  range.selectNodeContents(document.getElementById("connect"));
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  document.execCommand("copy");
  getSelection().removeAllRanges();
}"""


def build(services: Services) -> None:
    """Add the route /devices."""

    @ui.page("/devices", title="Аппараты")
    async def devices_page() -> None:
        actor = current_actor(services)
        with frame(services, actor, "/devices"), ui.element("div").classes("page"):
            page = DevicesPage(services, actor)
            refresh = latest(services, page.read, page.show)
            follow(services, refresh)
            await refresh()


@dataclass(frozen=True, slots=True)
class DeviceView:
    """A device as the page shows it, in words."""

    device: Device
    contacts: tuple[str, ...]
    refused: str
    settings: tuple[str, ...]
    advice: tuple[Suggestion, ...]  # what may be applied
    notes: tuple[str, ...]
    facts: tuple[str, ...]
    messages: tuple[tuple[str, str], ...]  # what it sent: (title, lines)


@dataclass(frozen=True, slots=True)
class UntitledView:
    """Who called without a usable AE title, in words."""

    address: str
    ago: str
    refused: str


@dataclass(frozen=True, slots=True)
class RegistryView:
    """The registry as the page shows it."""

    devices: list[DeviceView]
    untitled: list[UntitledView]


class DevicesPage:
    """One open page of the devices."""

    def __init__(self, services: Services, actor: Actor) -> None:
        self._services = services
        self._manages = permissions.may(actor, Permission.MANAGE)
        self._form = DeviceForm(services) if self._manages else None
        with ui.element("div").classes("page-head"):
            text("h1", "Аппараты")
            ui.element("div").classes("spring")
            copy = theme.button("Скопировать настройки для аппарата", _copied, icon="content_copy")
            copy.on("click", js_handler=COPY)
            if self._form:
                add = theme.button("Добавить аппарат", lambda: self._ask(None), kind="primary")
                add.props("data-opens=device")
        worklist = services.settings.worklist
        text("p", connect_to(worklist, _host()), "muted teach")
        with ui.element("div").classes("unseen").props("id=connect aria-hidden=true"):
            for line in settings(worklist, _host()):
                text("div", line)
        self._strangers_section = ui.element("div")
        with self._strangers_section, theme.section("Обращались, но ещё не приняты"):
            self._strangers = KeyedList(ui.element("div"), self._make)
            self._untitled = KeyedList(ui.element("div"), _make_untitled)
        self._known_section = ui.element("div").classes("section")
        with self._known_section:
            with ui.element("div").classes("device plain device-head"):
                for word in ("Аппарат", "Когда слышали", "Настройки", ""):
                    text("span", word)
            self._known = KeyedList(ui.element("div"), self._make)
        self._empty = ui.element("div")
        with self._empty:
            how = "Нажмите «Добавить аппарат»" if self._manages else "Администратор добавит их на этой странице"
            theme.empty("Аппаратов ещё нет.", f"{how}; на самом аппарате укажите то, что написано выше.")

    def read(self, reader: Reader) -> RegistryView:
        """Return the registry in words."""
        now = self._services.store.clock()
        return RegistryView(
            [self._view(each, now) for each in device_registry.contacts(reader)],
            [
                UntitledView(address, _ago(now - at), advice.untitled(found))
                for address, at, found in device_registry.untitled(reader)
            ],
        )

    def show(self, shown: RegistryView) -> None:
        """Draw what has changed."""
        strangers = [each for each in shown.devices if not each.device.approved]
        approved = [each for each in shown.devices if each.device.approved]
        self._strangers_section.set_visibility(bool(strangers or shown.untitled))
        self._untitled.show((each.address, each) for each in shown.untitled)
        self._known_section.set_visibility(bool(approved))
        self._empty.set_visibility(not approved)
        self._strangers.show((each.device.ae_title, each) for each in strangers)
        self._known.show((each.device.ae_title, each) for each in approved)

    def _view(self, each: DeviceContacts, now: datetime) -> DeviceView:
        learned = self._services.suggest(each)
        return DeviceView(
            device=each.device,
            contacts=tuple(_contacts(each, now)),
            refused=advice.refusal(each),
            settings=tuple(advice.policies(each.device)) if each.device.approved else (),
            advice=tuple(found for found in learned if found.field),
            notes=tuple(advice.note(noted.kind, noted.text, noted.count, _ago(now - noted.at)) for noted in each.notes),
            facts=tuple(advice.suggestion(found) for found in learned if not found.field),
            messages=tuple(
                (_SENT[sample.service], advice.unmasked(evidence.mpps(json.dumps(sample.attributes))))
                for sample in each.samples
                if sample.which == "latest"
            ),
        )

    # ---- drawing ----

    def _make(self, shown: DeviceView) -> tuple[ui.element, Redraw]:
        """Draw a device; only the parts that differ are drawn again, so that open details stay open."""
        element = ui.element("div").classes("fleet")
        with element:
            with ui.element("div").classes("device plain"):
                boxes = [Memo(ui.element("div")) for _ in range(4)]
            boxes.append(Memo(ui.element("div").classes("learned")))
            details = ui.element("details").classes("known-of")
            with details:
                text("summary", "Что о нём известно")
                boxes.append(Memo(ui.element("div")))
        parts: list[tuple[Callable[[DeviceView], Any], Callable[[DeviceView], object]]] = [
            (lambda each: each.device, self._draw_names),
            (lambda each: (each.contacts, each.refused), self._draw_contacts),
            (lambda each: (each.settings, each.device.approved), self._draw_settings),
            (lambda each: (each.device, each.advice), self._draw_button),
            (lambda each: (each.device, each.advice, each.notes), self._draw_advice),
            (lambda each: (each.facts, each.messages), self._draw_facts),
        ]

        def redraw(shown: DeviceView) -> None:
            for (pick, draw), box in zip(parts, boxes, strict=True):
                box.show(pick(shown), partial(draw, shown))
            details.set_visibility(bool(shown.facts or shown.messages))

        redraw(shown)
        return element, redraw

    def _draw_names(self, shown: DeviceView) -> None:
        device = shown.device
        if not device.approved:
            text("div", device.ae_title, "mono title")
            text("div", f"с адреса {device.address}" if device.address else "адрес неизвестен", "muted small")
            return
        text("div", words.device_place(device), "title")
        with ui.element("div").classes("muted small wires"):
            text("span", device.ae_title, "mono")
            text("span", device.modality)
            text("span", device.address or "с любого адреса")

    def _draw_contacts(self, shown: DeviceView) -> None:
        if shown.refused:
            with ui.element("div").classes("state tone-red"):
                ui.icon("error").props("aria-hidden=true")
                text("span", shown.refused)
        for line in shown.contacts or (() if shown.refused else ("Ещё не обращался",)):
            text("div", line, "" if shown.contacts else "muted")

    def _draw_settings(self, shown: DeviceView) -> None:
        text("div", "; ".join(shown.settings), "muted small")

    def _draw_button(self, shown: DeviceView) -> None:
        device = shown.device
        if self._form is None:
            if not device.approved:
                text("span", "Принять может администратор", "muted small")
            return
        word = "Изменить" if device.approved else "Принять"
        # Settings of an approved device were chosen by a person; for a new one they are suggested in the form.
        proposed = () if device.approved else shown.advice
        theme.button(word, lambda: self._ask(device, proposed), small=True).props("data-opens=device")

    def _draw_advice(self, shown: DeviceView) -> None:
        for found in shown.advice:
            with ui.element("div").classes("advice tone-amber"):
                ui.icon("lightbulb").props("aria-hidden=true")
                with ui.element("div"):
                    text("span", advice.suggestion(found) + ".")
                    text("p", advice.remedy(found), "muted small")
                if self._form and shown.device.approved:
                    act = theme.button("Применить", lambda found=found: self._apply(shown.device, found), small=True)
                    act.props(f'aria-label="Применить: {advice.remedy(found)}"')
        for line in shown.notes:
            with ui.element("div").classes("advice tone-slate"):
                ui.icon("info").props("aria-hidden=true")
                text("span", line)

    def _draw_facts(self, shown: DeviceView) -> None:
        with ui.element("ul").classes("facts-list"):
            for line in shown.facts:
                text("li", line)
        for title, lines in shown.messages:
            with ui.element("details"):
                text("summary", title)
                text("div", lines, "evidence")

    # ---- what may be done ----

    def _ask(self, device: Device | None, proposed: tuple[Suggestion, ...] = ()) -> None:
        if self._form:
            self._form.ask(device, {found.field: found.value for found in reversed(proposed)})

    async def _apply(self, device: Device, found: Suggestion) -> None:
        store, actor = self._services.store, current_actor(self._services)
        change = {found.field: found.value}
        if await attempt(lambda: store.write(devices.adjust_device, device.ae_title, change, actor)):
            theme.show_message(f"{device.name}: {advice.remedy(found)}")


def _make_untitled(shown: UntitledView) -> tuple[ui.element, Redraw]:
    """Draw a caller without an AE title: there is nothing to approve, only something to change on it."""
    element = ui.element("div").classes("fleet")
    with element:
        box = ui.element("div").classes("device plain")

    def redraw(shown: UntitledView) -> None:
        box.clear()
        with box:
            with ui.element("div"):
                text("div", "Без имени", "title")
                text("div", f"с адреса {shown.address}", "muted small")
            with ui.element("div"):
                with ui.element("div").classes("state tone-red"):
                    ui.icon("error").props("aria-hidden=true")
                    text("span", shown.refused)
                text("div", shown.ago, "muted")

    redraw(shown)
    return element, redraw


# ---- what to enter on a modality ----


def connect_to(worklist: WorklistAddress, host: str = "") -> str:
    """Return what to enter on a modality so that it finds the worklist; `host` is that of the page's address."""
    address = _address(worklist, host)
    where = f"адрес {address}" if address else "адрес этого сервера"
    sentence = (
        f"На аппарате для рабочего списка (MWL) и MPPS укажите: AE title {worklist.ae_title}, порт {worklist.port}, "
        f"{where}."
    )
    if worklist.learns_unknown_devices:
        return f"{sentence} Незнакомый аппарат появится здесь сам, как только обратится."
    return f"{sentence} Незнакомому аппарату отказываем, но он появится здесь, и его можно принять."


def settings(worklist: WorklistAddress, host: str = "") -> list[str]:
    """Return the lines to copy for the person who sets a modality up."""
    return [
        "Worklist (MWL) и MPPS",
        f"AE title: {worklist.ae_title}",
        f"IP: {_address(worklist, host) or 'адрес сервера рабочего списка'}",
        f"Порт: {worklist.port}",
        *(f"Только {', '.join(stations)}: AE title {called}" for called, stations in worklist.lists.items()),
    ]


def _address(worklist: WorklistAddress, host: str) -> str:
    """Return the address for modalities; if the port listens on any, the one that the browser used; or empty."""
    if worklist.address not in ("0.0.0.0", "::"):
        return worklist.address
    return "" if host in ("localhost", "127.0.0.1", "::1", "test") else host


def _host() -> str:
    request = ui.context.client.request
    return (request.url.hostname or "") if request else ""


def _copied() -> None:
    theme.show_message("Настройки скопированы: их можно переслать тому, кто подключает аппарат")


# ---- last contact ----

_SERVICES = ("worklist", "mpps", "storage", "availability", "echo")
_SENT = {"worklist": "Последний запрос списка", "N-CREATE": "Последнее начало (MPPS)", "N-SET": "Последний ход (MPPS)"}
_MPPS = {
    "N-CREATE": "начало",
    "IN PROGRESS": "ход",
    "COMPLETED": "выполнено",
    "DISCONTINUED": "прервано",
}


def _contacts(each: DeviceContacts, now: datetime) -> list[str]:
    """Return the last contact on each service, as «Список: 2 мин назад, отдано 7 направлений»."""
    lines = []
    for service in _SERVICES:
        if service in each.services:
            at, _, summary = each.services[service]
            lines.append(f"{words.SERVICES[service]}: {_ago(now - at)}{_summary(service, summary)}")
    return lines


def _ago(passed: timedelta) -> str:
    return "только что" if passed.total_seconds() < 60 else f"{words.duration(passed)} назад"


def _summary(service: str, summary: str) -> str:
    if service == "worklist" and summary.isdigit():
        return f", отдано {words.plural(int(summary), 'направление', 'направления', 'направлений')}"
    if service == "mpps":
        word = next((word for key, word in _MPPS.items() if key in summary), "")
        refused = "" if summary.endswith(("accepted", "repeated")) else "не принято"
        return "".join(f", {part}" for part in (word, refused) if part)
    return ""
