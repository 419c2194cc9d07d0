"""What the first reader found is looked for wherever the second one, or anybody else, can look: it is nowhere.

Then, once the case is concluded, in the places where it belongs.
"""

from __future__ import annotations

import logging
import zlib
from dataclasses import replace

import pytest
from nicegui import ElementFilter
from nicegui.testing import User

from broker.domain.orders import Order
from broker.domain.reading.opinions import Finding, Opinion, ReadingRules
from broker.domain.studies.received import ReceivedKind
from broker.store.tables.reading import reads, reports
from broker.workflow.reading import reads as reading
from broker.workflow.reading.reports import ReportText
from broker.workflow.studies import received_objects
from tests.support import sent_objects
from tests.support.factory import CLINIC, SYSTEM, XRAY
from tests.support.waiting import wait_until_async
from tests.ui.conftest import PEOPLE, Site, person
from tests.ui.reading.session.test_page import LARIN, read_by, room, study
from ui.services import Services

__all__ = ["room"]  # a fixture

MARK = "ТАЙНА-7"
SECRETS = (MARK, "Ларин", "larin", "Снимки прочитаны")
EVERYWHERE = (
    "/board",
    "/board?date={day}",
    "/reading",
    "/read?modality=DX",
    "/reading/{number}",
    "/together/{number}",
    "/studies",
    "/studies?q={number}",
    "/studies?q=ТАЙНА",
    "/order/{number}",
    "/patient/{patient}",
    "/exchange",
    "/devices",
    "/incoming",
    "/archive",
    "/desk?order={number}",
    "/desk?another={number}",
    "/templates",
    "/received/1",
)


def read_by_larin(services: Services, order: Order, *, stands: bool) -> None:
    with services.store.read() as reader:
        seen = reports.images(reader, order)
    said = ReportText(f"{MARK} описание", f"{MARK} заключение", f"{MARK} рекомендации")
    opinion = Opinion(Finding.RECALL, "R")
    services.store.write(reading.give, order.id, 0, opinion, said, LARIN, services.clinic, seen)
    if stands:
        services.store.write(reading.finish, (order.id,), LARIN, services.clinic)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("login", "stands"), [*((login, True) for login in PEOPLE), ("volskaya", False)], ids=lambda each: str(each)
)
async def test_no_page_shows_what_the_first_reader_found(
    room: Services, login: str, stands: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    order = study(room, 1)
    read_by_larin(room, order, stands=stands)
    async with person(room, login) as somebody:
        for address in EVERYWHERE:
            where = address.format(number=order.accession_number, day=room.today(), patient=order.patient.patient_id)
            await somebody.open(where)
            shown = everything(somebody)
            for secret in SECRETS:
                assert secret not in shown, where
    assert MARK not in caplog.text


async def test_who_reads_just_now_a_study_that_two_read_is_shown_to_no_other(room: Services) -> None:
    order = study(room, 1)
    room.store.write(reading.open_case, order.id, LARIN, room.clinic)
    async with person(room, "volskaya") as somebody:
        for address in ("/reading", f"/reading/{order.accession_number}", f"/order/{order.accession_number}"):
            await somebody.open(address)
            assert "Ларин" not in everything(somebody)


async def test_once_the_case_is_concluded_it_is_shown_where_it_belongs(room: Services) -> None:
    order = study(room, 1)
    read_by_larin(room, order, stands=True)
    read_by(room, order, "gushchina", Opinion(Finding.RECALL), "то же")
    async with person(room, "volskaya") as somebody:
        for address in ("/order/{number}", "/reading/{number}"):
            await somebody.open(address.format(number=order.accession_number))
            await wait_until_async(lambda: MARK in everything(somebody))


def send(services: Services, order: Order, kind: ReceivedKind = ReceivedKind.REPORT) -> None:
    """Let a device send a report on a study."""
    sent = sent_objects.pdf if kind is ReceivedKind.DOCUMENT else sent_objects.report
    services.store.write(received_objects.receive, sent(order, MARK), None, XRAY)


def everything(user: User) -> str:
    """Return whatever a person's page holds: texts, HTML, values, properties."""
    with user:
        return " ".join(
            f"{getattr(each, 'text', '')} {getattr(each, 'content', '')} {getattr(each, 'value', '')} {each.props}"
            for each in ElementFilter()
        )


@pytest.mark.parametrize("address", ["/report/{number}.pdf", "/label/{number}", "/order/{number}", "/reading"])
def test_no_file_and_no_first_answer_has_it(site: Site, address: str) -> None:
    made = replace(site.services, clinic=replace(CLINIC, reading=ReadingRules(pause_seconds=0)))
    made.store.write(reading.set_double, frozenset({"WLB-KNEE"}), SYSTEM)
    order = study(made, 1)
    read_by_larin(made, order, stands=True)
    site.sign_in("volskaya")
    answer = site.http.get(address.format(number=order.accession_number))
    assert MARK not in answer.text
    assert MARK.encode() not in answer.content


@pytest.mark.slow
async def test_what_a_device_has_sent_is_hidden_from_all_until_the_case_is_concluded(room: Services) -> None:
    order = study(room, 1)
    send(room, order)
    for login in PEOPLE:
        async with person(room, login) as somebody:
            for address in ("/order/{number}", "/reading/{number}", "/received/1", "/studies?q={number}", "/archive"):
                await somebody.open(address.format(number=order.accession_number))
                assert MARK not in everything(somebody), address
    read_by_larin(room, order, stands=True)
    read_by(room, order, "gushchina", Opinion(Finding.RECALL), "то же")
    async with person(room, "volskaya") as somebody:
        await somebody.open("/received/1")
        await wait_until_async(lambda: MARK in everything(somebody))


def test_no_file_that_a_device_has_sent_is_given_before_that(site: Site) -> None:
    made = replace(site.services, clinic=replace(CLINIC, reading=ReadingRules(pause_seconds=0)))
    made.store.write(reading.set_double, frozenset({"WLB-KNEE"}), SYSTEM)
    send(made, study(made, 1), ReceivedKind.DOCUMENT)
    site.sign_in("volskaya")
    answer = site.http.get("/received/1/file")
    assert answer.status_code == 403
    assert MARK.encode() not in answer.content


def test_nothing_that_goes_out_has_it(room: Services) -> None:
    order = study(room, 1)
    read_by_larin(room, order, stands=True)
    with room.store.read() as reader:
        kinds = [row["kind"] for row in reader.rows("SELECT kind FROM outbox WHERE order_id = ?", [order.id])]
        bodies = [row["sent"] for row in reader.rows("SELECT sent FROM outbox WHERE order_id = ?", [order.id])]
        trail = [row["details"] for row in reader.rows("SELECT details FROM audit WHERE order_id = ?", [order.id])]
        assert [each.conclusion for each in reads.of_order(reader, order.id)] == [f"{MARK} заключение"]
    assert "report" not in kinds
    assert not any(MARK in each for each in trail)
    assert not any(MARK.encode() in zlib.decompress(each) for each in bodies if each)
