"""What form 34 asks besides the texts is typed behind «Ещё», signed with them, printed, and corrected like them."""

from __future__ import annotations

import pytest
from nicegui import ui

from broker.domain.reading import report_form
from broker.domain.reading.reports import ReportChange
from broker.store.tables.reading import reports as stored
from broker.workflow.reading import reports
from tests.support.factory import CLINIC
from tests.support.waiting import wait_until_async
from tests.ui.conftest import person
from tests.ui.reading.report.test_page import DOCTOR, TEXT, done, kept, signing, write
from tests.ui.reading.report.test_revision import push
from tests.ui.scene import Scene
from ui.services import Services

pytestmark = pytest.mark.usefixtures("scene")
CONTRAST = {"contrast": "Йогексол 350, 80 мл в/в"}


async def test_what_is_typed_is_kept_signed_and_shown(services: Services, scene: Scene) -> None:
    order = done(scene)
    async with person(services, "volskaya") as user:
        await user.open(f"/reading/{order.accession_number}")
        await user.should_see("Ещё: цель, анамнез, контраст")
        write(user, conclusion="Норма.", contrast="Йогексол 350, 80 мл в/в", anamnesis=" ")
        [repeated] = [each for each in user.find(ui.select).elements if each.props.get("for") == "repeated"]
        repeated.set_value("повторное")
        await wait_until_async(lambda: (draft := kept(scene, order)) and draft.form)
        signing(user, 0)
        await user.should_see("Подписать протокол?")
        await user.should_see("Йогексол 350, 80 мл в/в")
    draft = kept(scene, order)
    assert draft
    assert report_form.unpack(draft.form) == {"repeated": "повторное", **CONTRAST}
    scene.store.write(reports.sign, order.id, draft.revision, reports.ReportText.of(draft), DOCTOR, CLINIC)
    async with person(services, "orlova") as user:
        await user.open(f"/order/{order.accession_number}")
        await user.should_see("Первичное или повторное")
        await user.should_see("Йогексол 350, 80 мл в/в")


async def test_a_correction_begins_with_what_was_signed_and_an_addition_keeps_it(
    services: Services, scene: Scene
) -> None:
    order = done(scene)
    signed = reports.ReportText("", "Норма.", form=report_form.pack(CONTRAST))
    scene.store.write(reports.sign, order.id, 0, signed, DOCTOR, CLINIC)
    addition = reports.Revision(ReportChange.ADDITION, "КТ назначена.")
    scene.store.write(reports.revise, order.id, 1, addition, DOCTOR, CLINIC)
    async with person(services, "volskaya") as user:
        await user.open(f"/reading/{order.accession_number}")
        push(user, "Исправить")
        await user.should_see("Что исправлено")
        write(user, reason="другая доза", **{"corrected-contrast": "Йогексол 350, 100 мл в/в"})
        push(user, "Подписать исправление")
        await user.should_see("Подписано, версия 3")
    with scene.store.read() as reader:
        forms = [report_form.unpack(each.form) for each in stored.versions(reader, order.id)]
    assert forms == [{"contrast": "Йогексол 350, 100 мл в/в"}, CONTRAST, CONTRAST]


async def test_a_field_that_is_too_long_is_shown_where_it_stands(services: Services, scene: Scene) -> None:
    order = done(scene)
    async with person(services, "volskaya") as user:
        await user.open(f"/reading/{order.accession_number}")
        write(user, conclusion="Норма.", remarks="х" * (report_form.LONGEST + 1))
        signing(user, 0)
        await user.should_see("Слишком длинно, сократите")


def test_only_the_same_fields_are_the_same_report(scene: Scene) -> None:
    order = done(scene)
    other = reports.ReportText(TEXT.description, TEXT.conclusion, form=report_form.pack(CONTRAST))
    first = scene.store.write(reports.save_report, order.id, 0, TEXT, DOCTOR, CLINIC)
    second = scene.store.write(reports.save_report, order.id, first.revision, other, DOCTOR, CLINIC)
    assert second.revision == first.revision + 1
