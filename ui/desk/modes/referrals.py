"""The modes of the desk's form for what is planned: a new referral, a change, one more study, an incoming referral.

A mode decides what the fields contain at first, what may be typed, which use case saves it and which page follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from broker.domain.actors import Actor
from broker.domain.clinic.devices import Device
from broker.domain.clinic.settings import Clinic
from broker.domain.incoming import IncomingReferral, IncomingState
from broker.domain.orders import Order, ReferralDraft
from broker.domain.patients import names
from broker.domain.patients.confirmation import Confirmation
from broker.domain.patients.people import Patient
from broker.security.permissions import Permission
from broker.store.database import Reader, Store
from broker.store.queries import directory_search, inbox
from broker.store.queries.order_card import Card
from broker.workflow.referrals import incoming_referrals, referrals
from ui.desk.referral.field_values import ReferralOptions, ReferralRules
from ui.desk.referral.form import ReferralForm
from ui.text import bus, links, words


@dataclass(frozen=True)
class FormMode(ReferralRules):
    """A new referral."""

    needs = frozenset({Permission.REGISTER})
    new = True  # a draft is kept, and the form is used for one referral after another
    searches = True
    warns_of_repeats = True  # warn of repeated studies
    planned = True  # the study is in the future, so its time must be free
    asks_region = True  # the region may be asked who is typed

    def after_saving(self, number: str) -> str:
        """Return the address to go to, by the accession number; empty: the form is emptied for the next one."""
        return ""

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

    def after_saving(self, number: str) -> str:
        return links.card(number)

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

    def after_saving(self, number: str) -> str:
        return links.card(number)

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

    def after_saving(self, number: str) -> str:
        return f"/incoming?{urlencode({'saved': number})}"

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


def clinic_name(reader: Reader, referral: IncomingReferral) -> str:
    """Return the name of the referring clinic or of the local client."""
    if referral.source != incoming_referrals.BUS:
        return referral.source
    guid = referral.requester or ""
    return words.clinic(directory_search.organisation_name(reader, guid), guid)
