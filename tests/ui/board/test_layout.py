"""The day laid out in lanes: who stands where, what is free, what needs attention."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from broker.domain.clinic.devices import Device
from broker.domain.orders import Order, Priority
from broker.domain.patients.confirmation import Confirmation
from broker.domain.studies.archive import ArchiveStudy
from broker.domain.studies.performed import PerformedState
from broker.store.database import Tx
from broker.store.queries.studies.archive_gaps import ImagesDue
from broker.store.tables import devices, worklist
from broker.workflow.studies import archive_images, step_links
from tests.support.clock import TODAY, ZONE
from tests.support.factory import CLINIC, REGISTRAR, SYSTEM
from tests.ui.scene import Scene
from ui.board import attention, layout
from ui.board.layout import BoardDay, ClockRow, DeviceColumn, FoldRow, GapRow, NoteRow, VisitRow
from ui.text import words


def day(scene: Scene, ahead: int = 0) -> BoardDay:
    with scene.store.read() as reader:
        return layout.read(reader, TODAY + timedelta(days=ahead), TODAY, ZONE)


def column(scene: Scene, name: str = "Рентген", show: str = layout.ALL, unfolded: tuple[str, ...] = ()) -> DeviceColumn:
    now = scene.now.astimezone(ZONE).replace(tzinfo=None)
    return next(each for each in layout.columns(day(scene), now, ZONE, show, unfolded) if each.name == name)


def words_of(made: DeviceColumn) -> list[str]:
    """Write a lane's rows as short words."""
    stated = []
    for row in made.rows:
        match row:
            case VisitRow():
                stated.append(f"{row.at} {row.name.split()[0]} {row.state}")
            case GapRow():
                stated.append(f"{row.at} free {row.until}".strip())
            case ClockRow():
                stated.append(f"now {row.at}")
            case FoldRow():
                stated.append(f"fold {row.count}")
            case NoteRow():
                stated.append(row.word)
    return stated


def test_what_runs_is_on_top_and_the_rest_goes_by_time(scene: Scene) -> None:
    scene.register("09:00", "Иванов Иван")
    scene.register("10:30", "Зуев Пётр")
    scene.begin(scene.register("10:00", "Ли Ен"), "1.2.1")
    assert words_of(column(scene)) == [
        "10:00 Ли running",
        "09:00 Иванов waiting",
        "09:15 free 10:00",
        "now 09:47",
        "10:15 free 10:30",
        "10:30 Зуев waiting",
        "10:45 free",
    ]


def test_a_device_without_visits_has_an_empty_column_while_the_devices_are_few(scene: Scene) -> None:
    scene.register("10:00")
    assert words_of(column(scene, "Маммограф")) == ["Записей нет"]

    def add(tx: Tx) -> None:
        for number in range(5):
            devices.put(tx, Device(f"US_{number}", f"УЗИ {number}", "US"))

    scene.store.write(add)
    now = scene.local("09:47")
    assert [each.name for each in layout.columns(day(scene), now, ZONE, layout.ALL)] == ["Рентген"]


def test_a_study_started_on_another_device_is_shown_only_there(scene: Scene) -> None:
    order = scene.register("09:40", station_ae_titles=("XRAY_14", "FLG_12"))
    assert words_of(column(scene))[-2:] == words_of(column(scene, "Флюорограф"))[-2:]
    scene.begin(order, "1.2.1", "FLG_12")
    assert words_of(column(scene)) == ["Записей нет"]
    assert words_of(column(scene, "Флюорограф"))[0] == "09:40 Кузнецова running"
    assert layout.counts(day(scene))["Все"] == 1


def test_an_unregistered_device_gets_a_column_under_its_ae_title(scene: Scene) -> None:
    scene.begin(scene.register("09:40"), "1.2.1", "OLD_CR")
    assert words_of(column(scene, "OLD_CR"))[0] == "09:40 Кузнецова running"


def test_older_finished_visits_fold_and_can_be_unfolded(scene: Scene) -> None:
    for number in range(5):
        scene.begin(scene.register(f"0{number + 3}:00", f"Иванов{'а' * number} Ян"), f"1.2.{number}")
        scene.finish(f"1.2.{number}")
    folded = words_of(column(scene))
    assert folded[:2] == ["fold 2", "05:00 Ивановаа done"]
    unfolded = words_of(column(scene, unfolded=("XRAY_14",)))
    assert unfolded[:2] == ["fold 2", "03:00 Иванов done"]
    assert len(words_of(column(scene, show="Выполнены"))) == 5


def test_a_cancelled_visit_is_shown_only_when_asked_for_and_frees_its_time(scene: Scene) -> None:
    scene.register("09:00", "Иванов Иван")
    scene.cancel(scene.register("10:00", "Зуев Пётр"))
    scene.register("10:30", "Ли Ен")
    assert "09:15 free 10:30" in words_of(column(scene))
    assert words_of(column(scene, show=layout.CANCELLED)) == ["10:00 Зуев cancelled"]
    counts = layout.counts(day(scene))
    assert (counts["Все"], counts["Ожидают"], counts["Отменены"]) == (2, 2, 1)


def test_another_day_has_no_line_of_now(scene: Scene) -> None:
    scene.register("10:00", on=TODAY + timedelta(days=1))
    rows = layout.columns(day(scene, 1), scene.local("09:47"), ZONE, layout.ALL)[1].rows
    assert [type(row) for row in rows] == [VisitRow, GapRow]


def test_minutes_count_from_the_last_change_of_the_state(scene: Scene) -> None:
    scene.now = scene.instant("09:00")
    order = scene.register("09:30")
    early = scene.register("10:30", "Зуев Пётр")
    scene.now = scene.instant("16:00", TODAY - timedelta(days=1))
    scene.register("09:37", "Ли Ен")
    scene.register("11:00", "Фролова Дарья")
    scene.now = scene.instant("09:42")
    scene.store.write(lambda tx: worklist.note_delivery(tx, [early.steps[0].id], "XRAY_14"))
    scene.begin(order, "1.2.1")
    scene.now = scene.instant("09:47")
    lengths = {row.name: row.length for row in column(scene).rows if isinstance(row, VisitRow)}
    # One that was registered yesterday waits from its hour on, and not yet before it.
    assert lengths == {"Кузнецова М. П.": "5 мин", "Зуев П.": "5 мин", "Ли Е.": "10 мин", "Фролова Д.": ""}


def test_urgent_is_shown_until_it_is_performed(scene: Scene) -> None:
    order = scene.register("09:40", priority=Priority.URGENT)
    scene.begin(order, "1.2.1")
    assert [row.urgent for row in column(scene).rows if isinstance(row, VisitRow)] == [True]
    scene.finish("1.2.1")
    assert [row.urgent for row in column(scene).rows if isinstance(row, VisitRow)] == [False]


def test_what_needs_attention_is_shown_with_what_can_be_done(scene: Scene) -> None:
    stopped = scene.register("09:00", "Иванов Иван")
    scene.begin(stopped, "1.2.1")
    scene.finish("1.2.1", PerformedState.DISCONTINUED, discontinuation_meaning="сломалась трубка")
    scene.refuse(scene.register("11:00", "Ли Ен"), "Полис не найден")
    scene.begin(None, "1.9", patient_name="ZUEV^PETR")
    found = attention.attention_items(day(scene), ZONE, amend=True)
    assert [(each.title, each.why, each.act) for each in found] == [
        ("Снимки без направления", "Рентген в 09:15: «ZUEV PETR». Такого в списке не было.", "Найти направление"),
        ("Шина не приняла направление", "K2611-0002, Ли Е.: Полис не найден", "Исправить"),
        ("Прервано на аппарате", "Иванов И., Коленного сустава, справа: «сломалась трубка».", "Записать снова"),
    ]
    assert found[1].path == "/desk?order=K2611-0002"
    assert {each.act for each in attention.attention_items(day(scene), ZONE, amend=False)} == {
        "Найти направление",
        "Открыть",
    }


def test_an_unlinked_study_waits_on_the_board_of_today_too(scene: Scene) -> None:
    scene.now = scene.instant("23:50", TODAY - timedelta(days=1))
    scene.begin(None, "1.9")
    scene.now = scene.instant("09:47")
    [waits] = day(scene).unlinked  # it goes on waiting today
    assert waits.step.sop_instance_uid == "1.9"
    assert [each.step.sop_instance_uid for each in day(scene, -1).unlinked] == ["1.9"]
    assert not day(scene, 1).unlinked


# ---- what is true of the patient comes first ----


def test_what_the_bus_has_taken_hides_nothing_of_the_study(scene: Scene) -> None:
    order = scene.register("09:10")
    scene.begin(order, "1.2.1")
    scene.finish("1.2.1", images=2)
    for _ in range(2):
        scene.deliver(order)
    [row] = [each for each in column(scene).rows if isinstance(each, VisitRow)]
    assert (row.state, row.delivered) == ("done", True)


def test_a_doubted_study_is_never_shown_as_done(scene: Scene) -> None:
    order = scene.register("09:10")
    scene.begin(order, "1.2.1", patient_name="Двойников^Олег")
    [running] = day(scene).visits
    assert words.visit_state(running) == "attention"
    scene.finish("1.2.1", images=2)
    scene.deliver(order)
    [visit] = day(scene).visits
    assert words.visit_state(visit) == "attention"
    seen = Confirmation(order.patient, ("patient_name",))
    scene.store.write(step_links.confirm_patient, "1.2.1", order.id, REGISTRAR, CLINIC, seen)
    [visit] = day(scene).visits
    assert words.visit_state(visit) == "done"


def test_finished_studies_without_images_and_without_a_report_have_filters_of_their_own(scene: Scene) -> None:
    for at, uid, images in (("09:10", "1.2.1", 2), ("09:20", "1.2.2", 0)):
        scene.begin(scene.register(at), uid)
        scene.finish(uid, images=images)
    scene.register("10:00")
    counts = layout.counts(day(scene))
    assert (counts["Выполнены"], counts["Без снимков"], counts["Без описания"]) == (2, 1, 2)
    bare = [visit for visit in day(scene).visits if layout.FILTERS["Без снимков"](visit)]
    assert [f"{visit.start:%H:%M}" for visit in bare] == ["09:20"]


@pytest.mark.parametrize(("archived", "title"), [(1, "Снимков 1 из 2"), (3, "Снимков 3, а не 2")])
def test_other_images_than_the_device_has_reported_need_attention(scene: Scene, archived: int, title: str) -> None:
    order = scene.register("09:00")
    scene.begin(order, "1.2.1")
    scene.finish("1.2.1", images=2)
    study = ArchiveStudy(order.study_instance_uid, order.accession_number, archived, "DX", "", order.patient.patient_id)
    scene.store.write(archive_images.record_answer, order.id, [study], SYSTEM, CLINIC, settled=True)
    with scene.store.read() as reader:
        found = layout.read(reader, TODAY, TODAY, ZONE, ImagesDue(scene.now + timedelta(hours=1)))
    [item] = attention.attention_items(found, ZONE, amend=True)
    assert (item.title, item.path) == (title, "/archive")
    assert item.why == f"Кузнецова М. П., K2611-0001: аппарат сообщил о 2, в архиве {archived}."


# ---- images that have not come ----


def rows_of(scene: Scene, ahead: int = 0, show: str = layout.ALL) -> dict[str, tuple[str, str, str]]:
    """Return the visits on the X-ray's column: name -> state, its word, how long."""
    on, now = TODAY + timedelta(days=ahead), scene.now.astimezone(ZONE).replace(tzinfo=None)
    with scene.store.read() as reader:
        shown = layout.read(reader, on, TODAY, ZONE, ImagesDue(scene.now - timedelta(minutes=30)))
    [made] = [each for each in layout.columns(shown, now, ZONE, show) if each.ae_title == "XRAY_14"]
    return {row.name: (row.state, row.word, row.length) for row in made.rows if isinstance(row, VisitRow)}


def perform(scene: Scene, order: Order, images: int = 4) -> None:
    scene.begin(order, f"1.2.{order.id}")
    scene.finish(f"1.2.{order.id}", images=images)


def answer(scene: Scene, order: Order, *found: ArchiveStudy) -> None:
    scene.store.write(archive_images.record_answer, order.id, found, SYSTEM, CLINIC, settled=True)


def held(order: Order, images: int) -> ArchiveStudy:
    name = f"{order.patient.name.family}^{order.patient.name.given}"
    return ArchiveStudy(
        order.study_instance_uid, order.accession_number, images, "DX", name, order.patient.patient_id, "19610312"
    )


def test_a_visit_whose_images_have_not_come_stands_out_and_is_not_folded_away(scene: Scene) -> None:
    lost, fewer, fine = (
        scene.register(f"08:{n}0", who) for n, who in enumerate(["Попов Степан", "Ли Ен", "Зуев Пётр"])
    )
    for order in (lost, fewer, fine):
        perform(scene, order)
    for n in range(5):
        perform(scene, scene.register(f"09:0{n}", f"Иванов Иван {'абвгд'[n]}", comment=str(n)))
    answer(scene, fewer, held(fewer, 3))
    answer(scene, fine, held(fine, 4))
    answer(scene, lost)
    assert rows_of(scene).get("Попов С.") is None  # more may come
    scene.now += timedelta(minutes=40)
    answer(scene, lost)
    rows = rows_of(scene)
    assert rows["Попов С."] == ("imageless", "Снимков нет 40 мин", "")
    assert rows["Ли Е."] == ("imageless", "Снимков 3 из 4", "")
    assert "Зуев П." not in rows
    assert set(rows_of(scene, show="Без снимков")) == {"Попов С."}
    answer(scene, lost, held(lost, 4))
    assert "Попов С." not in rows_of(scene)


def test_it_stands_out_on_its_own_day_later_too_where_nothing_of_that_day_needs_attention(scene: Scene) -> None:
    order = scene.register("09:30", on=TODAY + timedelta(days=1))
    perform(scene, order)
    scene.now += timedelta(minutes=40)
    answer(scene, order)
    assert rows_of(scene, 1)["Кузнецова М. П."][0] == "imageless"
    with scene.store.read() as reader:
        due = ImagesDue(scene.now - timedelta(minutes=30))
        missing = [layout.read(reader, TODAY + timedelta(days=n), TODAY, ZONE, due).missing for n in (0, 1)]
    assert [len(each) for each in missing] == [1, 0]


def test_a_study_whose_images_were_waived_or_are_doubted_is_not_said_to_lack_them(scene: Scene) -> None:
    waived = scene.register("09:30")
    perform(scene, waived)
    scene.now += timedelta(minutes=40)
    answer(scene, waived)
    scene.store.write(archive_images.waive_images, waived.id, "на плёнке", REGISTRAR, CLINIC)
    assert rows_of(scene)["Кузнецова М. П."][0] == "done"
    answer(scene, waived, replace(held(waived, 4), patient_name="Попов^Олег"))
    assert rows_of(scene)["Кузнецова М. П."][0] == "attention"
