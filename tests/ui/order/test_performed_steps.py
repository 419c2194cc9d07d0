"""What modalities report and get wrong, as people see it, and what they can do about it."""

from __future__ import annotations

import pytest
from nicegui import ui
from nicegui.testing import User

from broker.domain.audit import AuditAction
from broker.domain.orders import OrderState
from broker.domain.studies.performed import WRONG_ENTRY, PerformedChange, PerformedState
from broker.store.queries import order_card
from broker.workflow.studies import performed_steps
from broker.workflow.studies.stale_steps import ACTOR
from tests.support.clock import TODAY, ZONE
from tests.support.factory import CLINIC, XRAY, message
from tests.ui.conftest import person
from tests.ui.scene import Scene, buttons, press
from ui.board import attention, layout
from ui.order import timeline
from ui.services import Services
from ui.text import words

# PS3.16 CID 9300 and CID 9301: Code Value -> Code Meaning.
DISCONTINUATION_REASONS: dict[str, str] = {
    "110500": "Doctor canceled procedure",
    "110501": "Equipment failure",
    "110502": "Incorrect procedure ordered",
    "110503": "Patient allergic to media/contrast",
    "110504": "Patient died",
    "110505": "Patient refused to continue procedure",
    "110506": "Patient taken for treatment or surgery",
    "110507": "Patient did not arrive",
    "110508": "Patient pregnant",
    "110509": "Change of procedure for correct charging",
    "110510": "Duplicate order",
    "110511": "Nursing unit cancel",
    "110512": "Incorrect side ordered",
    "110513": "Discontinued for unspecified reason",
    WRONG_ENTRY: "Incorrect worklist entry selected",
    "110515": "Patient condition prevented continuing",
    "110516": "Equipment change",
    "110521": "Objects incorrectly formatted",
    "110522": "Object Types not supported",
    "110523": "Object Set incomplete",
    "110524": "Media Failure",
    "110526": "Resource pre-empted",
    "110527": "Resource inadequate",
    "110528": "Discontinued Procedure Step rescheduled",
    "110529": "Discontinued Procedure Step rescheduling recommended",
    "110530": "Workitem assignment rejected by assigned resource",
    "110533": "Workitem expired",
    "113568": "Extravasation visible in image",
}

pytestmark = pytest.mark.usefixtures("scene")  # all of it is that day


def troubles(scene: Scene) -> list[tuple[str, str]]:
    with scene.store.read() as reader:
        day = layout.read(reader, TODAY, TODAY, ZONE)
    return [(each.title, each.why) for each in attention.attention_items(day, ZONE, True)]


def history(scene: Scene) -> str:
    with scene.store.read() as reader:
        card = order_card.card(reader, "K2611-0001")
    assert card
    lines = timeline.entries(card, (), ZONE, TODAY)
    return "\n".join(f"{line.state}: {line.what}" for _, line in lines if isinstance(line, timeline.TimelineEntry))


def state(scene: Scene) -> OrderState:
    with scene.store.read() as reader:
        card = order_card.card(reader, "K2611-0001")
    assert card
    return card.order.state


def test_every_reason_has_russian_words_and_none_is_left_over() -> None:
    assert set(words.DISCONTINUATION) == set(DISCONTINUATION_REASONS)


def test_every_audit_action_has_words_and_no_words_are_left_over() -> None:
    assert set(words.AUDIT_ACTIONS) == set(AuditAction)
    assert not set(words.EVENTS) & set(AuditAction)


def test_a_known_reason_is_shown_in_our_words_and_an_unknown_one_in_the_devices(scene: Scene) -> None:
    scene.begin(scene.register("10:00"), "1.2")
    scene.finish(
        "1.2",
        PerformedState.DISCONTINUED,
        discontinuation_code="110505",
        discontinuation_meaning="Patient refused to continue procedure",
    )
    assert troubles(scene)[0][1].endswith("«пациент отказался продолжать».")
    assert "Прервано на аппарате: «пациент отказался продолжать»" in history(scene)
    scene.begin(scene.register("10:00", "Зуев Пётр"), "1.3")
    scene.finish("1.3", PerformedState.DISCONTINUED, discontinuation_code="99X:7", discontinuation_meaning="Foo")
    assert troubles(scene)[1][1].endswith("«Foo».")


def test_a_wrong_worklist_entry_asks_whose_images_these_are(scene: Scene) -> None:
    scene.begin(scene.register("10:00"), "1.2", patient_name="Кузнецова^М")
    scene.finish("1.2", PerformedState.DISCONTINUED, discontinuation_code=WRONG_ENTRY)
    [(title, why)] = troubles(scene)
    assert (title, "не ту запись" in why) == ("Снимки другого пациента", True)
    assert state(scene) is OrderState.SCHEDULED
    assert "attention: На аппарате выбрали не ту запись" in history(scene)


def test_messages_without_a_beginning_and_refused_ones_are_seen_on_the_board(scene: Scene) -> None:
    scene.finish("9.9")
    scene.store.write(performed_steps.refuse, "8.8", "N-CREATE", "PatientSex is missing", message("r"), XRAY)
    assert [title for title, _ in troubles(scene)] == ["Сообщение аппарата не принято", "Исследование без начала"]
    assert "Рентген в 09:47 закончил то, о начале чего не сообщал" in troubles(scene)[1][1]


def test_an_expired_step_is_shown_as_such(scene: Scene) -> None:
    scene.begin(scene.register("10:00"), "1.2")
    scene.store.write(performed_steps.expire_step, "1.2", scene.now, ACTOR, CLINIC)
    assert "«сам аппарат о конце не сообщил»" in troubles(scene)[0][1]
    assert "stopped: Аппарат не сообщил о конце исследования, его закрыла программа" in history(scene)


async def test_the_board_shows_items_without_an_action(scene: Scene, user: User) -> None:
    scene.finish("9.9")
    await user.open("/board")
    await user.should_see("Исследование без начала")
    assert "" not in buttons(user)


async def test_a_study_is_closed_by_hand_from_its_card_and_that_can_be_taken_back(scene: Scene, user: User) -> None:
    scene.register("10:00")
    await user.open("/order/K2611-0001")
    press(user, "Выполнено")
    press(user, "Отметить выполненным")
    await user.should_see("Отмечено выполненным вручную")
    await user.should_see("отмечено вручную")
    assert state(scene) is OrderState.COMPLETED
    press(user, "Снять отметку")
    press(user, "Отвязать")
    await user.should_see("Исследование отвязано от направления")
    assert state(scene) is OrderState.SCHEDULED


async def test_another_patients_images_are_unlinked_on_a_card(scene: Scene, user: User) -> None:
    scene.begin(scene.register("10:00"), "1.2")
    scene.store.write(
        performed_steps.change,
        performed_steps.ChangeRequest("1.2", PerformedChange(PerformedState.COMPLETED), message("f")),
        XRAY,
        CLINIC,
    )
    await user.open("/order/K2611-0001")
    press(user, "Это чужие снимки")
    press(user, "Отвязать")
    await user.should_see("Отвязано: K2611-0001")
    assert state(scene) is OrderState.SCHEDULED
    assert troubles(scene)[0][0] == "Снимки без направления"


async def test_a_radiologist_closes_and_unlinks_nothing(scene: Scene, services: Services) -> None:
    scene.begin(scene.register("10:00"), "1.2")
    async with person(services, "volskaya") as user:
        await user.open("/order/K2611-0001")
        await user.should_see("Печать")
        assert not {"Выполнено", "Это чужие снимки"} & set(buttons(user))


async def test_a_step_that_another_device_has_ended_waits_for_a_look(scene: Scene, user: User) -> None:
    order = scene.register("09:00", station_ae_titles=("FLG_12",))
    scene.begin(order, "1.9.2", ae_title="FLG_12", station_ae_title="FLG_12")
    scene.finish("1.9.2")  # the X-ray
    await user.open("/board")
    await user.should_see("Закончил другой аппарат")
    await user.should_see("исследование начал аппарат «Флюорограф», а о конце сообщил другой")
    await user.open(f"/order/{order.accession_number}")
    await user.should_see("О конце сообщил не тот аппарат, который начал")
    pair = [each for each in user.find(ui.button).elements if each.text in {"Да, это оно", "Это чужие снимки"}]
    rows = [next(iter(each.ancestors())) for each in pair]
    assert len(rows) == 2
    assert rows[0] is rows[1]
    assert "acts" in rows[0].classes  # opposites never touch each other
    press(user, "Да, это оно")
    await user.should_not_see("О конце сообщил не тот аппарат")
    await user.open("/board")
    await user.should_not_see("Закончил другой аппарат")
