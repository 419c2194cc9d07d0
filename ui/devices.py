"""The registry of devices: who is known, who asks to be let in, when each was last heard. Administrators change it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from nicegui import ui

from broker import security
from broker.config import DicomConfig
from broker.domain import names
from broker.domain.errors import Invalid
from broker.domain.model import Actor, Device
from broker.security import Permission
from broker.store import journal
from broker.store.database import Reader
from broker.store.journal import Heard
from broker.workflow import devices as registry
from ui import theme, words
from ui.frame import attempt, follow, frame
from ui.services import Services, current_actor
from ui.steady import Rows, latest, redrawn
from ui.theme import text


def build(services: Services) -> None:
    """Register the page."""

    @ui.page("/devices", title="Аппараты")
    async def devices() -> None:
        actor = current_actor(services)
        with frame(services, actor, "/devices"), ui.element("div").classes("page"):
            page = _Page(services, actor)
            refresh = latest(services, page.read, page.show)
            follow(services, refresh)
            await refresh()


@dataclass(frozen=True, slots=True)
class _Shown:
    """A device as its line says it."""

    device: Device
    heard: tuple[str, ...]


class _Page:
    """One open page."""

    def __init__(self, services: Services, actor: Actor) -> None:
        self._services = services
        self._manages = security.may(actor, Permission.MANAGE)
        self._form = _Form(services) if self._manages else None
        with ui.element("div").classes("page-head"):
            text("h1", "Аппараты")
            ui.element("div").classes("spring")
            if self._form:
                add = theme.button("Добавить аппарат", lambda: self._ask(None), kind="primary")
                add.props("data-opens=device")
        text("p", connect_to(services.config.dicom), "muted teach")
        self._strangers_section = ui.element("div")
        with self._strangers_section, theme.section("Обращались, но ещё не приняты"):
            self._strangers = Rows(ui.element("div"), redrawn("div", "device plain", self._draw_stranger))
        self._known_section = ui.element("div").classes("section")
        with self._known_section:
            with ui.element("div").classes("device plain device-head"):
                for word in ("Аппарат", "Когда слышали", "Кодировка имён", ""):
                    text("span", word)
            self._known = Rows(ui.element("div"), redrawn("div", "device plain", self._draw_known))
        self._empty = ui.element("div")
        with self._empty:
            how = "Нажмите «Добавить аппарат»" if self._manages else "Администратор добавит их на этой странице"
            theme.empty("Аппаратов ещё нет.", f"{how}; на самом аппарате укажите то, что написано выше.")

    def read(self, reader: Reader) -> list[Heard]:
        """Read the registry."""
        return journal.heard(reader)

    def show(self, found: list[Heard]) -> None:
        """Draw what differs from what is shown."""
        now = self._services.store.clock()
        shown = [_Shown(each.device, tuple(_heard(each, now))) for each in found]
        strangers = [each for each in shown if not each.device.adopted]
        known = [each for each in shown if each.device.adopted]
        self._strangers_section.set_visibility(bool(strangers))
        self._known_section.set_visibility(bool(known))
        self._empty.set_visibility(not known)
        self._strangers.show((each.device.ae_title, each) for each in strangers)
        self._known.show((each.device.ae_title, each) for each in known)

    def _draw_stranger(self, shown: _Shown) -> None:
        device = shown.device
        with ui.element("div"):
            text("div", device.ae_title, "mono title")
            text("div", f"с адреса {device.address}" if device.address else "адрес неизвестен", "muted small")
        self._draw_heard(shown)
        text("div", "", "rare")
        if self._form:
            theme.button("Принять", lambda: self._ask(device), small=True).props("data-opens=device")
        else:
            text("span", "Принять может администратор", "muted small")

    def _draw_known(self, shown: _Shown) -> None:
        device = shown.device
        with ui.element("div"):
            text("div", ", ".join(part for part in (device.name, device.room) if part), "title")
            with ui.element("div").classes("muted small wires"):
                text("span", device.ae_title, "mono")
                text("span", device.modality)
                text("span", device.address or "с любого адреса")
        self._draw_heard(shown)
        text("div", words.CHARSETS.get(device.charset, device.charset), "muted rare")
        if self._form:
            theme.button("Изменить", lambda: self._ask(device), small=True).props("data-opens=device")
        else:
            text("span", "")

    def _draw_heard(self, shown: _Shown) -> None:
        with ui.element("div"):
            for line in shown.heard or ("Ещё не обращался",):
                text("div", line, "" if shown.heard else "muted")

    def _ask(self, device: Device | None) -> None:
        if self._form:
            self._form.ask(device)


def connect_to(config: DicomConfig) -> str:
    """Say what to enter on a modality so that it finds us."""
    anywhere = config.address in ("0.0.0.0", "::")
    host = "адрес этого сервера" if anywhere else f"адрес {config.address}"
    told = (
        f"На аппарате для рабочего списка (MWL) и MPPS укажите: AE title {config.ae_title}, порт {config.port}, {host}."
    )
    if config.unknown_devices == "learn":
        return f"{told} Незнакомый аппарат появится здесь сам, как только обратится."
    return f"{told} Незнакомым аппаратам отказываем, поэтому сначала добавьте их здесь."


_SERVICES = ("worklist", "mpps", "echo")
_MPPS = {
    "N-CREATE": "начало",
    "IN PROGRESS": "ход",
    "COMPLETED": "выполнено",
    "DISCONTINUED": "прервано",
}


def _heard(each: Heard, now: datetime) -> list[str]:
    """Say when a device was heard on each service, as «Список: 2 мин назад, отдано 7 направлений»."""
    lines = []
    for service in _SERVICES:
        if service in each.services:
            at, _, summary = each.services[service]
            ago = "только что" if (now - at).total_seconds() < 60 else f"{words.duration(now - at)} назад"
            lines.append(f"{words.HEARD[service]}: {ago}{_summary(service, summary)}")
    return lines


def _summary(service: str, summary: str) -> str:
    if service == "worklist" and summary.isdigit():
        return f", отдано {words.plural(int(summary), 'направление', 'направления', 'направлений')}"
    if service == "mpps":
        word = next((word for key, word in _MPPS.items() if key in summary), "")
        refused = "" if summary.endswith(("accepted", "repeated")) else "не принято"
        return "".join(f", {part}" for part in (word, refused) if part)
    return ""


class _Form:
    """The dialog in which an administrator adopts, adds or changes a device."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._known: Device | None = None
        self._charset = "auto"
        with ui.element("dialog").classes("wide").props("id=device aria-labelledby=device-title"):
            self._title = text("h2", "").props("id=device-title")
            with ui.element("div").classes("form").style("margin: 12px 0 16px"):
                self._fields = {
                    "ae_title": theme.field("AE title", name="ae_title", span=6, narrow=12, hint="Как на аппарате"),
                    "modality": theme.field(
                        "Вид (modality)", name="modality", span=6, narrow=12, hint="DX, MG, CT, US…"
                    ),
                    "name": theme.field("Название", name="device-name", span=6, narrow=12),
                    "room": theme.field("Кабинет", name="room", span=6, narrow=12),
                    "address": theme.field(
                        "Адрес в сети", name="address", narrow=12, hint="Пусто: пускаем с любого адреса"
                    ),
                }
                with ui.element("div").classes("field"):
                    with ui.element("div").classes("cap"):
                        text("span", "Кодировка имён пациентов")
                    with ui.element("div").classes("filters").props('role=radiogroup aria-label="Кодировка имён"'):
                        self._charsets = {code: self._make_choice(code) for code in registry.CHARSETS}
                    text(
                        "p",
                        "Автоматически: какую просит аппарат. Если имена на нём нечитаемы, выберите другую.",
                        "note",
                    )
            with ui.element("div").classes("acts"):
                theme.button("Закрыть").props("data-closes")
                theme.button("Сохранить", self._save).classes("btn-primary")

    def ask(self, device: Device | None) -> None:
        """Fill the form that the browser has just opened."""
        self._known = device
        given = device or Device("", "", "")
        adopted = device is not None and device.adopted
        word = "Изменить аппарат" if adopted else "Принять аппарат" if device else "Новый аппарат"
        self._title.set_text(f"{word} {given.ae_title}".strip())
        for key, field in self._fields.items():
            # The name of one that was only heard of is its AE title: a person must find a better one.
            field.value = "" if key == "name" and not adopted else getattr(given, key)
            field.complain("")
        title = self._fields["ae_title"].control
        title.props(add="readonly") if device else title.props(remove="readonly")
        self._choose(given.charset)

    def _make_choice(self, code: str) -> ui.element:
        with ui.element("button").props("type=button role=radio") as choice:
            text("span", words.CHARSETS.get(code, code))
        return choice.on("click", lambda: self._choose(code))

    def _choose(self, code: str) -> None:
        self._charset = code
        for each, choice in self._charsets.items():
            pressed = "true" if each == code else "false"
            choice.props(f"aria-checked={pressed} aria-pressed={pressed}")

    async def _save(self) -> None:
        services, actor = self._services, current_actor(self._services)
        typed = {key: names.tidy(str(field.value or "")) for key, field in self._fields.items()}
        device = replace(
            self._known or Device(typed["ae_title"], "", ""),  # what this form does not ask stays as it is
            adopted=True,
            name=typed["name"],
            modality=typed["modality"].upper(),
            room=typed["room"],
            address=typed["address"],
            charset=self._charset,
        )
        for field in self._fields.values():
            field.complain("")
        try:
            done = await attempt(lambda: registry.put_device(services.store, device, actor), let_pass=(Invalid,))
        except Invalid as caught:
            for key, code in caught.problems.items():
                if key in self._fields:
                    self._fields[key].complain(words.problem(key, code))
            return
        if done:
            ui.run_javascript('document.getElementById("device").close()')
            theme.say(f"Аппарат записан: {device.name}")
