"""«Расхождения с архивом»: what does not fit is compared, and a person decides."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from nicegui import ui
from nicegui.testing import User

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.orders import Order, OrderState
from broker.domain.studies.archive import ArchiveStudy
from broker.store.database import Store
from broker.store.queries import schedule
from broker.store.queries.studies import archive_gaps
from broker.store.tables import orders
from broker.store.tables.studies import archive as archive_table
from broker.workflow.reading import reports
from broker.workflow.reading.reports import ReportText
from broker.workflow.referrals import referrals, unreferred_studies
from broker.workflow.studies import archive_images
from tests.peers import chromium
from tests.support.clock import TODAY, local
from tests.support.factory import CLINIC, REGISTRAR, SYSTEM
from tests.support.waiting import wait_until_async
from tests.ui.conftest import PASSWORD, Site, person
from tests.ui.desk.hands import Hands
from tests.ui.scene import Scene, buttons, drawn, press, texts
from ui.archive import unreferred
from ui.archive.comparison import compared_rows, contradictions
from ui.board import layout
from ui.services import Services
from ui.text import words

DOCTOR = Actor(ActorKind.PERSON, "volskaya", "Вольская Т. А.", frozenset({Role.RADIOLOGIST}))


def study(order: Order, **changes: str) -> ArchiveStudy:
    name = order.patient.name
    made = ArchiveStudy(
        order.study_instance_uid,
        order.accession_number,
        2,
        "DX",
        f"{name.family}^{name.given}",
        order.patient.patient_id,
        "19610312",
        local("09:33"),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def answer(scene: Scene, order: Order, *found: ArchiveStudy) -> None:
    scene.store.write(archive_images.record_answer, order.id, found, SYSTEM, CLINIC, settled=True)


def late(**changes: Any) -> ArchiveStudy:
    """Return a study that bears no order's number."""
    made = ArchiveStudy("1.2.3.9", "", 2, "DX", "Кузнецова^Марина", "", "19610312", local("09:15"), patient_sex="F")
    return replace(made, **changes)


def hold(scene: Scene, *found: ArchiveStudy) -> None:
    """Let the archive hold studies of today that belong to no order."""
    scene.store.write(unreferred_studies.record_day, TODAY, found, SYSTEM)


def state(store: Store, order: Order) -> OrderState:
    with store.read() as reader:
        return orders.require(reader, order.id).state


def waiting(store: Store) -> int:
    with store.read() as reader:
        return len(archive_gaps.open_studies(reader))


async def test_where_nothing_differs_the_page_says_when_it_was_last_compared(scene: Scene, user: User) -> None:
    await user.open("/archive")
    await user.should_see("Архив и направления сходятся.")
    scene.store.write(archive_table.note_answer)
    await user.open("/archive")
    await user.should_see("Последняя сверка в 09:47. Если снимки не пришли или чужие, они появятся здесь.")


async def test_the_gravest_is_compared_row_by_row_and_the_others_stand_below(scene: Scene, user: User) -> None:
    other = scene.register("09:10", "Попов Олег")
    mild, grave = scene.register("09:00"), scene.register("09:20", "Ёлкина Ольга")
    answer(scene, mild, study(mild, accession_number="9999-0001"))
    answer(scene, grave, study(grave, patient_name="Попов^Олег", patient_id=other.patient.patient_id))
    await user.open("/archive")
    await user.should_see("2 ждут решения")
    await user.should_see("Тот ли это пациент?")
    content = drawn(user, "Ёлкина Ольга")
    for word in ("другой человек", "Попов О., у нас есть", "совпал", "В направлении", "На снимках"):
        assert word in content
    await user.should_see("Другой номер исследования")
    await user.should_see(f"Кузнецова М. П., {mild.accession_number}")
    await user.open(f"/archive?order={mild.accession_number}")  # from the card: that one first
    assert "другой" in drawn(user, "9999-0001")


async def test_a_study_whose_patient_contradicts_is_taken_only_after_a_second_look(scene: Scene, user: User) -> None:
    order = scene.register("09:20")
    answer(scene, order, study(order, patient_name="Попов^Олег"))
    await user.open("/archive")
    press(user, "Это наше исследование")
    await user.should_see("В архиве иначе: Имя: «Попов Олег»")
    assert state(scene.store, order) is OrderState.SCHEDULED
    press(user, "Да, наше")
    await user.should_see("Исследование привязано")
    assert state(scene.store, order) is OrderState.COMPLETED
    await user.should_see("Архив и направления сходятся.")


async def test_a_study_that_lacks_only_signs_is_taken_at_once(scene: Scene, user: User) -> None:
    order = scene.register("09:20")
    answer(scene, order, study(order, patient_name="^^", patient_id=""))
    await user.open("/archive")
    press(user, "Это наше исследование")
    await user.should_see("Исследование привязано")
    assert state(scene.store, order) is OrderState.COMPLETED


async def test_anothers_study_goes_and_stays_away(scene: Scene, user: User) -> None:
    order = scene.register("09:20")
    theirs = study(order, patient_name="Попов^Олег")
    answer(scene, order, theirs)
    await user.open("/archive")
    press(user, "Чужое, не наше")
    await user.should_see("Больше не спросим")
    answer(scene, order, theirs)
    assert waiting(scene.store) == 0
    assert state(scene.store, order) is OrderState.SCHEDULED


async def test_what_was_called_anothers_can_be_taken_back(scene: Scene, user: User) -> None:
    order = scene.register("09:20")
    answer(scene, order, study(order, patient_name="Попов^Олег"))
    await user.open("/archive")
    press(user, "Чужое, не наше")
    await user.should_see("В архиве «Попов Олег», направление K2611-0001, Кузнецова М. П.")
    press(user, "Вернуть")
    await user.should_see("Снова ждёт решения")
    await user.should_see("Тот ли это пациент?")
    assert waiting(scene.store) == 1


async def test_what_was_called_ours_can_be_taken_back_as_well(scene: Scene, user: User) -> None:
    order = scene.register("09:20")
    answer(scene, order, study(order, accession_number="9999-0001"))
    await user.open("/archive")
    press(user, "Это наше исследование")
    press(user, "Да, наше")
    await user.should_see("Исследование привязано")
    await user.should_see("Вернуть")
    press(user, "Вернуть")
    await user.should_see("Снова ждёт решения")
    assert waiting(scene.store) == 1
    assert state(scene.store, order) is OrderState.SCHEDULED


async def test_an_open_page_learns_of_a_discrepancy(scene: Scene, user: User) -> None:
    order = scene.register("09:20")
    await user.open("/archive")
    await user.should_see("Архив и направления сходятся.")
    answer(scene, order, study(order, patient_name="Попов^Олег"))
    await user.should_see("Тот ли это пациент?")


@pytest.mark.parametrize(("login", "decides"), [("yudin", True), ("volskaya", False), ("admin", False)])
async def test_who_may_not_link_sees_and_does_not_decide(
    scene: Scene, services: Services, login: str, *, decides: bool
) -> None:
    order = scene.register("09:20")
    answer(scene, order, study(order, patient_name="Попов^Олег"))
    async with person(services, login) as somebody:
        await somebody.open("/archive")
        await somebody.should_see("Тот ли это пациент?")
        assert ("Чужое, не наше" in buttons(somebody)) == decides


async def test_board_and_card_lead_to_it(scene: Scene, user: User) -> None:
    order = scene.register("09:20")
    answer(scene, order, study(order, patient_name="Попов^Олег"))
    await user.open("/board")
    await user.should_see("В архиве: тот ли это пациент?")
    assert "Сравнить" in texts(user, "btn-small")
    await user.open(f"/order/{order.accession_number}")
    await user.should_see("В архиве: тот ли это пациент?")
    await user.should_see("Сравнить")


FOLLOWED = replace(CLINIC, images_within=timedelta(minutes=30))


@pytest.fixture
def performed(scene: Scene) -> Order:
    """A study that its device has reported as performed at 09:47, with three images."""
    order = scene.register("09:20")
    scene.begin(order, "1.2.3")
    scene.finish("1.2.3", images=3)
    return order


async def test_images_that_do_not_come_in_time_are_missed_until_a_person_says_that_none_will(
    scene: Scene, services: Services, performed: Order
) -> None:
    answer(scene, performed)
    async with person(replace(services, clinic=FOLLOWED)) as somebody:
        await somebody.open("/board")
        await somebody.should_not_see("Снимки не пришли")
        scene.now += timedelta(minutes=31)
        answer(scene, performed)
        for path in ("/board", f"/order/{performed.accession_number}", "/archive"):
            await somebody.open(path)
            await somebody.should_see("Снимки не пришли")
            await somebody.should_see("ообщил о конце (09:47), а в архиве снимков нет")
        await somebody.should_see("Снимков нет 31 мин")
        press(somebody, "Снимков не будет")
        await somebody.should_see("о снимках больше не напомним.")
        press(somebody, "Больше не ждать")
        await somebody.should_see("Напишите, где снимки или почему их нет")
        press(somebody, "на плёнке")
        press(somebody, "Больше не ждать")
        await somebody.should_see("Архив и направления сходятся.")
        await somebody.open(f"/order/{performed.accession_number}")
        await somebody.should_see("Отмечено: снимков не будет.")
        await somebody.should_see("Отмечено: снимков в архиве не будет: на плёнке")
        await somebody.should_not_see("Снимки не пришли")


def test_the_board_shows_what_the_archive_has_rather_than_what_a_device_reported(
    scene: Scene, performed: Order
) -> None:
    def shown() -> list[str]:
        with scene.store.read() as reader:
            visits = schedule.day(reader, TODAY)
        return [word for word, shows in layout.FILTERS.items() if shows(visits[0])] + [words.visit_state(visits[0])]

    assert shown() == ["Все", "Выполнены", "Без описания", "done"]
    answer(scene, performed)
    assert shown() == ["Все", "Выполнены", "Без снимков", "Без описания", "done"]
    answer(scene, performed, study(performed))
    assert shown() == ["Все", "Выполнены", "Без описания", "archived"]


async def test_images_that_come_late_are_missed_no_more(scene: Scene, services: Services, performed: Order) -> None:
    scene.now += timedelta(minutes=31)
    answer(scene, performed)
    async with person(replace(services, clinic=FOLLOWED)) as somebody:
        await somebody.open("/archive")
        await somebody.should_see("Снимки не пришли")
        answer(scene, performed, replace(study(performed), images=3))
        await somebody.should_see("Архив и направления сходятся.")


async def test_the_card_says_when_the_archive_has_other_numbers_of_images(
    scene: Scene, services: Services, performed: Order
) -> None:
    answer(scene, performed, study(performed))
    scene.now += timedelta(minutes=31)
    async with person(replace(services, clinic=FOLLOWED)) as user:
        await user.open(f"/order/{performed.accession_number}")
        await user.should_see("Аппарат сообщил о 3, в архиве 2.")
        answer(scene, performed, replace(study(performed), images=3))
        await user.open(f"/order/{performed.accession_number}")
        await user.should_see("3 снимка")
        await user.should_not_see("Аппарат сообщил о")


async def test_images_that_are_gone_after_the_report_was_signed_are_shown_until_a_doctor_has_looked(
    scene: Scene, services: Services, performed: Order
) -> None:
    number = performed.accession_number
    answer(scene, performed, replace(study(performed), images=3))
    scene.store.write(reports.sign, performed.id, 0, ReportText(conclusion="Норма"), DOCTOR, CLINIC)
    answer(scene, performed, replace(study(performed), images=1))
    async with person(services, "volskaya") as doctor:
        await doctor.open("/board")
        await doctor.should_see("Снимков стало меньше, чем видел врач")
        await doctor.should_see("снимков 1, было 3. Протокол подписан, когда снимков было больше.")
        await doctor.open(f"/order/{number}")
        await doctor.should_see("После подписи снимков в архиве стало меньше.")
        await doctor.should_see("В архиве стало меньше снимков: было 3, стало 1")
        await doctor.open("/archive")
        await doctor.should_see("Снимков 1, было 3")
        await doctor.should_see("Открыть протокол")
        await doctor.open(f"/reading/{number}")
        await doctor.should_see("После подписи снимков в архиве стало меньше.")
        press(doctor, "Протокол верен")
        await doctor.should_see("Подтверждено: протокол об этих снимках")
        await doctor.open("/archive")
        await doctor.should_not_see("Снимков 1, было 3")


def test_what_says_nothing_is_not_held_against_a_study(scene: Scene) -> None:
    order = scene.register("09:20")
    empty = study(order, patient_name="^^", patient_id="", birth_date="", accession_number="", modality="")
    rows = {each.name: each.fits for each in compared_rows(order, replace(empty, start=None, images=None))}
    assert rows.pop("UID исследования") is True
    assert set(rows.values()) == {None}
    assert contradictions(compared_rows(order, empty)) == ""


async def test_a_study_under_a_uid_of_its_own_that_fits_is_taken_by_one_click(scene: Scene, user: User) -> None:
    order = scene.register("09:20")
    answer(scene, order, study(order, study_instance_uid="1.2.3", patient_sex="F"))
    await user.open("/archive")
    await user.should_see("Номер наш, UID нет")
    assert "свой, аппарата" in drawn(user, "UID исследования")
    press(user, "Это наше исследование")
    await user.should_see("Исследование привязано")
    assert state(scene.store, order) is OrderState.COMPLETED


def test_every_trait_that_differs_is_named(scene: Scene) -> None:
    order = scene.register("09:20")
    wrong = ArchiveStudy("1.2", "9", 1, "DX", "Попов^Олег", "D-1", "19600101", local("09:33").replace(year=2019), "M")
    wrongs = {each.name for each in compared_rows(order, wrong) if each.fits is False}
    assert wrongs == {"Имя", "Дата рождения", "Пол", "Номер карты", "Номер исследования", "UID исследования", "Когда"}


async def test_a_study_without_a_referral_is_compared_with_the_one_that_fits_and_linked(
    scene: Scene, user: User
) -> None:
    hold(scene, late())
    await user.open("/archive")
    await user.should_see("Снимки без направления")
    await user.should_see("«Кузнецова Марина», Рентген, 24.11.2026 09:15, 2 снимка")
    await user.should_see("Ни одно направление этих дней не подходит по пациенту.")
    order = scene.register("09:50")
    await user.should_see("По пациенту и дню подходит Кузнецова М. П., K2611-0001.")
    assert "не указан" in drawn(user, "Номер исследования")
    assert state(scene.store, order) is OrderState.SCHEDULED
    press(user, "Это снимки: Кузнецова М. П.")
    await user.should_see("Исследование привязано: K2611-0001")
    assert state(scene.store, order) is OrderState.COMPLETED
    await user.should_see("Вернуть")


async def test_where_several_referrals_fit_a_person_chooses_one(scene: Scene, user: User) -> None:
    hold(scene, late())
    order, other = scene.register("09:50"), scene.register("15:00", comment="другое")
    await user.open("/archive")
    await user.should_see(f"подходит Кузнецова М. П., {order.accession_number} и ещё 1.")
    await user.should_not_see("Это снимки: Кузнецова М. П.")
    press(user, "Сравнить")
    await user.should_see("Связать: Кузнецова М. П.")
    press(user, "Связать: Кузнецова М. П.")
    await user.should_see("Исследование привязано: K2611-0001")
    assert [state(scene.store, each) for each in (order, other)] == [OrderState.COMPLETED, OrderState.SCHEDULED]


async def test_who_fits_by_name_alone_is_not_taken_by_one_key(scene: Scene, user: User) -> None:
    hold(scene, late(birth_date=""))
    scene.register("09:50")
    await user.open("/archive")
    await user.should_see("Сравнить")
    await user.should_not_see("Это снимки: Кузнецова М. П.")


async def test_discrepancies_and_studies_without_a_referral_have_a_tab_each_with_counts(
    scene: Scene, user: User
) -> None:
    order = scene.register("09:20", "Ёлкина Ольга")
    answer(scene, order, study(order, patient_name="Попов^Олег"))
    hold(scene, late(), late(study_instance_uid="1.2.3.8", patient_name="Зуев^Пётр"))
    await user.open("/archive")
    await user.should_see("Тот ли это пациент?")
    await user.should_not_see("«Кузнецова Марина»")
    pills = [each for each in user.find(ui.element).elements if "aria-pressed" in each.props]
    pills.sort(key=lambda each: each.id)  # a set has no order
    assert [[part.text for part in pill.descendants() if hasattr(part, "text")] for pill in pills] == [
        ["Расхождения", "1"],
        ["Снимки без направления", "2"],
    ]
    press(user, "Снимки без направления")
    await user.should_see("«Кузнецова Марина»")
    await user.should_not_see("Тот ли это пациент?")
    hold(scene)  # the archive has moved them elsewhere
    await user.should_see("Снимков без направления нет.")  # the page does not turn by itself
    await user.open("/archive?show=unreferred")
    await user.should_not_see("Тот ли это пациент?")
    await user.open(f"/archive?order={order.accession_number}")
    await user.should_see("Тот ли это пациент?")


async def test_a_referral_that_is_not_offered_is_searched_for_and_its_contradictions_are_named(
    scene: Scene, user: User
) -> None:
    order = scene.register("09:50", "Попов Степан")
    hold(scene, late(patient_sex="M"))
    await user.open("/archive")
    press(user, "Найти направление")
    await user.should_see("По пациенту и дню не подходит ни одно.")
    search = next(each for each in user.find(ui.input).elements if each.props.get("for") == "referral-search")
    search.value = "поп ст"
    await user.should_see("Попов С., 12.03.1961")
    press(user, "Попов С., 12.03.1961")
    await user.should_see("Не сходится имя, пол. Связывайте, только если уверены")
    press(user, "Это один человек, связать: Попов С.")
    await user.should_see("Исследование привязано")
    assert state(scene.store, order) is OrderState.COMPLETED


async def test_where_a_search_for_a_referral_finds_more_than_it_shows_it_says_so(
    scene: Scene, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unreferred, "_LOOKED_THROUGH", 2)
    for start in ("09:00", "09:20", "09:40"):
        order = scene.register(start, "Попов Степан")
        scene.store.write(referrals.cancel, order.id, order.revision, "", REGISTRAR, CLINIC)
    hold(scene, late())
    await user.open("/archive")
    press(user, "Найти направление")
    await user.should_see("По пациенту и дню не подходит ни одно.")
    search = next(each for each in user.find(ui.input).elements if each.props.get("for") == "referral-search")
    search.value = "попов"
    await user.should_see("Показаны не все: уточните фамилию или номер.")
    await user.should_not_see("Таких направлений нет.")


async def test_a_referral_is_made_of_a_study_that_none_fits_and_has_its_images_once_it_is_saved(
    scene: Scene, services: Services
) -> None:
    hold(scene, late(patient_name="Сидорова^Инна^Львовна", birth_date="19800505", modality="MG"))
    async with person(services) as user:
        await user.open("/archive")
        await user.should_see("Завести")
        link = next(each for each in user.find(ui.link).elements if each.text == "Завести")
        await user.open(link.props["href"])
        hands = Hands(user)
        assert hands.values("last", "first", "born", "sex") == ["Сидорова", "Инна", "05.05.1980", "F"]
        assert hands.values("device", "day", "time") == ["MAMMO_9", "сегодня", "09:15"]  # the only one of its kind
        assert hands.control("device").enabled  # the archive does not say which it was
        assert not any(hands.control(name).enabled for name in ("day", "time"))
        with scene.store.read() as reader:
            assert reader.value("SELECT count(*) FROM orders") == 0
        hands.type("what", "WLB-MMG4")
        hands.press_save()
        await wait_until_async(lambda: user.back_history[-1].startswith("/order/"))
        await user.should_see("Снимки в архиве")
        await user.open(link.props["href"])
        await user.should_see("Этих снимков среди ожидающих нет.")


async def test_a_patient_of_ours_is_filled_in_by_the_card_number_that_a_study_bears(
    scene: Scene, services: Services
) -> None:
    order = scene.register("09:50")
    scene.cancel(order)
    hold(scene, late(patient_id=order.patient.patient_id, patient_name="KUZNETSOVA^MARINA", modality=""))
    async with person(services) as user:
        await user.open("/archive")
        link = next(each for each in user.find(ui.link).elements if each.text == "Завести")
        await user.open(link.props["href"])
        hands = Hands(user)
        assert hands.values("last", "middle") == ["Кузнецова", "Петровна"]
        assert hands.note("last") == "На снимках: KUZNETSOVA MARINA"


async def test_what_is_left_without_a_referral_goes_and_can_be_taken_back(scene: Scene, user: User) -> None:
    hold(scene, late())
    await user.open("/archive")
    press(user, "Оставить без направления")
    await user.should_see("Больше не спросим")
    await user.should_see("Архив и направления сходятся.")
    press(user, "Вернуть")
    await user.should_see("Неизвестно, чьи")


async def test_the_board_names_a_study_that_a_referral_fits_and_no_other(scene: Scene, user: User) -> None:
    hold(scene, late(), late(study_instance_uid="1.2.3.8", patient_name="Попов^Олег", birth_date="19380217"))
    await user.open("/board")
    await user.should_not_see("В архиве: снимки без направления")
    scene.register("09:50")
    await user.should_see("В архиве: снимки без направления")
    await user.should_see("По пациенту и дню подходит Кузнецова М. П., K2611-0001.")
    await user.should_not_see("Попов Олег")


async def test_who_fits_by_name_alone_is_offered_as_less_certain(scene: Scene, user: User) -> None:
    hold(scene, late(birth_date=""))
    order = scene.register("09:50")
    await user.open("/archive")
    await user.should_see("Возможно, это направление")
    await user.should_see(
        f"По имени и дню подходит Кузнецова М. П., {order.accession_number}. Дату рождения сверить не с чем."
    )


@pytest.mark.slow
async def test_of_very_many_studies_without_a_referral_the_page_says_how_many_more_and_finds_each(
    scene: Scene, user: User
) -> None:
    strangers = (late(study_instance_uid=f"1.2.4.{n}", patient_name=f"Чужой^Иван^{n}") for n in range(130))
    hold(scene, *strangers, late(patient_name="Ёжикова^Анна-Мария", patient_id="К-77", start=local("07:00")))
    await user.open("/archive")
    await user.should_see("И ещё 31: найдите по имени, номеру или дате.")
    await user.should_not_see("«Ёжикова Анна-Мария»")
    search = next(each for each in user.find(ui.input).elements if each.props.get("for") == "unreferred-search")
    for typed in ("ежик мария", "к-77", "24.11.2026 07:00", "1.2.3.9"):
        search.value = "нет такого"
        await user.should_see("Такого среди них нет.")
        search.value = typed
        await user.should_see("«Ёжикова Анна-Мария»")
        await user.should_not_see("Чужой")


async def test_who_may_not_link_finds_no_referral_either(scene: Scene, services: Services) -> None:
    hold(scene, late())
    async with person(services, "volskaya") as somebody:
        await somebody.open("/archive")
        await somebody.should_see("Неизвестно, чьи")
        assert not {"Найти направление", "Оставить без направления"} & buttons(somebody)


async def test_the_archive_is_asked_at_once_and_the_page_says_whether_it_answered(
    scene: Scene, services: Services
) -> None:
    answers = iter([True, False])

    def ask() -> bool:
        scene.store.write(archive_table.note_answer)
        return next(answers)

    async with person(replace(services, ask_archive=ask)) as somebody:
        await somebody.open("/archive")
        await somebody.should_see("Архив ещё не отвечал")
        press(somebody, "Спросить архив сейчас")
        await somebody.should_see("Архив ответил")
        press(somebody, "Спросить архив сейчас")
        await somebody.should_see("Архив не отвечает. Проверьте его и сеть.")
    async with person(services) as without:
        await without.open("/archive")
        assert "Спросить архив сейчас" not in buttons(without)


async def test_more_or_fewer_images_than_the_device_reported_are_shown_until_a_person_says_that_it_is_right(
    scene: Scene, services: Services, performed: Order
) -> None:
    answer(scene, performed, study(performed))
    async with person(replace(services, clinic=FOLLOWED)) as somebody:
        await somebody.open("/archive")
        await somebody.should_see("Архив и направления сходятся.")  # more may come
        scene.now += timedelta(minutes=31)
        await somebody.open("/archive")
        await somebody.should_see("Снимков 2 из 3")
        await somebody.open(f"/order/{performed.accession_number}")
        await somebody.should_see("Аппарат сообщил о 3, в архиве 2.")
        await somebody.open("/archive")
        press(somebody, "Так и нужно: 2")
        await somebody.should_see("Архив и направления сходятся.")
        await somebody.open(f"/order/{performed.accession_number}")
        await somebody.should_see("2 снимка")
        await somebody.should_not_see("Аппарат сообщил")
        await somebody.open("/archive")
        answer(scene, performed, replace(study(performed), images=7))
        await somebody.should_see("Снимков 7, а не 3")
        answer(scene, performed, replace(study(performed), images=3))
        await somebody.should_see("Архив и направления сходятся.")


def test_a_study_whose_images_are_disputed_is_neither_described_nor_sent(scene: Scene, performed: Order) -> None:
    def shown() -> tuple[str, bool]:
        with scene.store.read() as reader:
            [visit] = schedule.day(reader, TODAY)
        return words.visit_state(visit), visit.delivered

    answer(scene, performed, study(performed))
    for _ in range(2):
        scene.deliver(performed)
    assert shown() == ("archived", True)
    answer(scene, performed, study(performed, patient_name="Попов^Олег"))
    assert shown() == ("attention", False)


@pytest.mark.slow
def test_by_keys_alone_studies_without_a_referral_are_passed_over_taken_and_left(scene: Scene, site: Site) -> None:
    first, second = scene.register("09:20"), scene.register("09:40", "Ёлкина Ольга")
    hold(scene, late(), late(study_instance_uid="1.2.3.8", patient_name="Ёлкина^Ольга", start=local("09:00")))
    with chromium.browser() as browser, chromium.page(browser, site.url) as (page, wrong):

        def press_key(key: str) -> None:
            page.wait_for_function("since => performance.now() > since", arg=page.evaluate("performance.now()") + 750)
            event = f"new KeyboardEvent('keydown', {{code: 'Digit{key}', bubbles: true}})"
            page.evaluate(f"() => {{ for (const _ of [1, 2]) document.body.dispatchEvent({event}); }}")

        page.goto(f"{site.url}/signin?next=/archive")
        page.fill("input[name=name]", "orlova")
        page.fill("input[name=password]", PASSWORD)
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Это снимки: Кузнецова М. П.").wait_for()
        press_key("0")
        page.get_by_role("button", name="Это снимки: Ёлкина О.").wait_for()
        press_key("1")
        page.get_by_text("Исследование привязано").wait_for()
        page.get_by_role("button", name="Это снимки: Кузнецова М. П.").wait_for()
        press_key("2")
        page.get_by_text("Осталось без направления").wait_for()
        page.get_by_text("Архив и направления сходятся.").wait_for()
        assert wrong == []
    assert (state(scene.store, first), state(scene.store, second)) == (OrderState.SCHEDULED, OrderState.COMPLETED)


@pytest.mark.slow
def test_by_keys_alone_discrepancies_are_passed_over_taken_and_refused_and_one_press_is_one_act(
    scene: Scene, site: Site
) -> None:
    first, second = scene.register("09:20", "Ёлкина Ольга"), scene.register("09:40")
    answer(scene, first, study(first, patient_name="Попов^Олег"))
    answer(scene, second, study(second, study_instance_uid="1.2.3"))
    with chromium.browser() as browser, chromium.page(browser, site.url) as (page, wrong):

        def press_key(key: str) -> None:
            """Press a key twice at once, when the press before is over: only the first of the two acts."""
            page.wait_for_function("since => performance.now() > since", arg=page.evaluate("performance.now()") + 750)
            event = f"new KeyboardEvent('keydown', {{code: 'Digit{key}', bubbles: true}})"
            page.evaluate(f"() => {{ for (const _ of [1, 2]) document.body.dispatchEvent({event}); }}")

        page.goto(f"{site.url}/signin?next=/archive")
        page.fill("input[name=name]", "orlova")
        page.fill("input[name=password]", PASSWORD)
        page.keyboard.press("Enter")
        page.locator(".versus-head b", has_text="Тот ли это пациент?").wait_for()
        press_key("0")
        page.locator(".versus-head b", has_text="Номер наш, UID нет").wait_for()
        press_key("1")
        page.get_by_text("Исследование привязано").wait_for()
        page.locator(".versus-head b", has_text="Тот ли это пациент?").wait_for()
        press_key("1")
        page.get_by_text("В архиве иначе: Имя: «Попов Олег»").wait_for()
        press_key("2")  # it belongs to what is under the dialog
        page.keyboard.press("Escape")
        page.get_by_text("В архиве иначе").wait_for(state="hidden")
        assert waiting(scene.store) == 1
        press_key("2")
        page.get_by_text("Больше не спросим").wait_for()
        page.get_by_text("Архив и направления сходятся.").wait_for()
        assert wrong == []
    assert (state(scene.store, first), state(scene.store, second)) == (OrderState.SCHEDULED, OrderState.COMPLETED)
