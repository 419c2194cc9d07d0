"""The doctor's day: what waits, writing, signing, the paper; and nobody's words lost on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from nicegui import ui
from nicegui.testing import User
from nicegui.testing.user_interaction import UserInteraction

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.errors import Occupied
from broker.domain.orders import Order, Priority
from broker.domain.reading.reports import Report, ReportState
from broker.domain.studies.performed import Dose, PerformedSeries
from broker.store.queries import order_card
from broker.store.tables.reading import leases
from broker.store.tables.reading import reports as reports_table
from broker.workflow.reading import reports, writing
from broker.workflow.reading.reports import ReportText
from broker.workflow.studies import step_links
from tests.support.clock import TODAY, ZONE
from tests.support.factory import CLINIC, REGISTRAR
from tests.support.waiting import wait_until_async
from tests.ui.conftest import Site, person, session_of
from tests.ui.scene import Scene, press, texts
from ui.order import timeline
from ui.reading.report import dose, form
from ui.services import COOKIE, Services

DOCTOR = Actor(ActorKind.PERSON, "volskaya", "Вольская Т. А.", frozenset({Role.RADIOLOGIST}))
OTHER = Actor(ActorKind.PERSON, "sokolov", "Соколов В. И.", frozenset({Role.RADIOLOGIST}))
TEXT = ReportText("Лёгочные поля прозрачны.", "Без патологии.", "Контроль через год.", 0.03)


pytestmark = pytest.mark.usefixtures("scene")  # all of it is that day


@pytest.fixture
async def doctor(services: Services, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[User]:
    """A doctor before the screens; a pause in the typing is short here."""
    monkeypatch.setattr(form, "PAUSE", 0.1)
    async with person(services, "volskaya") as somebody:
        yield somebody


def done(scene: Scene, uid: str = "1.2.1", who: str = "Кузнецова Марина Петровна", **changes: Any) -> Order:
    order = scene.register("09:30", who, **changes)
    scene.begin(order, uid, patient_name="")
    scene.finish(uid, images=2)
    return order


def kept(scene: Scene, order: Order) -> Report | None:
    with scene.store.read() as reader:
        return reports_table.of_order(reader, order.id)


def writer(scene: Scene, order: Order) -> str:
    with scene.store.read() as reader:
        lease = leases.of_order(reader, order.id, scene.now)
    return lease.reader if lease else ""


def write(user: User, **fields: str) -> None:
    for name, value in fields.items():
        field_of(user, name).set_value(value)


def field_of(user: User, name: str) -> Any:
    found = [each for kind in (ui.textarea, ui.input) for each in user.find(kind).elements]
    return next(each for each in found if each.props.get("for") == name)


def signing(user: User, which: int) -> None:
    """Press «Подписать»: the first is the page's, the last the dialog's."""
    found = sorted((each for each in user.find(ui.button).elements if each.text == "Подписать"), key=lambda it: it.id)
    UserInteraction(user, {found[which]}, None).trigger("click")


# ---- what waits ----


async def test_the_most_urgent_waits_first_then_the_oldest(scene: Scene, doctor: User) -> None:
    done(scene, "1.2.1", "Ли Ен")
    scene.now += timedelta(minutes=20)
    done(scene, "1.2.2", "Иванов Иван Иванович")
    done(scene, "1.2.3", "Попов Степан Фёдорович", priority=Priority.URGENT)
    scene.register("11:00", "Ещё Не Снятый")
    scene.now += timedelta(minutes=10)
    await doctor.open("/reading")
    await doctor.should_see("Попов Степан Фёдорович")
    assert texts(doctor, "name") == ["Попов Степан Фёдорович", "Ли Ен", "Иванов Иван Иванович"]
    await doctor.should_see("30 мин")
    await doctor.should_not_see("Ещё Не Снятый")
    done(scene, "1.2.4", "Только Что Снятый")
    await doctor.should_see("Только Что Снятый")


async def test_the_list_can_be_narrowed_to_one_kind_and_hides_nothing_old(scene: Scene, doctor: User) -> None:
    scene.now -= timedelta(days=40)
    done(scene, "1.2.1", "Давний Пётр", on=TODAY - timedelta(days=40))
    scene.now += timedelta(days=40)
    done(scene, "1.2.2", "Ли Ен")
    mammo = {"procedure_code": "WLB-MMG4", "station_ae_titles": ("MAMMO_9",), "laterality": ""}
    done(scene, "1.2.3", "Петрова Анна", **mammo)
    await doctor.open("/reading?modality=MG")
    await doctor.should_see("Петрова Анна")
    await doctor.should_not_see("Ли Ен")
    await doctor.should_see("Старше 30 дней")
    await doctor.open("/reading?older=1")
    await doctor.should_see("Давний Пётр")
    await doctor.should_not_see("Ли Ен")


async def test_an_empty_list_shows_that_everything_is_reported(scene: Scene, doctor: User) -> None:
    await doctor.open("/reading")
    await doctor.should_see("Всё описано.")
    await doctor.should_not_see("открыть первое")


async def test_others_do_not_describe(scene: Scene, user: User) -> None:
    order = done(scene)
    for path in ("/reading", f"/reading/{order.accession_number}"):
        await user.open(path)
        await user.should_see("Описывают врачи.")
    await user.open(f"/order/{order.accession_number}")
    await user.should_not_see("Описать")


# ---- writing ----


async def test_the_doctor_sees_why_what_and_with_which_dose(scene: Scene, doctor: User) -> None:
    before = done(scene, "1.2.0")
    scene.store.write(reports.sign, before.id, 0, TEXT, OTHER, CLINIC)
    order = scene.register("09:40", comment="Кашель 3 недели")
    scene.begin(order, "1.2.1", operator="Юдин^Кирилл^Егорович", patient_name="")
    scene.finish(
        "1.2.1",
        images=2,
        series=(PerformedSeries("1.1", "Прямая", images=1),),
        doses={"ImageAndFluoroscopyAreaDoseProduct": (Dose("ImageAndFluoroscopyAreaDoseProduct", 0.652, "dGy.cm2"),)},
    )
    await doctor.open(f"/reading/{order.accession_number}")
    for word in ("M17.1 Первичный гонартроз", "Кашель 3 недели", "Юдин Кирилл Егорович"):
        await doctor.should_see(word)
    await doctor.should_see("6,52 сГр·см²")
    await doctor.should_see("Прямая, 1 снимок")
    await doctor.should_see("Без патологии.")  # of the earlier study


async def test_what_is_typed_is_kept_after_a_pause_and_is_there_again(scene: Scene, doctor: User) -> None:
    order = done(scene)
    await doctor.open(f"/reading/{order.accession_number}")
    write(doctor, description="Пишу", effective_dose="0,03 мЗв")
    await wait_until_async(lambda: kept(scene, order))
    report = kept(scene, order)
    assert report is not None
    assert (report.description, report.effective_dose, report.author) == ("Пишу", 0.03, "volskaya")
    await doctor.should_see("Черновик сохранён 09:47")
    await doctor.open(f"/reading/{order.accession_number}")
    assert (field_of(doctor, "description").value, field_of(doctor, "effective_dose").value) == ("Пишу", "0,03")


async def test_an_unreadable_dose_keeps_nothing_else_back(scene: Scene, doctor: User) -> None:
    order = done(scene)
    await doctor.open(f"/reading/{order.accession_number}")
    write(doctor, conclusion="Норма", effective_dose="мало")
    await wait_until_async(lambda: kept(scene, order))
    signing(doctor, 0)
    await doctor.should_see("Напишите дозу числом, например 0,03")
    report = kept(scene, order)
    assert report is not None
    assert report.conclusion == "Норма"


async def test_another_persons_draft_is_shown_while_nothing_is_typed(scene: Scene, doctor: User) -> None:
    order = done(scene)
    await doctor.open(f"/reading/{order.accession_number}")
    scene.store.write(reports.save_report, order.id, 0, ReportText("Чужое"), OTHER, CLINIC)
    await wait_until_async(lambda: field_of(doctor, "description").value == "Чужое")
    await doctor.should_see("Соколов В. И.")


@pytest.mark.parametrize(("choice", "left"), [("Оставить мой текст", "Моё"), ("Взять сохранённый", "Другое")])
async def test_of_the_texts_of_two_windows_a_person_chooses(
    scene: Scene, doctor: User, monkeypatch: pytest.MonkeyPatch, choice: str, left: str
) -> None:
    monkeypatch.setattr(form, "PAUSE", 60.0)
    order = done(scene)
    await doctor.open(f"/reading/{order.accession_number}")
    write(doctor, description="Моё")
    scene.store.write(reports.save_report, order.id, 0, ReportText("Другое"), DOCTOR, CLINIC)
    await doctor.should_see("сохранён: в другом окне")
    await doctor.should_see("Ваш текст цел, но не сохранён")
    assert field_of(doctor, "description").value == "Моё"
    report = kept(scene, order)
    assert report is not None
    assert report.description == "Другое"
    press(doctor, choice)
    await wait_until_async(lambda: (found := kept(scene, order)) and found.description == left)
    await wait_until_async(lambda: field_of(doctor, "description").value == left)


# ---- while another doctor writes ----


def may_sign(user: User) -> bool:
    """Return True if the page offers to sign; the button of the dialog is another one."""
    found = [each for each in user.find(ui.button).elements if each.text == "Подписать"]
    return any("data-primary" in each.props for each in found)


async def test_who_writes_is_shown_with_since_when_and_the_text_can_be_read_only(scene: Scene, doctor: User) -> None:
    order = done(scene)
    await doctor.open(f"/reading/{order.accession_number}")
    scene.store.write(reports.save_report, order.id, 0, ReportText("Чужое"), OTHER, CLINIC)
    await doctor.should_see("Протокол сейчас пишет Соколов В. И., с 09:47")
    await doctor.should_see("или с 10:02, если больше ничего не напишет")
    await wait_until_async(lambda: field_of(doctor, "description").value == "Чужое")
    assert "readonly" in field_of(doctor, "description").props
    assert not may_sign(doctor)
    scene.store.write(writing.leave, order.id, OTHER)
    await wait_until_async(lambda: may_sign(doctor))
    assert "readonly" not in field_of(doctor, "description").props
    await doctor.should_not_see("сейчас пишет")


async def test_the_list_says_who_writes(scene: Scene, doctor: User) -> None:
    order = done(scene)
    await doctor.open("/reading")
    scene.store.write(reports.save_report, order.id, 0, ReportText("Чужое"), OTHER, CLINIC)
    await doctor.should_see("пишет Соколов В. И., с 09:47")
    scene.store.write(writing.leave, order.id, OTHER)
    await doctor.should_see("черновик: Соколов В. И.")


async def test_the_first_keys_keep_others_from_writing(
    scene: Scene, doctor: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(form, "MAX_UNSAVED", 60.0)
    order = done(scene)
    await doctor.open(f"/reading/{order.accession_number}")
    assert writer(scene, order) == ""  # who only looks keeps nobody off
    write(doctor, description="Пишу")
    await wait_until_async(lambda: writer(scene, order) == "volskaya")
    with pytest.raises(Occupied):
        scene.store.write(reports.sign, order.id, 0, TEXT, OTHER, CLINIC)


async def test_what_is_typed_when_the_lease_is_lost_stays_with_its_doctor(
    scene: Scene, doctor: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = done(scene)
    await doctor.open(f"/reading/{order.accession_number}")
    write(doctor, description="Моё")
    await wait_until_async(lambda: (found := kept(scene, order)) and found.author == "volskaya")
    scene.now += timedelta(minutes=CLINIC.reading.lease_minutes)
    scene.store.write(reports.save_report, order.id, 1, ReportText("Чужое"), OTHER, CLINIC)
    await doctor.should_see("Протокол сейчас пишет Соколов В. И.")
    await doctor.should_see("Ваш текст, который не вошёл")
    assert field_of(doctor, "description").value == "Чужое"
    scene.store.write(writing.leave, order.id, OTHER)
    await doctor.should_see("Вписать вместо того, что есть")
    press(doctor, "Вписать вместо того, что есть")
    await wait_until_async(lambda: (found := kept(scene, order)) and found.author == "volskaya")
    assert field_of(doctor, "description").value == "Моё"
    press(doctor, "Больше не нужен")
    await doctor.should_not_see("Ваш текст, который не вошёл")


async def test_what_is_typed_at_the_very_moment_in_which_another_begins_is_kept_too(
    scene: Scene, doctor: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = done(scene)
    await doctor.open(f"/reading/{order.accession_number}")
    scene.store.write(writing.begin, order.id, OTHER, CLINIC)
    write(doctor, description="Моё")
    await doctor.should_see("Ваш текст, который не вошёл")
    await wait_until_async(lambda: field_of(doctor, "description").value == "")
    assert kept(scene, order) is None


# ---- signing ----


async def test_signing_shows_what_goes_out_and_then_the_next_study(scene: Scene, doctor: User) -> None:
    order = done(scene)
    done(scene, "1.2.2", "Ли Ен")
    await doctor.open(f"/reading/{order.accession_number}")
    signing(doctor, 0)
    await doctor.should_see("Напишите заключение: без него не подписать")
    write(doctor, description="Поля прозрачны.", conclusion="Без патологии.")
    signing(doctor, 0)
    await doctor.should_see("Протокол и его PDF уйдут на шину.")
    await doctor.should_see("2 слова")
    signing(doctor, -1)
    await wait_until_async(lambda: (found := kept(scene, order)) and found.signed_at)
    await doctor.should_see("Следующее: Ли Е.")
    await doctor.should_see("Печать / PDF")
    with scene.store.read() as reader:
        sent = [row["kind"] for row in reader.rows("SELECT kind FROM outbox WHERE order_id = ?", [order.id])]
    assert sent == ["order", "images", "report"]


async def test_a_running_study_can_be_described_but_not_signed(scene: Scene, doctor: User) -> None:
    order = scene.register("09:30")
    await doctor.open(f"/reading/{order.accession_number}")
    await doctor.should_see("Снимков ещё нет.")
    scene.begin(order, "1.2.1", patient_name="")
    await doctor.should_not_see("Снимков ещё нет.")
    write(doctor, conclusion="Норма")
    signing(doctor, 0)
    await doctor.should_see("Подписать можно, когда аппарат его закончит")
    await wait_until_async(lambda: kept(scene, order))
    await doctor.should_see("Подписать можно, когда аппарат его закончит")  # that it is kept does not hide why not
    scene.finish("1.2.1")


async def test_doubtful_images_are_not_signed(scene: Scene, doctor: User) -> None:
    order = scene.register("09:30")
    scene.begin(order, "1.2.1", patient_name="Сидоров^Олег")
    scene.finish("1.2.1")
    await doctor.open("/reading")
    await doctor.should_see("Тот ли пациент?")
    await doctor.open(f"/reading/{order.accession_number}")
    await doctor.should_see("«Сидоров Олег»")
    write(doctor, conclusion="Норма")
    signing(doctor, 0)
    await doctor.should_see("Пусть сначала подтвердят, чьи это снимки")


async def test_a_report_that_another_person_signs_shows_at_once(scene: Scene, doctor: User) -> None:
    order = done(scene)
    await doctor.open(f"/reading/{order.accession_number}")
    scene.store.write(reports.sign, order.id, 0, TEXT, OTHER, CLINIC)
    await doctor.should_see("Соколов В. И.")
    await doctor.should_see("Эффективная доза 0,03 мЗв")
    await doctor.should_see("Больше ничего не ждёт описания.")
    await doctor.should_not_see(ui.textarea)


# ---- where others see it ----


async def test_everybody_sees_the_signed_report_on_the_card(scene: Scene, user: User) -> None:
    order = done(scene)
    scene.store.write(reports.save_report, order.id, 0, ReportText("Ещё никому"), DOCTOR, CLINIC)
    await user.open(f"/order/{order.accession_number}")
    await user.should_see("Черновик: Вольская Т. А., 09:47")
    await user.should_not_see("Ещё никому")
    scene.store.write(reports.sign, order.id, 1, TEXT, DOCTOR, CLINIC)
    await user.should_see("Без патологии.")
    await user.should_see("Печать / PDF")


async def test_the_card_offers_the_doctor_to_describe(scene: Scene, doctor: User) -> None:
    order = done(scene)
    await doctor.open(f"/order/{order.accession_number}")
    await doctor.should_see("Описать")
    scene.store.write(reports.sign, order.id, 0, TEXT, OTHER, CLINIC)
    await doctor.should_not_see("Описать")


async def test_a_report_on_images_that_were_taken_away_raises_an_alarm_that_a_doctor_ends(
    scene: Scene, doctor: User
) -> None:
    order = done(scene)
    scene.store.write(reports.sign, order.id, 0, TEXT, OTHER, CLINIC)
    scene.store.write(step_links.unlink, "1.2.1", order.id, REGISTRAR, CLINIC)
    await doctor.open(f"/order/{order.accession_number}")
    await doctor.should_see("Проверьте протокол")
    await doctor.open(f"/reading/{order.accession_number}")
    await doctor.should_see("возможно, он не об этом пациенте")
    await doctor.should_not_see("Протокол верен")
    scene.store.write(step_links.link, "1.2.1", order.id, REGISTRAR, CLINIC)
    await doctor.should_see("Протокол верен")
    await doctor.should_see("Вы подтверждаете его об этих снимках: Рентген, каб. 14, 24.11.2026 09:15, 2 снимка.")
    press(doctor, "Протокол верен")
    await doctor.should_not_see("возможно, он не об этом пациенте")


def test_the_life_of_a_report_is_shown(scene: Scene) -> None:
    order = done(scene)
    saved = scene.store.write(reports.save_report, order.id, 0, TEXT, DOCTOR, CLINIC)
    scene.store.write(writing.leave, order.id, DOCTOR)
    saved = scene.store.write(reports.save_report, order.id, saved.revision, ReportText("Ещё", "Нет"), OTHER, CLINIC)
    scene.store.write(reports.sign, order.id, saved.revision, TEXT, OTHER, CLINIC)
    with scene.store.read() as reader:
        card = order_card.card(reader, order.accession_number)
    assert card is not None
    shown = [line for _, line in timeline.entries(card, (), ZONE, TODAY) if isinstance(line, timeline.TimelineEntry)]
    assert [(line.state, line.what, line.who) for line in shown[:3]] == [
        ("reported", "Протокол подписан", "Соколов В. И."),
        ("running", "Черновик протокола взят у врача Вольская Т. А.", "Соколов В. И."),
        ("running", "Начат черновик протокола", "Вольская Т. А."),
    ]


# ---- the paper ----


def test_the_printout_needs_a_session(scene: Scene, site: Site) -> None:
    order = done(scene)
    path = f"/report/{order.accession_number}.pdf"
    assert site.http.get(path).status_code == 303  # to the sign-in page
    site.http.cookies.set(COOKIE, session_of(site.services, "orlova"))
    assert site.http.get(path).status_code == 404  # a draft, or nothing, is no paper
    scene.store.write(reports.sign, order.id, 0, TEXT, DOCTOR, CLINIC)
    answer: httpx.Response = site.http.get(path)
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"] == f'inline; filename="{order.accession_number}.pdf"'
    assert answer.headers["cache-control"] == "no-store"
    assert answer.content.startswith(b"%PDF-")
    assert site.http.get("/report/%3Cb%3E.pdf").status_code == 404


# ---- doses ----


def test_a_dose_is_shown_in_the_units_of_doctors() -> None:
    shown = [
        Dose("TotalNumberOfExposures", 2, "1"),
        Dose("EntranceDose", 1, "dGy"),
        Dose("EntranceDoseInmGy", 0.12345, "mGy"),
        Dose("ImageAndFluoroscopyAreaDoseProduct", 0.652, "dGy.cm2"),
        Dose("KVP", 120, "kV", 1),
        Dose("XRayTubeCurrent", 320, "mA", 1),
        Dose("XRayTubeCurrentInuA", 320500, "uA", 1),
        Dose("CTDIvol", 12.34, "mGy", 2),
        Dose("Unheard", 1, "1", 3),
    ]
    assert dose.facts(shown) == [
        ("Произведение дозы на площадь", "6,52 сГр·см²"),
        ("Доза на входе", "0,1235 мГр"),
        ("Экспозиций", "2"),
        ("Экспозиция 1", "120 кВ, 320,5 мА"),
        ("Экспозиция 2", "CTDIvol 12,34 мГр"),
    ]
    many = [Dose("KVP", 120, "kV", number) for number in range(1, 20)]
    assert dose.facts(many)[-1] == ("Ещё", "7 экспозиций")


@pytest.mark.parametrize(
    ("typed", "read"),
    [("", (None, "")), ("0,03 мЗв", (0.03, "")), ("1.5", (1.5, "")), ("0", (0.0, "")), ("мало", (None, "unreadable"))],
)
def test_an_effective_dose_is_read_as_people_type_it(typed: str, read: tuple[float | None, str]) -> None:
    assert dose.typed(typed) == read


async def test_images_that_come_while_the_dialog_is_open_are_not_signed_unseen(scene: Scene, doctor: User) -> None:
    order = done(scene)
    scene.store.write(reports.save_report, order.id, 0, TEXT, DOCTOR, CLINIC)
    await doctor.open(f"/reading/{order.accession_number}")
    signing(doctor, 0)
    await doctor.should_see("Подписанное не меняют: исправление будет новой версией.")  # the dialog is filled
    scene.begin(order, "1.2.2")
    scene.finish("1.2.2", images=3)
    signing(doctor, -1)
    await doctor.should_see("Пока вы писали, снимки изменились. Посмотрите их слева и подпишите снова")
    saved = kept(scene, order)
    assert saved is not None
    assert saved.state is ReportState.DRAFT
