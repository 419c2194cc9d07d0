"""The sheet of doses: what a device has measured stands beside the effective dose."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

from pypdf import PdfReader

from broker.domain.clinic.directory import Entry
from broker.store.queries import patient_cards
from broker.store.queries.studies import received
from broker.workflow.directories import DirectorySource, replace_directory
from broker.workflow.studies import received_objects as use_cases
from broker.workflow.studies.dose_procedures import set_prophylactic
from broker.workflow.studies.effective_doses import recalculate
from tests.support.clock import ZONE
from tests.support.factory import SYSTEM
from tests.ui.archive.test_received import DEVICE, DOSE, REPORT
from tests.ui.scene import Scene
from ui.desk import history
from ui.patients import dose_sheet


def test_a_measured_dose_and_the_effective_one_that_follows_stand_on_the_sheet(scene: Scene) -> None:
    order = scene.register("09:20")
    details = {"quantity": "ПДП", "coefficient": "0,2", "unit": "мкЗв/(сГр·см²)"}
    source = DirectorySource("dose-coefficients", "", "", "c.csv")
    scene.store.write(replace_directory, source, [Entry("R-1", "Физик", details)], SYSTEM)
    scene.begin(order, "1.2.3.4")
    scene.finish("1.2.3.4")
    scene.store.write(use_cases.receive, replace(REPORT, study_instance_uid=order.study_instance_uid), DOSE, DEVICE)
    with scene.store.read() as reader:
        found = patient_cards.read(reader, order.patient.patient_id)
        measured = received.doses(reader, [order.id])
    assert found is not None
    sheet = dose_sheet.draw(dose_sheet.content(found, scene.local("10:00"), ZONE, "Клиника на Заречной", measured))
    assert "10,7 сГр·см²" in sheet
    assert "За 12 месяцев: 0,00214 мЗв" in sheet or "За 12 месяцев: 0,0021" in sheet


def test_prophylactic_studies_have_a_remark_and_a_sum_of_their_own(scene: Scene) -> None:
    order = scene.register("09:20")
    scene.store.write(set_prophylactic, frozenset({order.procedure_code}), SYSTEM)
    scene.begin(order, "1.2.3.4")
    scene.finish("1.2.3.4")
    details = {"quantity": "процедура", "coefficient": "1,2", "unit": "мЗв"}
    source = DirectorySource("dose-coefficients", "", "", "c.csv")
    with scene.store.read() as reader:
        found = patient_cards.read(reader, order.patient.patient_id)
    assert found is not None
    sheet = dose_sheet.draw(dose_sheet.content(found, scene.local("10:00"), ZONE, "Клиника на Заречной"))
    assert "профилактическое" in sheet
    assert "Из них профилактические: доза неизвестна" in sheet
    scene.store.write(replace_directory, source, [Entry("R-1", "Физик", details)], SYSTEM)
    scene.store.write(recalculate, order.id)
    with scene.store.read() as reader:
        found = patient_cards.read(reader, order.patient.patient_id)
        warned = history.read(reader, order.patient)
    assert found is not None
    sheet = dose_sheet.draw(dose_sheet.content(found, scene.local("10:00"), ZONE, "Клиника на Заречной"))
    assert "Из них профилактические: 1,2 мЗв (предел 1 мЗв в год, превышен)." in sheet
    on = scene.local("10:00").date()
    assert history.prophylactic(warned, order.procedure_code, on) == (
        "Профилактическая доза за год уже 1,2 мЗв, предел 1 мЗв."
    )
    assert history.prophylactic(warned, "OTHER", on) == ""


def test_the_sheet_is_printed_as_pdf_with_all_of_its_lines(scene: Scene) -> None:
    for place in range(60):  # more than a page
        order = scene.register(f"{9 + place // 12:02}:{place % 12 * 5:02}")
        scene.begin(order, f"1.2.3.{place}")
        scene.finish(f"1.2.3.{place}")
    with scene.store.read() as reader:
        found = patient_cards.read(reader, order.patient.patient_id)
    assert found is not None
    made = dose_sheet.content(found, scene.local("18:00"), ZONE, "Клиника на Заречной")
    read = PdfReader(BytesIO(dose_sheet.pdf(made)))
    whole = " ".join(" ".join(page.extract_text() for page in read.pages).split())
    assert len(read.pages) > 1
    assert "Лист учёта доз: Кузнецова Марина Петровна" in whole
    assert "не меньше" not in whole
    assert "За 12 месяцев доз нет; у 60 исследований доза неизвестна." in whole
    assert len(made.rows) == 60
