"""On the card of what is still to be done one may ask why it is not on the device."""

from __future__ import annotations

from datetime import timedelta

import pytest
from nicegui.testing import User
from pydicom.dataset import Dataset

from broker.dicom.devices import samples
from broker.store.database import Tx
from broker.store.tables import devices
from tests.ui.scene import Scene, buttons, press

WHY = "Почему не на аппарате?"


pytestmark = pytest.mark.usefixtures("scene")  # all of it is that day


def ask(scene: Scene, ae_title: str, **step: str) -> None:
    """Let a device ask for its list."""
    query, item = Dataset(), Dataset()
    for keyword, value in step.items():
        setattr(item, keyword, value)
    query.PatientName = "Иванов*"
    query.ScheduledProcedureStepSequence = [item]

    def hear(tx: Tx) -> None:
        devices.note_contact(tx, ae_title, "worklist", "10.0.4.14", "0")
        devices.keep_sample(tx, ae_title, "worklist", samples.mask(query))

    scene.store.write(hear)


async def test_the_reason_and_what_to_do_are_shown_for_each_device(scene: Scene, user: User) -> None:
    order = scene.register("10:00", station_ae_titles=("XRAY_14", "FLG_12"))
    scene.now += timedelta(minutes=1)
    ask(scene, "XRAY_14", Modality="CR", ScheduledProcedureStepStartDate="20261124")
    await user.open(f"/order/{order.accession_number}")
    press(user, WHY)
    await user.should_see("Рентген, каб. 14: не виден")
    await user.should_see("Флюорограф, каб. 12: виден")
    await user.should_see("Назначено на этот аппарат")
    await user.should_see("Аппарат спрашивал список в 09:48")
    await user.should_see("Аппарат спросил этот день")
    await user.should_see("Аппарат спросил только вид CR, а направление DX")
    await user.should_see("На аппарате уберите отбор по виду исследования или поправьте вид в справочнике.")
    await user.should_see("В последнем запросе был отбор по пациенту (PatientName); кого искали, не храним")
    await user.should_see("Аппарат ещё ни разу не спрашивал список")
    await user.should_not_see("Иванов")


async def test_a_started_order_is_not_searched_for_any_more(scene: Scene, user: User) -> None:
    order = scene.register("10:00")
    await user.open(f"/order/{order.accession_number}")
    assert WHY in buttons(user)
    scene.begin(order, "1.2.3")
    await user.open(f"/order/{order.accession_number}")
    assert WHY not in buttons(user)
