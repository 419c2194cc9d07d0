"""«Регистратура»: a referral from the first letter of a name to the printed label.

This module finds the mode of the form (`modes`) and what can be chosen; `form` is the form itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from nicegui import ui

from broker.domain import lifecycle
from broker.security import permissions
from broker.store.database import Reader
from broker.store.queries import desk, device_registry, lookups, schedule
from broker.workflow import accounts
from ui.desk import modes
from ui.desk.form import FORM, DeskForm
from ui.desk.modes import FormMode
from ui.desk.referral.field_values import ReferralOptions
from ui.layout.frame import frame
from ui.live import current_actor, look
from ui.services import Services
from ui.text import errors
from ui.widgets import theme
from ui.widgets.theme import text

USUAL_WITHIN = timedelta(days=30)  # in which a device that was chosen for a procedure counts as its usual one


def build(services: Services) -> None:
    """Add /desk; `?order=` changes an order, `?incoming=` accepts a referral, `?walkin=` registers a study."""

    @ui.page("/desk", title="Регистратура")
    async def desk(order: str = "", incoming: str = "", walkin: str = "") -> None:
        actor = current_actor(services)
        asked = order, incoming, walkin
        found = await look(services, lambda reader: _mode(reader, services, *asked))
        mode = found if isinstance(found, FormMode) else FormMode()
        options, draft = await look(services, lambda reader: _options(reader, services)), None
        if mode.new:
            draft = await look(services, lambda reader: accounts.load_draft(reader, FORM, actor))
        with frame(services, actor, "/incoming" if incoming else "/desk"):
            text("h1", mode.title, "unseen")
            if not all(permissions.may(actor, needed) for needed in mode.needs):
                theme.empty("Направления записывает регистратура.", "Вам открыты доска, исследования и обмен.")
            elif not isinstance(found, FormMode):
                theme.empty(found.what, found.how, found.key)
                if found.path:
                    ui.link(found.word, found.path).classes("alone")
            else:
                page = DeskForm(services, actor, options, mode)
                if draft:
                    page.restore(*draft)
                await page.refresh()
                page.start()


@dataclass(frozen=True, slots=True)
class NoForm:
    """Why there is no form to fill in, and a link to go on."""

    what: str
    how: str
    key: str = ""
    word: str = ""
    path: str = ""


def _mode(reader: Reader, services: Services, order: str, incoming: str, walkin: str) -> FormMode | NoForm:
    """Return the mode that the query parameters ask for, or why there is no form."""
    if order:
        change = modes.amend_mode(reader, order)
        if change is None:
            return NoForm(f"Направления {order} нет.", "Проверьте номер. Поиск по исследованиям:", "/")
        state = change.card.order.state
        if not lifecycle.allowed(state, lifecycle.Event.AMEND):
            what = f"Направление {order} изменить уже нельзя."
            return NoForm(what, errors.not_amendable(state), "", "Открыть карточку", f"/order/{order}")
        return change
    if incoming:
        system = services.settings.system_procedure
        procedures = lookups.procedures(reader)
        id = int(incoming) if incoming.isdecimal() and len(incoming) < 16 else 0
        taken = modes.incoming_mode(reader, id, procedures, services.now(), system)
        if taken is None:
            return NoForm("Такого направления нет.", "Проверьте адрес.", "", "К входящим", "/incoming")
        over = taken.closed_reason(reader)
        return NoForm("Записывать нечего.", over, "", "К входящим", "/incoming") if over else taken
    if walkin:
        study = desk.walk_in(reader, walkin)
        if study is None:
            return NoForm("Такого исследования нет.", "Проверьте адрес.", "", "К доске", "/board")
        if study.accession_number:
            how = f"Их направление: {study.accession_number}."
            return NoForm("Эти снимки уже привязаны.", how, "", "Открыть", f"/order/{study.accession_number}")
        return modes.WalkInMode(study, study.step.start or services.now())
    return FormMode()


def _options(reader: Reader, services: Services) -> ReferralOptions:
    lately = schedule.recent(reader, services.store.clock() - USUAL_WITHIN, 200)
    return ReferralOptions(
        procedures=lookups.procedures(reader),
        devices=device_registry.approved(reader),
        referrers=lookups.referrers(reader),
        # They come newest first; reversed, the newest overwrites the older ones.
        usual={
            visit.order.procedure_code: visit.station_ae_titles[0]
            for visit in reversed(lately)
            if visit.station_ae_titles
        },
        organisation=services.settings.organisation,
    )
