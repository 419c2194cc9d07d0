"""Reports of modalities without a study: they are seen, and a person says whose they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nicegui import ui
from nicegui.testing import User

from broker.domain.actors import Actor, ActorKind
from broker.domain.studies.dose import DoseReport, IrradiationEvent, Measured, Quantity
from broker.domain.studies.received import ReceivedKind, ReceivedObject
from broker.store.tables.studies import received_objects
from broker.workflow.studies import received_objects as use_cases
from tests.ui.scene import Scene, press
from ui.text import received as said

DEVICE = Actor(ActorKind.DEVICE, "XRAY_14", "Рентген")
DOSE = DoseReport(
    (Measured(Quantity.DAP, 1.07e-5, "Gy.m2"),),
    (IrradiationEvent("1.2.9.1", (Measured(Quantity.DAP, 1.07e-5, "Gy.m2"),)),),
)
REPORT = ReceivedObject(
    "1.2.9",
    "1.2.840.10008.5.1.4.1.1.88.67",
    ReceivedKind.DOSE,
    "XRAY_14",
    title="X-Ray Radiation Dose Report",
    patient_name="Кузнецова^Марина",
    patient_birth_date="19610312",
    dataset=b"x",
    digest="1",
)


def hold(scene: Scene, **changes: Any) -> None:
    scene.store.write(use_cases.receive, replace(REPORT, **changes), DOSE, DEVICE)


async def test_a_report_without_a_study_waits_and_is_joined_with_the_one_that_a_person_names(
    scene: Scene, user: User
) -> None:
    order = scene.register("09:50")
    hold(scene)
    await user.open("/archive")
    await user.should_see(said.HELD)
    await user.should_see("Отчёт о дозе: «Кузнецова Марина», 12.03.1961, аппарат XRAY_14")
    press(user, "Найти исследование")
    await user.should_see("Назовите его исследование.")
    [field] = [each for each in user.find(ui.input).elements if each.props.get("for") == "join-number"]
    field.set_value(order.accession_number)
    press(user, "Сверить")
    await user.should_see("Кузнецова М. П.")
    press(user, "Отнести")
    await user.should_see(f"Отчёт отнесён: {order.accession_number}")
    await user.should_not_see(said.HELD)
    await user.open(f"/order/{order.accession_number}")
    await user.should_see(said.DOSE)


async def test_a_report_of_another_patient_says_so_and_is_joined_only_by_who_is_sure(scene: Scene, user: User) -> None:
    order = scene.register("09:50")
    hold(scene, accession_number=order.accession_number, patient_name="Зуев^Пётр", patient_birth_date="19800101")
    await user.open("/archive")
    await user.should_see("Другой пациент")
    await user.should_see(f"Направление {order.accession_number}.")
    press(user, "Найти исследование")
    await user.should_see("Это один человек, отнести")
    press(user, "Это один человек, отнести")
    await user.should_see("Отчёт отнесён")
    with scene.store.read() as reader:
        assert len(received_objects.of_order(reader, order.id)) == 1
