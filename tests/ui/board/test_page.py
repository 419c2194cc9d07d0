"""The board in front of a person: live, in place, and safe against what comes from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from nicegui import ui
from nicegui.elements.mixins.content_element import ContentElement
from nicegui.testing import User

from broker.domain.orders import OrderState
from broker.domain.patients import names
from broker.domain.patients.people import PersonName
from broker.store.queries import order_card
from tests.support.clock import TODAY
from tests.support.waiting import wait_until_async
from tests.ui.conftest import person
from tests.ui.scene import Scene, parts, press
from ui.board import layout
from ui.board.layout import BoardDay
from ui.services import Services

pytestmark = pytest.mark.usefixtures("scene")


@pytest.fixture
async def radiologist(services: Services) -> AsyncIterator[User]:
    async with person(services, "volskaya") as somebody:
        yield somebody


def visits(user: User) -> dict[str, ContentElement]:
    """Return the visits on the board, the oldest element first: patient -> element."""
    found = {}
    for visit in sorted(user.find(ContentElement).elements, key=lambda each: each.id):
        if "visit" in visit.classes:
            name = next(each for each in parts(visit.content) if "name" in each.classes)
            found[name.text] = visit
    return found


def chip(visit: ContentElement) -> str:
    """Return the key of the state that a visit shows."""
    states = [name for each in parts(visit.content) for name in each.classes if name.startswith("state-")]
    return states[0].removeprefix("state-")


async def test_a_change_from_another_thread_shows_by_itself_and_in_place(scene: Scene, user: User) -> None:
    order = scene.register("10:00")
    other = scene.register("10:30", "Ли Ен")
    await user.open("/board")
    before = visits(user)
    assert [chip(each) for each in before.values()] == ["waiting", "waiting"]
    scene.begin(order, "1.2.1")
    await user.should_see("Выполняется")
    after = visits(user)
    assert after == before  # the same elements, so that focus and scrolling stay
    assert chip(after["Кузнецова М. П."]) == "running"
    assert "now" in after["Кузнецова М. П."].classes
    scene.cancel(other)
    await user.should_not_see("Ли Е.")


async def test_filters_show_real_counts(scene: Scene, user: User) -> None:
    scene.begin(scene.register("09:30", "Ли Ен"), "1.2.1")
    scene.register("10:00")
    scene.cancel(scene.register("10:30", "Зуев Пётр"))
    await user.open("/board")
    assert set(visits(user)) == {"Ли Е.", "Кузнецова М. П."}
    press(user, "Ожидают")
    await user.should_not_see("Ли Е.")
    assert set(visits(user)) == {"Кузнецова М. П."}
    press(user, "Отменены")
    await user.should_see("Зуев П.")
    press(user, "Выполнены")
    await user.should_see("Никого")


async def test_an_unlinked_study_is_linked_only_after_a_choice(scene: Scene, user: User) -> None:
    order = scene.register("09:10")
    scene.begin(None, "1.9", patient_name="KUZNECOVA^M")
    await user.open("/board")
    press(user, "Найти направление")
    await user.should_see("Рентген в 09:15: «KUZNECOVA M». Выберите направление; ошибку исправят в карточке.")
    button = next(each for each in user.find(ui.button).elements if each.text == "Связать")
    assert not button.enabled
    await user.should_see("Кузнецова М. П., 12.03.1961")
    press(user, "Кузнецова М. П., 12.03.1961")
    await wait_until_async(lambda: button.enabled)
    assert button.text == "Связать: Кузнецова М. П."
    press(user, button.text)
    await user.should_see("Снимки связаны: K2611-0001, Кузнецова М. П.")
    await user.should_not_see("Снимки без направления")
    with scene.store.read() as reader:
        card = order_card.card(reader, order.accession_number)
    assert card
    assert card.order.state is OrderState.IN_PROGRESS


async def test_images_of_another_name_are_linked_only_after_a_warning(scene: Scene, user: User) -> None:
    order = scene.register("09:10")
    scene.begin(None, "1.9", patient_name="Двойников^Олег", patient_id="X9", patient_sex="M")
    await user.open("/board")
    press(user, "Найти направление")
    await user.should_see("Рентген в 09:15: «Двойников Олег», муж., номер X9. Выберите направление")
    await user.should_see("Кузнецова М. П., 12.03.1961")  # who may be meant is read after the dialog has opened
    press(user, "Кузнецова М. П., 12.03.1961")
    await user.should_see("Не сходится имя, номер карты, пол: на аппарате «Двойников Олег», муж., номер X9")
    press(user, "Это один человек, связать: Кузнецова М. П.")
    await user.should_see(f"Снимки связаны: {order.accession_number}")


async def test_a_visit_of_another_day_is_found_in_the_dialog_and_what_was_cancelled_is_marked(
    scene: Scene, user: User
) -> None:
    order = scene.register("11:00", on=TODAY + timedelta(days=2))
    cancelled = scene.register("09:10", "Зуев Пётр")
    scene.cancel(cancelled)
    scene.begin(None, "1.9", patient_name="KUZNETSOVA^MARINA")
    await user.open("/board")
    press(user, "Найти направление")
    await user.should_see("Зуев П., 12.03.1961")
    press(user, "Зуев П., 12.03.1961")
    await user.should_see("Направление отменено: со снимками оно будет считаться начатым или выполненным.")
    search = next(each for each in user.find(ui.input).elements if each.props.get("for") == "link-search")
    search.value = "кузнец"
    await user.should_see("Кузнецова М. П., 12.03.1961")
    await user.should_see("26.11")
    await user.should_not_see("Направление отменено")
    press(user, "Кузнецова М. П., 12.03.1961")
    await user.should_see("Связать: Кузнецова М. П.")
    await user.should_not_see("Не сходится")
    press(user, "Связать: Кузнецова М. П.")
    await user.should_see(f"Снимки связаны: {order.accession_number}")


async def test_who_may_only_look_is_offered_no_change(scene: Scene, radiologist: User) -> None:
    scene.begin(None, "1.9", patient_name="ZUEV^PETR")
    scene.refuse(scene.register("10:00"), "Полис не найден")
    await radiologist.open("/board")
    await radiologist.should_see("Снимки без направления")
    await radiologist.should_not_see("Найти направление")
    await radiologist.should_not_see("Исправить")
    await radiologist.should_see("Открыть")


async def test_what_comes_from_outside_is_text(scene: Scene, user: User) -> None:
    scene.begin(None, "1.9", ae_title="<b>AE</b>", patient_name="<script>alert(1)</script>")
    scene.refuse(scene.register("10:00"), "<img src=x onerror=alert(1)>")
    await user.open("/board")
    await user.should_see("<b>AE</b> в 09:15: «<script>alert(1)</script>». Такого в списке не было.")
    await user.should_see("K2611-0001, Кузнецова М. П.: <img src=x onerror=alert(1)>")


async def test_cells_are_text_whatever_they_contain(scene: Scene, user: User) -> None:
    scene.register("10:00")
    family, given = "<b id=x>\"'&amp;", "</span></a><img src=x onerror=alert(1)>"
    procedure = "</span><script>alert(1)</script>"
    scene.store.write(lambda tx: tx.run("UPDATE patient SET family = ?, given = ?, middle = ''", [family, given]))
    scene.store.write(lambda tx: tx.run("UPDATE orders SET procedure_name = ?", [procedure]))
    await user.open("/board")
    [(name, visit)] = visits(user).items()
    assert name == names.short(PersonName(family, given))
    assert {each.tag for each in parts(visit.content)} == {"span", "i"}
    assert next(each for each in parts(visit.content) if "what" in each.classes).text.startswith(procedure)
    assert visit.props["title"].startswith(f"{family} {given}, ")
    assert visit.props["href"] == "/order/K2611-0001"


async def test_a_visit_is_one_element_of_the_page(scene: Scene, user: User) -> None:
    scene.register("10:00")
    few = len((await user.open("/board")).elements)
    for number in range(1, 9):
        scene.register(f"{10 + number // 4}:{number % 4 * 15:02d}")
    assert len((await user.open("/board")).elements) == few + 8


@pytest.mark.slow
async def test_twenty_boards_read_the_day_once_after_a_change(
    scene: Scene, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = scene.register("10:00")
    boards = [await User(user.http_client).open("/board") for _ in range(20)]
    read, readings = layout.read, list[object]()

    def counted(*args: Any) -> BoardDay:
        readings.append(args)
        return read(*args)

    def running() -> int:
        return sum("now" in each.classes for board in boards for each in board.elements.values())

    monkeypatch.setattr(layout, "read", counted)
    scene.begin(order, "1.2.1")
    await wait_until_async(lambda: running() == len(boards))
    assert len(readings) == 1


async def test_days_are_walked_by_links(user: User) -> None:
    await user.open("/board?date=2026-11-26")
    await user.should_see("Четверг, 26 ноября")
    await user.should_see("На 26.11.2026 ещё нет направлений.")
    hrefs = {each.text: each.props["href"] for each in user.find(ui.link).elements if each.text}
    assert hrefs["‹ завтра"] == "/board?date=2026-11-25"
    assert hrefs["сегодня"] == "/board"
    assert hrefs["27 ноября ›"] == "/board?date=2026-11-27"
    await user.open("/board?date=nonsense")
    await user.should_see("Сегодня, 24 ноября")


async def test_a_board_left_open_over_night_shows_the_new_day(scene: Scene, services: Services) -> None:
    scene.now = scene.instant("23:50")
    async with person(services) as user:
        await user.open("/board")
        await user.should_see("Сегодня, 24 ноября")
        scene.now = scene.instant("00:01", TODAY + timedelta(days=1))
        scene.register("09:00", on=TODAY + timedelta(days=1))
        await user.should_see("Сегодня, 25 ноября")
        await user.should_see("Кузнецова М. П.")


async def test_a_board_does_not_go_on_after_the_session(scene: Scene, user: User) -> None:
    await user.open("/board")
    scene.now += timedelta(hours=2)
    scene.register("12:00")
    await user.should_not_see("Кузнецова М. П.")
