"""The pages of the practice bus: what people read there, what hostile content may not do, the form for faults."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import requests

from broker.bus.practice import PRACTICE_ORGANISATION, PRACTICE_ORGANISATION_2, PracticeServer
from broker.bus.practice.faults import Fault
from tests.bus.bundles import accepted, accession_numbers, call, id_of, of, order, part, post, result, search, update
from tests.bus.clinic import practising
from tests.support.practice import practice_bus

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def server() -> Iterator[PracticeServer]:
    with practising(practice_bus()) as running:
        yield running


def ask(server: PracticeServer, path: str = "", method: str = "GET", **options: Any) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, server.page_url + path.lstrip("/"), timeout=5, **options)


def test_the_page_shows_orders_results_and_report_texts(server: PracticeServer) -> None:
    sent = order("order-<b>")
    of(sent, "Patient")["name"][0]["family"] = EVIL
    of(sent, "ServiceRequest")["priority"] = "urgent"
    answered = accepted(server, sent)
    update(server, part(answered, "Task")["id"], "cancelled")
    second = accepted(server, order("order-2"))
    done = result("order-2", second, "completed")
    of(done, "Observation")["valueString"] = f"Без патологии {EVIL}"
    accepted(server, done)
    accepted(server, result("walk-in", None))
    answer = ask(server)
    page = answer.text
    assert "<script" not in page
    assert "<b>order" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; Анна Сергеевна, 12.03.1961" in page
    for word in (
        "order-&lt;b&gt;",
        "! срочно",
        "○ назначено",
        "✕ отменено",
        "● описано",
        "◐ снимки получены",
        "Описание",
        "Без патологии &lt;script&gt;",
        "Результаты без заявки",
        "2.25.1234567890",
        "кому: Учебная МО 2",
        "Другие направили ей: 2.",
        PRACTICE_ORGANISATION,
        PRACTICE_ORGANISATION_2,
        accession_numbers(part(answered, "Task"))[0],
    ):
        assert word in page, word
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "script-src" not in answer.headers["Content-Security-Policy"]


def test_a_text_in_base64_is_read_out(server: PracticeServer) -> None:
    answered = accepted(server, order("order-64"))
    sent = result("order-64", answered, "completed")
    of(sent, "Observation")["valueString"] = "0J3QvtGA0LzQsA=="
    accepted(server, sent)
    assert "Норма (передано в base64)" in ask(server).text


def test_an_empty_bus_is_shown_as_empty(server: PracticeServer) -> None:
    assert "Заявок от неё ещё нет" in ask(server).text
    assert "ещё ничего не отклонила" in ask(server, "/refused").text
    assert "Запросов ещё не было" in ask(server, "/requests").text
    assert "Сбоев не ждёт ни один запрос" in ask(server, "/faults").text


def test_what_was_refused_stands_there_with_its_reason_and_its_bytes(server: PracticeServer) -> None:
    sent = order()
    of(sent, "Task")["intent"] = "<i>"
    of(sent, "Patient")["name"][0]["family"] = EVIL
    post(server, sent)
    search(server, intent="original-order")
    call(server, "POST", "", b"\xff<script>")
    call(server, "GET", "/Task/<script>", headers={"Authorization": "N3 nobody"})
    refused = ask(server, "/refused").text
    assert "Task.intent: ожидается original-order или reflex-order" in refused
    assert "неизвестный" in refused
    assert "Учебная МО 1" in refused
    assert "Task/_search" not in refused
    log = ask(server, "/requests").text
    assert "Task/_search" in log
    assert "За последнюю минуту: 4" in log
    bodies = [ask(server, f"/request/{number}").text for number in (1, 3)]
    assert "&quot;intent&quot;: &quot;&lt;i&gt;&quot;" in bodies[0]
    for page in (refused, log, *bodies):
        assert "<script" not in page
        assert "<i>&" not in page
    for number in (0, 5, 10**30):
        assert ask(server, f"/request/{number}").status_code == 404


def test_each_resource_can_be_looked_at_and_its_references_followed(server: PracticeServer) -> None:
    sent = order()
    of(sent, "Patient")["name"][0]["family"] = EVIL
    answered = accepted(server, sent)
    task = ask(server, f"/resource/{id_of(answered, 'Task')}").text
    person = id_of(answered, "Patient")
    assert f'<a href="/resource/{person}">{person}</a>' in task
    assert "&quot;intent&quot;: &quot;original-order&quot;" in task
    shown = ask(server, f"/resource/{person}").text
    assert "&lt;script&gt;" in shown
    assert "<script" not in shown
    assert (
        f"Organization/{PRACTICE_ORGANISATION}" in ask(server, f"/resource/Organization/{PRACTICE_ORGANISATION}").text
    )
    assert ask(server, f"/resource/Task/{uuid4()}").status_code == 404


# ---- the form ----


def test_the_form_asks_for_faults_and_takes_them_back(server: PracticeServer) -> None:
    form = {"kind": "slow", "value": "0.1", "times": "3", "path": "/Task/_search"}
    answer = ask(server, "/fault", "POST", data=form, headers={"Origin": server.page_url.rstrip("/")})
    assert answer.status_code == 200  # after the redirect to the page of faults
    assert server.bus.due_faults() == ([(Fault("slow", "0.1", "/Task/_search"), 3)], 0.0)
    assert "медленный ответ (0.1) — поиск заявок, раз: 3" in answer.text
    assert "Сбои <i>1</i>" in answer.text
    ask(server, "/fault", "POST", data={"kind": "503", "value": "", "times": "1", "path": ""})
    assert post(server, order()).status_code == 503
    ask(server, "/fault", "POST", data={"clear": "1"})
    assert server.bus.due_faults() == ([], 0.0)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({}, "Такого сбоя нет"),
        ({"kind": EVIL}, "Такого сбоя нет"),
        ({"kind": "503", "value": "7"}, "Такого сбоя нет"),
        ({"kind": "503", "times": "0"}, "Сколько раз"),
        ({"kind": "503", "times": "¹"}, "Сколько раз"),
        ({"kind": "503", "times": "99999"}, "Сколько раз"),
        ({"kind": "503", "path": "Task"}, "Где"),
    ],
)
def test_a_form_that_makes_no_sense_is_answered_in_words(
    server: PracticeServer, form: dict[str, str], words: str
) -> None:
    answer = ask(server, "/fault", "POST", data=form)
    assert answer.status_code == 400
    assert words in answer.text
    assert "<script" not in answer.text
    assert server.bus.due_faults() == ([], 0.0)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
def test_another_sites_page_cannot_ask_for_a_fault(server: PracticeServer, origin: str) -> None:
    answer = ask(server, "/fault", "POST", data={"kind": "503"}, headers={"Origin": origin})
    assert answer.status_code == 403
    assert ask(server, "/fault", "POST", data={"kind": "503" * 5000}).status_code == 413
    assert server.bus.due_faults() == ([], 0.0)


# ---- in a browser ----


@pytest.mark.slow
def test_the_pages_fit_a_screen_and_a_telephone_and_the_form_works(server: PracticeServer) -> None:
    from tests.peers.chromium import browser, page

    sent = order("K2611-0007")
    answered = accepted(server, sent)
    accepted(server, result("K2611-0007", answered))
    accepted(server, result("K2611-0007", answered, "completed"))
    of(sent, "Task")["intent"] = "order"
    post(server, sent)
    with browser() as started:
        for width, height in ((1366, 768), (390, 844)):
            with page(started, server.page_url, width, height) as (opened, wrong):
                for path in ("", "refused", "requests", "faults", f"resource/{id_of(answered, 'Task')}", "request/1"):
                    opened.goto(server.page_url + path)
                    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path, width)
                opened.goto(server.page_url + "faults")
                opened.get_by_label("Какой").select_option("503")
                opened.get_by_label("Где").select_option("/")
                opened.get_by_role("button", name="Показать").click()
                opened.get_by_text("503 — сервис временно недоступен — отправка Bundle, раз: 1").wait_for()
                assert post(server, order()).status_code == 503
                opened.goto(server.page_url)
                opened.get_by_role("link", name="протокол").last.click()
                opened.get_by_text('"final"').wait_for()
                assert wrong == []
