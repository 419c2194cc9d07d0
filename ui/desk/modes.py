"""The modes of the desk's form: a new referral, a change, an incoming referral, a study made without a referral.

A mode decides what the fields contain at first, what may be typed, which use case saves it and which page follows.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from datetime import datetime

from broker.domain import lifecycle
from broker.domain.actors import Actor
from broker.domain.clinic.devices import Device
from broker.domain.clinic.settings import Clinic
from broker.domain.incoming import IncomingReferral, IncomingState
from broker.domain.orders import Order, ReferralDraft
from broker.domain.patients import names
from broker.domain.patients.confirmation import Confirmation
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.security.permissions import Permission
from broker.store.database import Reader, Store
from broker.store.queries import desk, directory_search, inbox, lookups, order_card
from broker.store.queries.desk import ArchivedWalkIn, WalkIn
from broker.store.queries.order_card import Card
from broker.store.queries.patients import patient_index
from broker.workflow.referrals import incoming_referrals, referrals, unreferred_studies
from ui.desk.referral.field_values import ReferralOptions, ReferralRules
from ui.desk.referral.form import ReferralForm
from ui.services import Services
from ui.text import bus, errors, links, words


@dataclass(frozen=True)
class FormMode(ReferralRules):
    """A new referral."""

    after_saving = ""  # path to go to, {} is the accession number; empty: the form is emptied for the next one
    needs = frozenset({Permission.REGISTER})
    new = True  # a draft is kept, and the form is used for one referral after another
    searches = True
    warns_of_repeats = True  # warn of repeated studies
    planned = True  # the study is in the future, so its time must be free
    asks_region = True  # the region may be asked who is typed

    @property
    def request(self) -> frozenset[int]:
        """Return the orders (ids) beside which this one is made on purpose: it repeats none of them."""
        return frozenset()

    @property
    def title(self) -> str:
        """Return the heading of the page."""
        return "Новое направление"

    @property
    def subtitle(self) -> str:
        """Return the text beside the heading of the study."""
        return ""

    @property
    def sender_words(self) -> str:
        """Return the sender's text if no field can hold it; else empty."""
        return ""

    @property
    def back(self) -> tuple[str, str]:
        """Return the word and the path of the link that leaves without saving; empty if there is none."""
        return "", ""

    def options(self, options: ReferralOptions) -> ReferralOptions:
        """Return what can be chosen in this mode."""
        return options

    def fill(self, form: ReferralForm) -> None:
        """Fill the empty form when the page opens."""

    def contradictions(self, reader: Reader, patient: Patient) -> list[str]:
        """Return in which fields what is known of a study contradicts the patient; a person must confirm them."""
        return []

    def save(
        self, store: Store, draft: ReferralDraft, actor: Actor, clinic: Clinic, repeats: str, confirmed: Confirmation
    ) -> Order:
        """Run the use case that saves.

        `repeats` names the studies that are repeated knowingly, `confirmed` what of `contradictions` was confirmed.
        """
        return store.write(referrals.register, draft, actor, clinic, repeats=repeats)

    def closed_reason(self, reader: Reader) -> str:
        """Return why the referral cannot be saved any more; empty while it can."""
        return ""


@dataclass(frozen=True)
class AmendMode(FormMode):
    """A change of an order; `owner_name` is the clinic that performs it, empty for this clinic."""

    card: Card
    owner_name: str = ""
    new = False
    searches = False
    needs = frozenset({Permission.AMEND})
    after_saving = "/order/{}"

    @property
    def title(self) -> str:
        return f"Изменить направление {self.card.order.accession_number}"

    @property
    def subtitle(self) -> str:
        return f"изменяется {self.card.order.accession_number}"

    @property
    def back(self) -> tuple[str, str]:
        return "Не менять", links.card(self.card.order.accession_number)

    def fill(self, form: ReferralForm) -> None:
        form.fill_order(self.card.order, self.owner_name)
        form.fix_owner()

    patient_is_fixed = True
    asks_region = False

    @property
    def corrects_patient(self) -> bool:
        return not names.identifies(self.card.order.patient.name)  # it has turned out who this is

    def may_be_past(self, start: datetime) -> bool:
        return self.card.order.steps[0].starts_at(start)  # a correction may keep the day of a past study

    def stations(self, device: Device) -> tuple[str, ...]:
        planned = self.card.order.steps[0].station_ae_titles
        # The other stations of an order on several stay.
        return planned if planned[:1] == (device.ae_title,) else (device.ae_title,)

    def save(
        self, store: Store, draft: ReferralDraft, actor: Actor, clinic: Clinic, repeats: str, confirmed: Confirmation
    ) -> Order:
        order = self.card.order
        return store.write(referrals.amend, order.id, order.revision, draft, actor, clinic)


@dataclass(frozen=True)
class AnotherMode(FormMode):
    """Another study of an order's patient, under the same accession number."""

    order: Order
    others: tuple[Order, ...] = ()  # of the same number already
    new = False
    searches = False
    patient_is_fixed = True
    asks_region = False
    after_saving = "/order/{}"

    @property
    def request(self) -> frozenset[int]:
        return frozenset(each.id for each in (self.order, *self.others))

    @property
    def title(self) -> str:
        return f"Ещё исследование под номером {self.order.shown_number}"

    @property
    def subtitle(self) -> str:
        return f"номер {self.order.shown_number}"

    @property
    def back(self) -> tuple[str, str]:
        return "К исследованию", links.card(self.order.accession_number)

    def fill(self, form: ReferralForm) -> None:
        form.fill_another(self.order)
        form.fix_owner()

    def save(
        self, store: Store, draft: ReferralDraft, actor: Actor, clinic: Clinic, repeats: str, confirmed: Confirmation
    ) -> Order:
        return store.write(referrals.register_another, self.order.id, draft, actor, clinic, repeats=repeats)


@dataclass(frozen=True)
class IncomingMode(FormMode):
    """A referral of another clinic, or of a local client, that waits for a device and a time."""

    referral: IncomingReferral
    clinic: str  # that refers, by name
    draft: ReferralDraft
    patient: Patient | None  # the same person among this clinic's patients
    new = False
    asks_region = False  # what is filled in comes from there
    after_saving = "/incoming?saved={}"

    @property
    def title(self) -> str:
        return f"Направление из другой клиники: {self.clinic}"

    @property
    def subtitle(self) -> str:
        return f"направила {self.clinic}"

    @property
    def sender_words(self) -> str:
        site = self.referral.body_site  # a bare code means nothing to a registrar
        sites = "" if site.isascii() else site, self.referral.body_site_text
        return ", ".join(part for part in (self.referral.procedure_name, *sites) if part)

    @property
    def back(self) -> tuple[str, str]:
        return "К входящим", "/incoming"

    def fill(self, form: ReferralForm) -> None:
        form.fill_draft(self.draft, self.patient)
        problems = self.referral.problems
        if problems:
            form.show_problems(problems)
        form.fix_owner()
        if self.sender_words:
            form.fields["procedure"].show_hint(f"В направлении: «{self.sender_words}»")
        if self.referral.attached:
            form.fields["comment"].show_hint(f"К направлению приложены: {'; '.join(self.referral.attached)}")
        for key, hint in bus.former(self.referral).items():
            form.fields[key].show_hint(hint)

    def save(
        self, store: Store, draft: ReferralDraft, actor: Actor, clinic: Clinic, repeats: str, confirmed: Confirmation
    ) -> Order:
        return store.write(
            incoming_referrals.accept,
            self.referral.stored_id,
            draft,
            actor,
            clinic,
            seen=self.referral,
            repeats=repeats,
        )

    def closed_reason(self, reader: Reader) -> str:
        now = inbox.referral(reader, self.referral.stored_id)
        if now is None or now.state is IncomingState.WAITING:
            return ""
        return bus.incoming_closed(now.state)


class DoneMode(FormMode):
    """A study that was made without a referral; the form begins with the patient whom the device has named."""

    new = False
    warns_of_repeats = False
    planned = False
    needs = frozenset({Permission.REGISTER, Permission.LINK})
    after_saving = "/order/{}"

    @property
    @abstractmethod
    def reported(self) -> tuple[str, str, str, str]:
        """The patient as the device wrote it: name (PN), Patient ID, birth date (DA), sex (CS)."""

    @property
    def name(self) -> PersonName:
        """The reported name, as far as it may stand in a referral: empty if it is not in Cyrillic."""
        reported = names.from_dicom(self.reported[0])
        return reported if names.is_cyrillic(str(reported)) else PersonName("")

    @property
    def sender_words(self) -> str:
        reported = str(names.from_dicom(self.reported[0]))
        return "" if names.is_cyrillic(reported) else names.cut(reported, 64)

    def may_be_past(self, start: datetime) -> bool:
        return True

    def contradictions(self, reader: Reader, patient: Patient) -> list[str]:
        return patient_index.walk_in_contradictions(reader, patient, *self.reported)


@dataclass(frozen=True)
class WalkInMode(DoneMode):
    """A study that a device made without a referral."""

    study: WalkIn
    start: datetime  # local, naive: when it was made, or now if its device did not report it

    @property
    def title(self) -> str:
        return "Записать без направления"

    @property
    def subtitle(self) -> str:
        return "уже сделано, без направления"

    @property
    def reported(self) -> tuple[str, str, str, str]:
        step = self.study.step
        return step.patient_name, step.patient_id, step.patient_birth_date, step.patient_sex

    @property
    def back(self) -> tuple[str, str]:
        return "К доске", "/board"

    def options(self, options: ReferralOptions) -> ReferralOptions:
        device = self.study.device
        if device is None or not device.modality:
            return options
        procedures = [each for each in options.procedures if each.modality == device.modality]
        return replace(options, procedures=procedures, devices=[device], organisation="")

    def fill(self, form: ReferralForm) -> None:
        study = self.study
        patient = Patient(self.name, study.birth_date, study.sex or Sex.OTHER)
        form.fill_draft(ReferralDraft(patient, "", (), self.start), None)
        if study.sex is None:
            form.forget_sex()
        form.fill_done(
            self.start,
            study.step.ae_title if study.device else "",
            device_known=study.device is not None,
            time_known=study.step.start is not None,
        )
        if self.sender_words:
            form.fields["family"].show_hint(f"На аппарате: {self.sender_words}")

    def save(
        self, store: Store, draft: ReferralDraft, actor: Actor, clinic: Clinic, repeats: str, confirmed: Confirmation
    ) -> Order:
        uid = self.study.step.sop_instance_uid
        return store.write(referrals.register_walk_in, uid, draft, actor, clinic, confirmed)

    def closed_reason(self, reader: Reader) -> str:
        now = desk.walk_in(reader, self.study.step.sop_instance_uid)
        return f"Эти снимки уже привязаны: {now.accession_number}." if now and now.accession_number else ""


@dataclass(frozen=True)
class ArchivedMode(DoneMode):
    """A study in the archive that bears no referral's numbers; it is linked once the referral is saved."""

    study: ArchivedWalkIn
    start: datetime  # local, naive: when it was made, or now if the archive does not say

    @property
    def title(self) -> str:
        return "Завести направление на снимки в архиве"

    @property
    def subtitle(self) -> str:
        return "уже сделано, снимки в архиве"

    @property
    def reported(self) -> tuple[str, str, str, str]:
        study = self.study.unreferred.study
        return study.patient_name, study.patient_id, study.birth_date, study.patient_sex

    @property
    def back(self) -> tuple[str, str]:
        return "К снимкам без направления", "/archive?show=unreferred"

    def options(self, options: ReferralOptions) -> ReferralOptions:
        modalities = {device.modality for device in self.study.devices}
        if not modalities:
            return replace(options, organisation="")
        procedures = [each for each in options.procedures if each.modality in modalities]
        return replace(options, procedures=procedures, devices=list(self.study.devices), organisation="")

    def fill(self, form: ReferralForm) -> None:
        study = self.study
        patient = Patient(self.name, study.birth_date, study.sex or Sex.OTHER)
        codes = [each.code for each in form.options.procedures]
        only = codes[0] if len(codes) == 1 else ""
        form.fill_draft(ReferralDraft(patient, only, (), self.start), study.patient)
        if study.sex is None and study.patient is None:
            form.forget_sex()
        ae_title = study.devices[0].ae_title if len(study.devices) == 1 else ""
        time_known = study.unreferred.study.start is not None
        form.fill_done(self.start, ae_title, device_known=False, time_known=time_known)
        if self.sender_words:
            form.fields["family"].show_hint(f"На снимках: {self.sender_words}")

    def save(
        self, store: Store, draft: ReferralDraft, actor: Actor, clinic: Clinic, repeats: str, confirmed: Confirmation
    ) -> Order:
        return store.write(unreferred_studies.register, self.study.unreferred.id, draft, actor, clinic, confirmed)

    def closed_reason(self, reader: Reader) -> str:
        now = desk.archived_walk_in(reader, self.study.unreferred.id)
        return "" if now is not None and now.is_open else ARCHIVED_ALREADY


ARCHIVED_ALREADY = "О них уже решили, или архив их исправил."


@dataclass(frozen=True, slots=True)
class NoForm:
    """Why there is no form to fill in, and a link to go on."""

    what: str
    how: str
    key: str = ""
    word: str = ""
    path: str = ""


def choose(
    reader: Reader, services: Services, order: str, another: str, incoming: str, walkin: str, study: str
) -> FormMode | NoForm:
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


def _amend(reader: Reader, number: str) -> FormMode | NoForm:
    card = order_card.card(reader, number)
    if card is None:
        return NoForm(f"Направления {number} нет.", "Проверьте номер. Поиск по исследованиям:", "/")
    state, owner = card.order.state, card.order.owner
    if not lifecycle.allowed(state, lifecycle.Event.AMEND):
        what = f"Направление {number} изменить уже нельзя."
        return NoForm(what, errors.not_amendable(state), "", "Открыть карточку", links.card(number))
    return AmendMode(card, (directory_search.organisation_name(reader, owner) or owner) if owner else "")


def _another(reader: Reader, clinic: Clinic, number: str) -> FormMode | NoForm:
    order = order_card.order(reader, number)
    if order is None:
        return NoForm(f"Направления {number} нет.", "Проверьте номер. Поиск по исследованиям:", "/")
    if not clinic.shares_accession_numbers or not referrals.may_share_number(order):
        what = f"Под номером {number} ещё одно исследование записать нельзя."
        how = "Запишите его обычным направлением: у него будет свой номер."
        return NoForm(what, how, "", "Новое направление", "/desk")
    return AnotherMode(order, tuple(order_card.others_of_request(reader, order)))


def _incoming(reader: Reader, services: Services, id: int) -> FormMode | NoForm:
    referral = inbox.referral(reader, id)
    if referral is None:
        return NoForm("Такого направления нет.", "Проверьте адрес.", "", "К входящим", "/incoming")
    system = services.settings.system_procedure
    draft = incoming_referrals.draft_of(referral, lookups.procedures(reader), services.now(), system_procedure=system)
    patient = patient_index.match(reader, draft.patient).patient
    if patient:  # what is known to the other clinic only
        blank = {key: getattr(draft.patient, key) for key in ("snils", "policy", "phone") if not getattr(patient, key)}
        patient = replace(patient, **blank, weight=draft.patient.weight or patient.weight)
        patient = replace(patient, height=draft.patient.height or patient.height)
    mode = IncomingMode(referral, clinic_name(reader, referral), draft, patient)
    over = mode.closed_reason(reader)
    return NoForm("Записывать нечего.", over, "", "К входящим", "/incoming") if over else mode


def _walk_in(reader: Reader, services: Services, sop_instance_uid: str) -> FormMode | NoForm:
    study = desk.walk_in(reader, sop_instance_uid)
    if study is None:
        return NoForm("Такого исследования нет.", "Проверьте адрес.", "", "К доске", "/board")
    if study.accession_number:
        how = f"Их направление: {study.accession_number}."
        return NoForm("Эти снимки уже привязаны.", how, "", "Открыть", links.card(study.accession_number))
    return WalkInMode(study, study.step.start or services.now())


def _archived(reader: Reader, services: Services, id: int) -> FormMode | NoForm:
    study = desk.archived_walk_in(reader, id)
    if study is None or not study.is_open:
        word, path = "К снимкам без направления", "/archive?show=unreferred"
        return NoForm("Этих снимков среди ожидающих нет.", ARCHIVED_ALREADY, "", word, path)
    return ArchivedMode(study, study.unreferred.study.start or services.now())


def clinic_name(reader: Reader, referral: IncomingReferral) -> str:
    """Return the name of the referring clinic or of the local client."""
    if referral.source != incoming_referrals.BUS:
        return referral.source
    guid = referral.requester or ""
    return words.clinic(directory_search.organisation_name(reader, guid), guid)
