"""What another clinic has made of our referral stands on the referral's own card."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from nicegui.testing import User

from broker.domain.reading.reports import ExternalStudy
from broker.store.database import Tx
from broker.store.tables.studies import external_studies
from broker.store.tables.studies.external_studies import StoredStudy
from broker.workflow.referrals import referrals
from tests.support import factory
from tests.support.clock import TODAY
from tests.support.factory import CLINIC, REGISTRAR
from tests.ui.scene import Scene

pytestmark = pytest.mark.usefixtures("scene")  # all of it is that day
THEM = "3b9d1c6a-7e42-4f0b-8a55-1d2c3e4f5a61"
REPORT = ExternalStudy(
    "DiagnosticReport/1",
    "final",
    THEM,
    TODAY,
    "DX",
    description="Щель сужена.",
    conclusion="Гонартроз 2 степени.",
    recommendations="Консультация ортопеда.",
    effective_dose=0.01,
    doctor="Белов Павел Сергеевич",
)


async def test_the_report_of_the_clinic_that_performed_it_is_on_the_card_as_it_is_now(scene: Scene, user: User) -> None:
    draft = factory.draft(owner=THEM, station_ae_titles=(), start=scene.local("10:00"))
    order = scene.store.write(referrals.register, draft, REGISTRAR, CLINIC)

    def tell(study: ExternalStudy) -> None:
        scene.now += timedelta(minutes=1)

        def put(tx: Tx) -> None:
            stored = StoredStudy(study, str(scene.now), scene.now)
            external_studies.put(tx, order.patient.stored_id, stored, order.id)
            tx.notify()

        scene.store.write(put)

    await user.open(f"/order/{order.accession_number}")
    await user.should_not_see("Результат")
    tell(REPORT)
    for words in ("Результат", "Щель сужена.", "Гонартроз 2 степени.", "Консультация ортопеда.", "0,01 мЗв"):
        await user.should_see(words)
    await user.should_see("Белов Павел Сергеевич")
    tell(replace(REPORT, status="corrected", conclusion="Гонартроз слева."))
    await user.should_see("Гонартроз слева.")
    await user.should_not_see("Гонартроз 2 степени.")
    tell(replace(REPORT, status="entered-in-error", conclusion=""))
    await user.should_see("Клиника отозвала этот протокол.")
