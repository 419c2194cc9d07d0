"""«Регистратура»: registering a referral, from the search for the patient to the printed label.

This module opens the form in the mode that the address asks for (`modes/`); `form` is the form itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from nicegui import ui

from broker.domain import lifecycle
from broker.domain.clinic.settings import Clinic
from broker.security import permissions
from broker.store.database import Reader
from broker.store.queries import (
    desk,
    device_registry,
    directory_search,
    inbox,
    lookups,
    order_card,
    patient_cards,
    schedule,
)
from broker.store.queries.patients import patient_index
from broker.workflow import accounts
from broker.workflow.referrals import incoming_referrals, referrals
from ui.desk.form import FORM, DeskForm
from ui.desk.modes.done_studies import ARCHIVED_ALREADY, ArchivedMode, WalkInMode
from ui.desk.modes.referrals import AmendMode, AnotherMode, FormMode, IncomingMode, clinic_name
from ui.desk.referral.field_values import ReferralOptions
from ui.layout.frame import frame
from ui.live import current_actor, read_as_viewer
from ui.services import Services
from ui.text import errors, links
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
        found = await read_as_viewer(services, lambda reader: _choose(reader, services, *asked))
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
        insurers=directory_search.insurers(reader),
        organisation=services.settings.organisation,
    )


@dataclass(frozen=True, slots=True)
class _NoForm:
    """Why there is no form to fill in, and a link to go on."""

    what: str
    how: str
    key: str = ""
    word: str = ""
    path: str = ""


def _choose(
    reader: Reader, services: Services, order: str, another: str, incoming: str, walkin: str, study: str
) -> FormMode | _NoForm:
    """Return the mode that the page's query parameters ask for, or why there is no form."""
    if order:
        return _amend(reader, order)
    if another:
        return _another(reader, services.clinic, another)
    if incoming:
        return _incoming(reader, services, int(incoming) if incoming.isdecimal() and len(incoming) < 16 else 0)
    if walkin:
        return _walk_in(reader, services, walkin)
    if study:
        return _archived(reader, services, int(study) if study.isdecimal() and len(study) < 16 else 0)
    return FormMode()


def _amend(reader: Reader, number: str) -> FormMode | _NoForm:
    card = order_card.card(reader, number)
    if card is None:
        return _NoForm(f"Направления {number} нет.", "Проверьте номер. Поиск по исследованиям:", "/")
    state, owner = card.order.state, card.order.owner
    if not lifecycle.allowed(state, lifecycle.Event.AMEND):
        what = f"Направление {number} изменить уже нельзя."
        return _NoForm(what, errors.not_amendable(state), "", "Открыть карточку", links.card(number))
    return AmendMode(card, (directory_search.organisation_name(reader, owner) or owner) if owner else "")


def _another(reader: Reader, clinic: Clinic, number: str) -> FormMode | _NoForm:
    order = order_card.order(reader, number)
    if order is None:
        return _NoForm(f"Направления {number} нет.", "Проверьте номер. Поиск по исследованиям:", "/")
    if not clinic.shares_accession_numbers or not referrals.may_share_number(order):
        what = f"Под номером {number} ещё одно исследование записать нельзя."
        how = "Запишите его обычным направлением: у него будет свой номер."
        return _NoForm(what, how, "", "Новое направление", "/desk")
    return AnotherMode(order, tuple(order_card.others_of_request(reader, order)))


def _incoming(reader: Reader, services: Services, id: int) -> FormMode | _NoForm:
    referral = inbox.referral(reader, id)
    if referral is None:
        return _NoForm("Такого направления нет.", "Проверьте адрес.", "", "К входящим", "/incoming")
    system = services.settings.system_procedure
    draft = incoming_referrals.draft_of(referral, lookups.procedures(reader), services.now(), system_procedure=system)
    patient = patient_index.match(reader, draft.patient).patient
    if patient:  # what is known to the other clinic only
        blank = {key: getattr(draft.patient, key) for key in ("snils", "policy", "phone") if not getattr(patient, key)}
        weight, insurer = draft.patient.weight or patient.weight, draft.patient.insurer or patient.insurer
        patient = replace(patient, **blank, weight=weight, insurer=insurer)
        patient = replace(patient, height=draft.patient.height or patient.height)
    mode = IncomingMode(referral, clinic_name(reader, referral), draft, patient)
    over = mode.closed_reason(reader)
    return _NoForm("Записывать нечего.", over, "", "К входящим", "/incoming") if over else mode


def _walk_in(reader: Reader, services: Services, sop_instance_uid: str) -> FormMode | _NoForm:
    study = desk.walk_in(reader, sop_instance_uid)
    if study is None:
        return _NoForm("Такого исследования нет.", "Проверьте адрес.", "", "К доске", "/board")
    if study.accession_number:
        how = f"Их направление: {study.accession_number}."
        return _NoForm("Эти снимки уже привязаны.", how, "", "Открыть", links.card(study.accession_number))
    return WalkInMode(study, study.step.start or services.now())


def _archived(reader: Reader, services: Services, id: int) -> FormMode | _NoForm:
    study = desk.archived_walk_in(reader, id)
    if study is None or not study.is_open:
        word, path = "К снимкам без направления", "/archive?show=unreferred"
        return _NoForm("Этих снимков среди ожидающих нет.", ARCHIVED_ALREADY, "", word, path)
    return ArchivedMode(study, study.unreferred.study.start or services.now())
