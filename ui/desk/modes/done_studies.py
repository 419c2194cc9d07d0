"""The modes of the desk's form for what was made without a referral: on a device, or as the archive holds it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from datetime import datetime

from broker.domain.actors import Actor
from broker.domain.clinic.settings import Clinic
from broker.domain.orders import Order, ReferralDraft
from broker.domain.patients import names
from broker.domain.patients.confirmation import Confirmation
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.security.permissions import Permission
from broker.store.database import Reader, Store
from broker.store.queries import desk
from broker.store.queries.desk import ArchivedWalkIn, WalkIn
from broker.store.queries.patients import patient_index
from broker.workflow.referrals import referrals, unreferred_studies
from ui.desk.modes.referrals import FormMode
from ui.desk.referral.field_values import ReferralOptions
from ui.desk.referral.form import ReferralForm
from ui.text import links


class DoneMode(FormMode):
    """A study that was made without a referral; the form begins with the patient whom the device has named."""

    new = False
    warns_of_repeats = False
    planned = False
    needs = frozenset({Permission.REGISTER, Permission.LINK})

    def after_saving(self, number: str) -> str:
        return links.card(number)

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
