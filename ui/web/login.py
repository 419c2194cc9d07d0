"""Signing in and out: plain HTML forms, because only an HTTP answer can change the session cookie."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Form, Request
from fastapi.responses import RedirectResponse, Response
from markupsafe import escape
from nicegui import Client
from starlette.concurrency import run_in_threadpool

from broker.domain.errors import BrokerError
from broker.security import sessions
from broker.security.sessions import TooManyAttempts
from broker.store.database import StoreError
from ui.layout import plain_page
from ui.services import COOKIE, Services
from ui.text import errors

LONGEST = 1024  # characters of a login or password that are looked at

_FORM = """<main class="signin"><h1>{clinic}</h1><p class="muted">Рабочее место лучевой диагностики</p>
<form method="post" action="/signin"><input type="hidden" name="next" value="{next}">
<div class="field"><div class="cap"><label for="name">Имя пользователя</label></div>
<input class="control" id="name" name="name" value="{name}" autocomplete="username" autocapitalize="none"
 spellcheck="false" required {focus_name}></div>
<div class="field {wrong}"><div class="cap"><label for="password">Пароль</label></div>
<input class="control" id="password" name="password" type="password" autocomplete="current-password" required
 {focus_password} aria-describedby="password-note">
<p class="note" id="password-note" role="alert">{error}</p></div><button class="btn btn-primary">Войти</button></form>
<p class="muted small" style="margin-top:16px">Забыли пароль? Его сменит администратор клиники.</p></main>"""


def build(app: FastAPI, services: Services) -> None:
    """Add the routes /signin and /signout."""
    behind_tls = services.settings.server.tls_certificate is not None

    def page(next_page: str, name: str = "", error: str = "", status: int = 200) -> Response:
        body = _FORM.format(
            clinic=escape(services.settings.clinic_name),
            next=escape(next_page),
            name=escape(name),
            error=escape(error),
            wrong="wrong" if error else "",
            focus_name="" if name else "autofocus",
            focus_password="autofocus" if name else "",
        )
        return plain_page.plain_page("Вход", body, status=status)

    @app.get("/signin", include_in_schema=False)
    def form(request: Request, next: str = "/") -> Response:
        if sessions.actor_of(services.store, request.cookies.get(COOKIE, "")):
            return RedirectResponse(safe_path(next), 303)
        return page(safe_path(next))

    @app.post("/signin", include_in_schema=False)
    async def sign_in(
        request: Request,
        name: Annotated[str, Form()] = "",
        password: Annotated[str, Form()] = "",
        next: Annotated[str, Form()] = "/",
    ) -> Response:
        name, password = name[:LONGEST].strip(), password[:LONGEST]
        address = request.client.host if request.client else ""
        try:
            token = await run_in_threadpool(
                sessions.sign_in,
                services.store,
                services.throttle,
                name,
                password,
                address,
                services.settings.server.session_hours,
            )
        except (BrokerError, StoreError) as caught:
            answer = page(safe_path(next), name, errors.error(caught), 401)
            if isinstance(caught, TooManyAttempts):
                answer.status_code = 429
                answer.headers["Retry-After"] = str(caught.seconds)
            elif isinstance(caught, StoreError):
                answer.status_code = 503
            return answer
        # The cookie changes with every sign-in, and the session before is ended.
        await run_in_threadpool(end_session, services, request.cookies.get(COOKIE, ""))
        answer = RedirectResponse(safe_path(next), 303)
        secure = behind_tls or request.url.scheme == "https"  # the scheme that a trusted proxy names
        answer.set_cookie(COOKIE, token, path="/", secure=secure, httponly=True, samesite="strict")
        return answer

    @app.post("/signout", include_in_schema=False)
    async def sign_out(request: Request) -> Response:
        token = request.cookies.get(COOKIE, "")
        await run_in_threadpool(end_session, services, token)
        reload_tabs(token)
        answer = RedirectResponse("/signin", 303)
        secure = behind_tls or request.url.scheme == "https"
        answer.delete_cookie(COOKIE, path="/", secure=secure, httponly=True, samesite="strict")
        return answer


def safe_path(next_page: Any) -> str:
    """Return a local path to go to after signing in; the home page in place of what would lead to another host."""
    path = next_page if isinstance(next_page, str) else ""
    # Browsers read a backslash as a slash and skip control characters: //host, /\host and /\t/host are other hosts.
    local = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if local and not path.startswith(("/signin", "/signout", "/_nicegui")) else "/"


def end_session(services: Services, token: str) -> None:
    """End the session behind a token; one that is over already is left alone."""
    if token and (actor := sessions.actor_of(services.store, token)):
        services.store.write(sessions.sign_out, actor)


def reload_tabs(token: str) -> None:
    """Reload every open page of a session, which leads it to the sign-in page."""
    for client in list(Client.instances.values()):
        if token and client.request and client.request.cookies.get(COOKIE) == token:
            client.run_javascript("location.reload()")
