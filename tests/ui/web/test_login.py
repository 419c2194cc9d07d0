"""Signing in and out, with what a stolen, fixed or guessed session meets."""

from __future__ import annotations

import pytest

from broker.security import sessions
from tests.ui.conftest import PASSWORD, Site, session_of
from ui.services import COOKIE
from ui.web.login import safe_path


def test_signing_in_gives_a_cookie_that_scripts_and_other_sites_cannot_use(site: Site) -> None:
    answer = site.sign_in(next="/board")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/board"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/" in cookie
    actor = sessions.actor_of(site.services.store, answer.cookies[COOKIE])
    assert actor
    assert actor.name == "orlova"
    assert site.http.get("/signin?next=/board").headers["location"] == "/board"


def test_a_wrong_password_is_reported_in_russian_and_keeps_the_name(site: Site) -> None:
    answer = site.sign_in(login="orlova", password="wrong")
    assert answer.status_code == 401
    assert "Имя или пароль не подходят. Проверьте раскладку и Caps Lock" in answer.text
    assert 'value="orlova"' in answer.text
    assert COOKIE not in answer.cookies
    unknown = site.sign_in(login="nobody", password="wrong")
    assert "Имя или пароль не подходят" in unknown.text


def test_guessing_is_slowed_down_and_the_wait_is_shown(site: Site) -> None:
    for _ in range(3):
        site.sign_in(password="wrong")
    answer = site.sign_in(password=PASSWORD)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert "Слишком много попыток. Подождите" in answer.text


def test_every_sign_in_changes_the_cookie_and_ends_the_old_session(site: Site) -> None:
    planted = session_of(site.services, "orlova")
    site.http.cookies.set(COOKIE, planted)
    answer = site.sign_in(login="yudin")
    assert answer.cookies[COOKIE] != planted
    assert sessions.actor_of(site.services.store, planted) is None


def test_signing_out_ends_the_session_on_the_server(site: Site) -> None:
    token = site.sign_in().cookies[COOKIE]
    answer = site.post("/signout")
    assert (answer.status_code, answer.headers["location"]) == (303, "/signin")
    assert sessions.actor_of(site.services.store, token) is None
    site.http.cookies.set(COOKIE, token)  # as somebody who has kept a copy
    assert site.http.get("/desk").status_code == 303
    assert site.post("/signout").status_code == 303


def test_what_was_typed_into_the_form_is_shown_as_text(site: Site) -> None:
    answer = site.sign_in(login='"><script>alert(1)</script>', password="x", next='/desk"><script>')
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;alert(1)" in answer.text
    assert "'unsafe-inline'" not in answer.headers["content-security-policy"].split("style-src")[0]


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("/desk?order=K1", "/desk?order=K1"),
        ("https://evil.example/", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("/signin?next=/signin", "/"),
        ("", "/"),
    ],
)
def test_after_signing_in_one_stays_on_this_host(wanted: str, given: str) -> None:
    assert safe_path(wanted) == given
