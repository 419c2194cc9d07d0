"""An order that came from a script's worklist file is shown like any other, also where the file said little."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from nicegui import ui
from nicegui.testing import User

from broker.dicom.files import worklist_file
from broker.domain.orders import Order
from broker.store.queries import order_card
from broker.store.tables import orders
from broker.workflow.referrals import referrals, worklist_files
from tests.support.clock import TODAY, ZONE
from tests.support.factory import CLINIC, DEVICES, REGISTRAR, SYSTEM, draft
from tests.support.worklist_file import wl
from tests.ui.scene import Scene, only_table
from ui.order import label, timeline

UNKNOWN = "дата рождения неизвестна"


pytestmark = pytest.mark.usefixtures("scene")  # all of it is that day


def bring(scene: Scene, digest: str = "1", **changes: Any) -> Order:
    item, _ = worklist_file.read(wl(PatientBirthDate="", **changes))
    taken = scene.store.write(worklist_files.sync, item, "/wl/1.wl", digest, SYSTEM, CLINIC)
    with scene.store.read() as reader:
        order = orders.get(reader, taken.order_id)
    assert order is not None
    return order


async def test_pages_show_an_imported_order(scene: Scene, user: User) -> None:
    bring(scene)
    await user.open("/order/A1")
    await user.should_see(f", {UNKNOWN}")
    await user.open("/board")
    await user.should_see("Кузнецова")
    await user.open("/studies")
    await user.should_see(ui.table)
    [row] = only_table(user).rows
    assert (row["number"], row["born"]) == ("A1", f" {UNKNOWN}")


async def test_a_registrar_fills_in_what_the_script_did_not_know(scene: Scene, user: User) -> None:
    order = bring(scene)
    await user.open("/desk?order=A1")
    await user.should_see("A1")
    typed = draft(patient=replace(order.patient, birth_date=TODAY.replace(year=1961)), start=order.steps[0].start)
    changed = scene.store.write(referrals.amend, order.id, order.revision, typed, REGISTRAR, CLINIC)
    assert changed.patient.birth_date == TODAY.replace(year=1961)
    assert any("Дата рождения: записано «24.11.1961»" in line for line in reported(scene))


def reported(scene: Scene) -> list[str]:
    with scene.store.read() as reader:
        card = order_card.card(reader, "A1")
    assert card
    return [getattr(line, "what", "") for _, line in timeline.entries(card, DEVICES, ZONE, TODAY)]


def test_the_label_does_without_a_date_of_birth(scene: Scene) -> None:
    brought = bring(scene)
    assert UNKNOWN in label.draw(brought, brought.shown_number)


def test_the_life_of_a_file_is_shown_in_words(scene: Scene) -> None:
    bring(scene)
    scene.store.write(worklist_files.withdraw, "/wl/1.wl", SYSTEM, CLINIC)
    bring(scene)
    bring(scene, "2", ScheduledProcedureStepStartTime="110000")
    lines = reported(scene)
    for word in (
        "Взято из файла рабочего списка",
        "Файл рабочего списка убран, запись снята",
        "Файл рабочего списка вернулся, запись восстановлена",
        "Время изменено: 10:15 стало 11:00",
    ):
        assert word in lines
