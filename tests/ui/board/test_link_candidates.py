"""Whose images a device has made without an order: who waits is offered first, anybody is found."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broker.dicom.codec import charset
from broker.dicom.worklist.response import Alterations, Style, fit_name
from broker.domain.orders import Order
from broker.domain.patients import names
from broker.domain.studies.performed import PerformedStep
from broker.store.queries.patients import patient_index
from broker.workflow.referrals import referrals
from tests.support.clock import TODAY
from tests.support.factory import CLINIC, REGISTRAR
from tests.ui.scene import Scene
from ui.board import layout, link_candidates


def unlinked(scene: Scene, **reported: str) -> PerformedStep:
    """Let a device make a study without an order, and return it."""
    scene.begin(None, "1.9", **reported)
    with scene.store.read() as reader:
        [found] = layout.read(reader, TODAY, TODAY, CLINIC.zone).unlinked
    return found.step


def found(scene: Scene, step: PerformedStep, typed: str = "") -> list[int]:
    with scene.store.read() as reader:
        return [visit.order.id for visit in link_candidates.find(reader, step, TODAY, typed).visits]


def cancel(scene: Scene, order: Order) -> None:
    scene.store.write(referrals.cancel, order.id, order.revision, "", REGISTRAR, CLINIC)


def test_who_waits_comes_first_by_device_then_what_was_made_and_what_was_cancelled(scene: Scene) -> None:
    mammography = scene.register("09:20", "Зуева Анна", procedure_code="WLB-MMG4", station_ae_titles=("MAMMO_9",))
    other_device = scene.register("09:20", "Попов Степан", procedure_code="WLB-FLG1", station_ae_titles=("FLG_12",))
    cancelled = scene.register("09:15", "Зуев Пётр Ильич")
    cancel(scene, cancelled)
    closed, running = scene.register("09:10", "Иванов Иван"), scene.register("09:10", "Фролова Дарья")
    scene.begin(running, "1.2.1")
    scene.begin(closed, "1.2.2")
    scene.finish("1.2.2")
    far, near = scene.register("15:00", "Ли Ен"), scene.register("09:30", "Белова Инна")
    named = scene.register("16:00", "Зуёв Пётр")
    step = unlinked(scene, patient_name="зуев^Петр", modality="DX")
    waiting = [named, near, far, other_device, mammography]
    assert found(scene, step) == [each.id for each in (*waiting, running, closed, cancelled)]


def test_any_visit_of_any_day_is_found_by_name_and_numbers(scene: Scene) -> None:
    today, scene.now = scene.now, scene.now - timedelta(days=40)
    past = scene.register("10:30", "Ли-Сон Ен", on=TODAY - timedelta(days=40))
    scene.now = today
    soon = scene.register("10:30", "Ли-Сон Ен", on=TODAY + timedelta(days=5))
    step = unlinked(scene, patient_name="X")
    assert found(scene, step) == []
    assert set(found(scene, step, "сон ли")) == {soon.id, past.id}
    assert found(scene, step, past.accession_number.replace("-", "")) == [past.id]
    assert found(scene, step, "кузн") == []


@pytest.mark.parametrize("letters", [charset.UTF_8, charset.CYRILLIC, charset.LATIN])
@pytest.mark.parametrize("longest", [64, 18])
@pytest.mark.parametrize("who", ["Кузнецова Марина Петровна", "Щукина Юлия Ёлкина", "О’Коннор Любовь Игоревна"])
def test_whom_a_device_names_as_it_was_given_the_name_comes_first_and_contradicts_nothing(
    scene: Scene, letters: str, longest: int, who: str
) -> None:
    order = scene.register("15:00", who)
    scene.register("09:15", "Козлова Мария")
    name = fit_name(names.to_dicom(order.patient.name), Style(letters, longest), Alterations())
    step = unlinked(
        scene,
        patient_name=name,
        patient_id=order.patient.patient_id,
        patient_birth_date="19610312",
        patient_sex="F",
    )
    assert found(scene, step)[0] == order.id
    with scene.store.read() as reader:
        assert patient_index.contradictions_of(reader, order.patient, step) == []
