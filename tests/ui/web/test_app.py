"""The gates before every page, as a browser and an attacker meet them."""

from __future__ import annotations

import http.client
import re
import socket
import stat
from collections.abc import Iterator

import pytest
from nicegui import Event
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from broker.domain.health import Check, Health
from tests.support.waiting import assert_stays, wait_until_async
from tests.ui.conftest import Installation, Site, application, person, session_of
from ui.services import COOKIE, Services
from ui.web import app as web
from ui.web import middleware


def test_health_is_reported_without_a_session(site: Site, installation: Installation) -> None:
    answer = site.http.get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {"ok": True, "checks": [{"name": "database", "ok": True, "detail": "takes changes"}]}
    assert "set-cookie" not in answer.headers
    installation.health = Health((Check("dicom", False, "no answer"),))
    answer = site.http.get("/healthz")
    assert (answer.status_code, answer.json()["ok"]) == (503, False)


def test_a_page_without_a_session_leads_to_the_sign_in_and_back(site: Site) -> None:
    answer = site.http.get("/desk?order=K2611-0001")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/signin?next=%2Fdesk%3Forder%3DK2611-0001"
    assert site.http.get("/").headers["location"] == "/signin"
    site.http.cookies.set(COOKIE, "stolen")
    assert site.http.get("/board").status_code == 303
    assert site.http.get("/_nicegui/client/x").status_code == 303


def test_every_answer_has_a_security_policy_for_the_browser(site: Site) -> None:
    site.http.cookies.set(COOKIE, session_of(site.services, "orlova"))
    for path in ("/signin", "/desk", "/nowhere", "/healthz"):
        headers = site.http.get(path).headers
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "server" not in headers


def test_scripts_of_a_page_bear_a_nonce_that_changes(site: Site) -> None:
    site.http.cookies.set(COOKIE, session_of(site.services, "orlova"))
    first, second = site.http.get("/desk"), site.http.get("/desk")
    policy = first.headers["content-security-policy"]
    nonce = re.search(r"'nonce-([^']+)'", policy)
    assert nonce
    assert "unsafe-inline" not in re.findall(r"script-src [^;]*", policy)[0]
    assert first.text.count("<script") == first.text.count(f'<script nonce="{nonce[1]}"') > 3
    assert nonce[1] not in second.text


def test_nothing_is_loaded_from_other_servers(site: Site) -> None:
    site.http.cookies.set(COOKIE, session_of(site.services, "orlova"))
    for path in ("/signin", "/desk"):
        loads = re.findall(r"""(?:src|href|url\()=?["']?(https?:)?//[^"')]+""", site.http.get(path).text)
        assert not loads


def test_a_form_from_a_foreign_page_is_refused(site: Site) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {}):
        answer = site.http.post("/signin", data={"name": "orlova"}, headers=headers)
        assert answer.status_code == 403
    assert site.post("/signin", name="orlova", password="x").status_code == 401


def test_a_foreign_page_cannot_open_the_websocket(site: Site) -> None:
    address = site.url.replace("http", "ws") + "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    with pytest.raises(InvalidStatus) as refused:
        connect(address, origin=Origin("http://evil.example"), proxy=None)
    assert refused.value.response.status_code == 403
    with pytest.raises(InvalidStatus):
        connect(address, proxy=None)
    with pytest.raises(InvalidStatus):  # nobody is signed in
        connect(address, origin=Origin(site.url), proxy=None)
    cookie = {"Cookie": f"{COOKIE}={session_of(site.services, 'orlova')}"}
    with connect(address, origin=Origin(site.url), additional_headers=cookie, proxy=None) as socket:
        assert str(socket.recv(5)).startswith("0{")
    polling = "/_nicegui_ws/socket.io/?EIO=4&transport=polling"
    assert site.http.get(polling, headers={"Origin": "http://evil.example"}).status_code == 403
    assert site.http.get(polling).status_code == 303
    assert site.http.get(polling, headers=cookie).status_code == 200


@pytest.mark.parametrize("origin", ["http://[::bad", "null", "", "http://"])
def test_an_origin_that_is_none_is_foreign(site: Site, origin: str) -> None:
    assert site.http.post("/signin", headers={"Origin": origin}).status_code == 403


def test_an_oversize_body_is_refused_before_it_is_read(site: Site) -> None:
    host, port = site.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=5)
    connection.putrequest("POST", "/signin")
    connection.putheader("Origin", site.url)
    connection.putheader("Content-Length", str(50_000_000))
    connection.endheaders()
    assert connection.getresponse().status == 413  # although nothing of it was sent
    connection.close()


@pytest.mark.parametrize("count", [40, 400])
def test_a_body_of_untold_size_is_cut_off_and_the_answer_arrives(site: Site, count: int) -> None:
    def long() -> Iterator[bytes]:
        yield b"name="
        for _ in range(count):
            yield b"x" * 50_000

    headers = {"Origin": site.url, "Content-Type": "application/x-www-form-urlencoded"}
    assert site.http.post("/signin", content=long(), headers=headers).status_code == 413


def test_a_client_that_goes_on_after_the_refusal_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "DROP_SECONDS", 0.05)
    host, port = site.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 5) as peer:
        peer.sendall(
            f"POST /signin HTTP/1.1\r\nHost: x\r\nContent-Length: {5 * middleware.LARGEST_UPLOAD}\r\n\r\n".encode()
        )
        answer = b""
        while part := peer.recv(65536):  # nothing more is sent
            answer += part
    assert answer.startswith(b"HTTP/1.1 413")


def test_the_home_page_is_the_one_that_the_role_works_on(site: Site) -> None:
    for login, home in (("orlova", "/desk"), ("volskaya", "/reading"), ("admin", "/board")):
        site.http.cookies.set(COOKIE, session_of(site.services, login))
        assert site.http.get("/").headers["location"] == home


def test_an_unknown_address_is_answered_in_russian(site: Site) -> None:
    site.http.cookies.set(COOKIE, session_of(site.services, "orlova"))
    answer = site.http.get("/nowhere<script>")
    assert answer.status_code == 404
    assert "Нет такой страницы" in answer.text
    assert "nowhere" not in answer.text


def test_the_storage_secret_is_made_once_and_for_the_user_alone(site: Site) -> None:
    directory = site.services.settings.directory
    path = directory / "storage-secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert web.storage_secret(directory) == web.storage_secret(directory) == path.read_text()


def test_there_is_no_api_description(site: Site) -> None:
    site.http.cookies.set(COOKIE, session_of(site.services, "orlova"))
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert site.http.get(path).status_code == 404


async def test_a_banner_shows_in_words_what_does_not_work(services: Services, installation: Installation) -> None:
    installation.health = Health(
        (Check("database", True, "takes changes"), Check("dicom", False, "connection refused"))
    )
    async with person(services, "volskaya") as user:
        await user.open("/studies")
        await user.should_see("Порт DICOM закрыт: аппараты не видят список. Позовите администратора.")
        await user.should_not_see("connection refused")
        await user.should_not_see("Регистратура")  # not this role's place


async def test_news_of_several_commits_reaches_the_pages_once(services: Services) -> None:
    received = []
    with application(services) as app:
        own = next(each for each in Event.instances if each is not services.changed)
        async with app.router.lifespan_context(app):
            own.subscribe(lambda: received.append(1))
            for _ in range(5):
                services.store.write(lambda tx: tx.notify())
            await wait_until_async(lambda: received)
            await assert_stays(lambda: received == [1])
    services.store.write(lambda tx: tx.notify())  # nobody listens any more, and nothing breaks
