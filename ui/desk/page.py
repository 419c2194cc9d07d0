"""«Регистратура»: registering a referral, from the search for the patient to the printed label.

This module opens the form in the mode that the address asks for (`modes`); `form` is the form itself.
"""

from __future__ import annotations

from datetime import timedelta

from nicegui import ui

from broker.security import permissions
from broker.store.database import Reader
from broker.store.queries import device_registry, lookups, patient_cards, schedule
from broker.workflow import accounts
from ui.desk import modes
from ui.desk.form import FORM, DeskForm
from ui.desk.modes import FormMode
from ui.desk.referral.field_values import ReferralOptions
from ui.layout.frame import frame
from ui.live import current_actor, read_as_viewer
from ui.services import Services
from ui.widgets import theme
from ui.widgets.theme import text

USUAL_WITHIN = timedelta(days=30)  # period in which a device chosen for a procedure counts as its usual one


def build(services: Services) -> None:
    """Add /desk; `?order=` changes an order, `?incoming=` accepts a referral, `?walkin=` registers a study.

    `?another=` registers one more study under an order's accession number, `?study=` a study of the archive that has no
    referral (its id); `?patient=` begins a new referral for the patient with this card number.
    """

    @ui.page("/desk", title="Регистратура")
    async def desk(
        order: str = "", another: str = "", incoming: str = "", walkin: str = "", study: str = "", patient: str = ""
    ) -> None:
        actor = current_actor(services)
        asked = order, another, incoming, walkin, study
        found = await read_as_viewer(services, lambda reader: modes.choose(reader, services, *asked))
        mode = found if isinstance(found, FormMode) else FormMode()
        options, draft = await read_as_viewer(services, lambda reader: _options(reader, services)), None
        if mode.new:
            draft = await read_as_viewer(services, lambda reader: accounts.load_draft(reader, FORM, actor))
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
                if mode.new and patient:
                    chosen = await read_as_viewer(services, lambda reader: patient_cards.find(reader, patient))
                    if chosen:
                        await page.take_patient(chosen, "")


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
