"""What was not imported is on the board and on a page of its own, with the reason and what to do."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from broker.domain.import_result import ImportSource, Reason
from broker.domain.orders import Order
from broker.domain.patients.people import PersonName
from broker.imports import referral_columns, referral_row
from broker.imports.referral_import import ReferralImport
from broker.store.tables.import_refusals import ImportRefusal
from broker.workflow.referrals import import_refusals, referrals
from tests.support import factory
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, SYSTEM
from tests.ui.conftest import person
from tests.ui.incoming.test_page import find_link
from tests.ui.scene import Scene, press
from ui.services import Services
from ui.text import refused

ROOT = Path(__file__).parents[3]
HEADER = "ФИО;Дата рождения;Пол;Исследование;Аппарат;Дата;Время"
ROW = "Зуева Анна Павловна;31.02.1970;ж;WLB-FLG1;FLG_12;24.11.2026;12:00"


def refuse(services: Services) -> Order:
    """Let a worklist file contradict a card of ours."""
    order = services.store.write(referrals.register, factory.draft(), REGISTRAR, CLINIC)
    reason = Reason("other_birth_date", "another date of birth", about=order.patient.patient_id)
    refusal = ImportRefusal(ImportSource.WORKLIST_FILE, "/wl/Попова.wl", 0, "1", (reason,))
    named = replace(KUZNETSOVA, name=PersonName("Попова", "Анна"), patient_id=order.patient.patient_id)
    services.store.write(import_refusals.note, refusal.of(named), SYSTEM)
    return order


def load(services: Services, *rows: str) -> None:
    table = referral_columns.read("\n".join((HEADER, *rows)).encode())
    list(ReferralImport(services.store, REGISTRAR, CLINIC).run(table, "/lists/завод.csv"))


async def test_a_refused_file_is_on_the_board_and_its_page_says_what_to_do(services: Services) -> None:
    order = refuse(services)
    async with person(services) as user:
        await user.open("/board")
        await user.should_see("Не принято из файлов")
        await user.should_see(
            f"Попова.wl: под номером карты {order.patient.patient_id} у нас человек с другой датой рождения."
        )
        assert find_link(user, "Посмотреть") == "/refused"
        await user.open("/refused")
        await user.should_see("1 файл рабочего списка")
        await user.should_see("Попова Анна, 12.03.1961, карта 000001")
        await user.should_see("У нас: Кузнецова Марина Петровна, 12.03.1961, карта 000001")
        await user.should_see("Если верно в файле, исправьте карту; если номер не его, исправьте файл.")
        assert find_link(user, "Открыть карту") == "/patient/000001"
        press(user, "Не нужно")
        await user.should_see("Всё, что было в файлах, принято.")
        await user.open("/board")
        await user.should_not_see("Не принято из файлов")


async def test_rows_of_a_table_are_listed_with_column_and_reason_and_go_when_the_table_is_right(
    services: Services,
) -> None:
    load(services, ROW, ROW.replace("FLG_12", "FLG_13"))
    async with person(services) as user:
        await user.open("/refused")
        await user.should_see("2 строки таблиц")
        await user.should_see("«Дата рождения»: это не дата, например 12.03.1961 («31.02.1970»).")
        await user.should_see("Строка 3")
        await user.should_see("Исправьте строки в таблице и загрузите её снова")
        load(services, ROW.replace("31.02.1970", "01.02.1970"))
        await user.should_see("Всё, что было в файлах, принято.")


async def test_what_became_another_patients_since_it_was_shown_is_not_dismissed(services: Services) -> None:
    order = refuse(services)
    async with person(services) as user:
        await user.open("/refused")
        await user.should_see("Попова Анна")
        reason = Reason("other_sex", "another sex", about=order.patient.patient_id)
        refusal = ImportRefusal(ImportSource.WORKLIST_FILE, "/wl/Попова.wl", 0, "2", (reason,), "Ли Ольга")
        services.store.write(import_refusals.note, refusal, SYSTEM)
        press(user, "Не нужно")
        await user.should_see("посмотрите ещё раз")
        await user.should_see("Ли Ольга")


async def test_similar_cards_from_a_table_stand_on_the_board_until_a_person_tells_them_apart(
    scene: Scene, services: Services
) -> None:
    scene.register("10:00")
    load(services, ROW.replace("Зуева Анна Павловна;31.02.1970", "Кузнецва Марина Петровна;12.03.1961"))
    async with person(services) as user:
        await user.open("/board")
        await user.should_see("Из файлов записаны похожие пациенты")
        like = "Кузнецва Марина Петровна похож на карту 000001: имя отличается одной буквой, дата та же."
        await user.should_see(f"завод.csv: {like}")
        assert find_link(user, "Посмотреть") == "/refused"
        await user.open("/refused")
        await user.should_see("Кузнецва Марина Петровна, 12.03.1961, карта 000002")
        await user.should_see(like)
        await user.should_see("Строка 2")
        assert find_link(user, "Сравнить") == "/patient/000001/merge/000002"
        press(user, "Это разные люди")
        await user.should_see("Всё, что было в файлах, принято.")
        await user.open("/board")
        await user.should_not_see("Из файлов записаны похожие пациенты")


async def test_a_row_that_contradicts_a_card_is_shown_with_the_card(scene: Scene, services: Services) -> None:
    scene.register("10:00")
    header = f"{HEADER};Номер карты"
    table = referral_columns.read(f"{header}\n{ROW.replace('31.02.1970', '01.02.1970')};000001".encode())
    list(ReferralImport(services.store, REGISTRAR, CLINIC).run(table, "/lists/завод.csv"))
    async with person(services) as user:
        await user.open("/refused")
        await user.should_see(
            "(«01.02.1970»), «Номер карты» («000001»): под номером карты 000001 у нас человек с другой датой"
        )
        await user.should_see("У нас: Кузнецова Марина Петровна, 12.03.1961, карта 000001")


async def test_who_only_reads_sees_it_and_dismisses_nothing(services: Services) -> None:
    refuse(services)
    async with person(services, "volskaya") as user:
        await user.open("/refused")
        await user.should_see("Попова.wl")
        await user.should_not_see("Не нужно")


def test_every_reason_has_its_words() -> None:
    sources = [
        ROOT / "broker/workflow/referrals/worklist_files.py",
        ROOT / "broker/workflow/patients/imported_patients.py",
    ]
    sources.append(ROOT / "broker/dicom/files/worklist_import.py")
    text = "".join(path.read_text("utf-8") for path in sources)
    codes = set(
        re.findall(r'"(other_\w+|\w+_taken|order_\w+|\w+_cancelled|no_\w+|several_\w+|number_of_\w+|twice)"', text)
    )
    codes = {code for code in codes if code not in ("other_patient",)} | {"accession_number_taken", "unreadable"}
    assert len(codes) > 10
    assert codes <= set(refused.FILES)
    assert set(referral_row.REASONS) <= set(refused.ROWS)
