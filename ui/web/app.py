"""The web application: FastAPI with NiceGUI inside, its gates, `/healthz`, and the server that carries it.

No page is drawn here. The composition root sets NICEGUI_STORAGE_PATH before the first import of nicegui.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from nicegui import core, ui
from starlette.middleware.gzip import GZipMiddleware

from broker.domain.errors import SessionEnded
from broker.security import permissions
from broker.security.permissions import Permission
from ui import live
from ui.archive import page as archive_page
from ui.board import page as board_page
from ui.desk import page as desk_page
from ui.devices import page as devices_page
from ui.exchange import message
from ui.exchange import page as exchange_page
from ui.incoming import page as incoming_page
from ui.layout import plain_page
from ui.live import ChangeNotifier
from ui.opinions import answer_page
from ui.opinions import page as opinions_page
from ui.order import label, study_list
from ui.order import page as order_page
from ui.patients import correction_page, dose_sheet, merge_page
from ui.patients import page as patient_page
from ui.reading import dose_account, figures_page, queue_page, templates_page
from ui.reading.report import attached_files, opened_report, signed_report
from ui.reading.report import page as reading_page
from ui.reading.session import page as session_page
from ui.reading.together import page as together_page
from ui.refused import page as refused_page
from ui.services import Services
from ui.settings import ServerSettings
from ui.text import errors
from ui.web import login, middleware
from ui.widgets import theme


class PageModule(Protocol):
    """A module that is a page."""

    def build(self, services: Services) -> None:
        """Add its routes."""


RECONNECT = 20.0  # seconds that a page may be cut off before its server side is forgotten
GRACE = 2  # seconds that open requests get when the program stops
PAGES: tuple[PageModule, ...] = (
    desk_page,
    board_page,
    incoming_page,
    archive_page,
    refused_page,
    order_page,
    patient_page,
    merge_page,
    correction_page,
    queue_page,
    reading_page,
    opened_report,
    session_page,
    together_page,
    templates_page,
    figures_page,
    opinions_page,
    answer_page,
    exchange_page,
    message,
    study_list,
    devices_page,
)


def create_app(services: Services) -> FastAPI:
    """Return the whole application; called once in a process."""
    news = ChangeNotifier(services)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        news.start()
        yield
        news.stop()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    theme.install(app)
    login.build(app, services)
    label.build(app, services)
    dose_sheet.build(app, services)
    dose_account.build(app, services)
    signed_report.build(app, services)
    opened_report.build_files(app, services)
    attached_files.build(app, services)
    _healthz(app, services)
    build_ui(services)
    ui.run_with(
        app,
        title=services.settings.clinic_name,
        favicon=plain_page.ICON,
        dark=None,
        language="ru",
        reconnect_timeout=RECONNECT,
        tailwind=False,
        gzip_middleware_factory=None,  # ours, below, stands outside the gate that writes into pages
        storage_secret=storage_secret(services.settings.directory),
        session_middleware_kwargs={
            "session_cookie": "wlb_page",
            "https_only": services.settings.server.tls_certificate is not None,
            "same_site": "strict",
            "max_age": 12 * 3600,
        },
        show_welcome_message=False,
    )
    core.app.add_exception_handler(404, _not_found)
    core.app.on_page_exception(_page_exception)
    # The last one added is the outermost.
    app.add_middleware(middleware.SignedIn, services=services)
    app.add_middleware(middleware.OwnOrigin, origins=services.settings.server.origins)
    app.add_middleware(middleware.BodyLimit)
    viewer = services.settings.viewer
    app.add_middleware(middleware.SafeHeaders, keeps_windows=viewer is not None and viewer.is_web_page)
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=5)
    return app


def build_ui(services: Services) -> None:
    """Add the routes of every page."""
    for page in PAGES:
        page.build(services)


class ScreenServer(uvicorn.Server):
    """Leaves signals to the composition root, which stops the parts of the program in order."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture no signals."""
        yield


def make_server(app: FastAPI, settings: ServerSettings) -> ScreenServer:
    """Return the server; `await server.serve()` runs it until `server.should_exit` is set."""
    return ScreenServer(
        uvicorn.Config(
            app,
            host=settings.address,
            port=settings.port,
            ssl_certfile=settings.tls_certificate,
            ssl_keyfile=settings.tls_key,
            log_config=None,
            access_log=False,  # addresses hold what was searched for
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=list(settings.trusted_proxies),
            server_header=False,
            lifespan="on",
            ws_max_size=middleware.LARGEST_BODY,
            timeout_graceful_shutdown=GRACE,
        )
    )


def storage_secret(directory: Path) -> str:
    """Return the key that signs NiceGUI's cookie; made once and kept where only the program's user can read it."""
    path = directory / "storage-secret"
    try:
        kept = path.read_text(encoding="ascii")
    except FileNotFoundError:
        kept = ""
    if not kept:  # also where a power cut left an empty file
        kept = secrets.token_urlsafe(32)
        part = directory / "storage-secret.part"
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.write(kept)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    return kept


def _healthz(app: FastAPI, services: Services) -> None:
    @app.get("/healthz", include_in_schema=False)
    def healthz() -> JSONResponse:
        health = services.health()
        checks = [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in health.checks]
        return JSONResponse(
            {"ok": health.ok, "checks": checks}, 200 if health.ok else 503, {"Cache-Control": "no-store"}
        )

    @app.get("/favicon.ico", include_in_schema=False)
    def favicon() -> Response:
        return Response(plain_page.ICON, media_type="image/svg+xml", headers={"Cache-Control": "max-age=86400"})

    @app.get("/", include_in_schema=False)
    def home(request: Request) -> RedirectResponse:
        homes = (("/desk", Permission.REGISTER), ("/reading", Permission.REPORT))
        allowed = (path for path, permission in homes if permissions.may(request.state.actor, permission))
        return RedirectResponse(next(allowed, "/board"), 303)


async def _not_found(request: Request, _: Exception) -> Response:
    return plain_page.notice("Нет такой страницы", "Адрес устарел или набран с ошибкой.", 404)


def _page_exception(caught: Exception) -> None:
    """Draw a page that could not be built: no traceback, no names."""
    if isinstance(caught, SessionEnded):
        live.leave()
        return
    with ui.element("main").classes("signin"):
        theme.text("h1", "Страница не открылась")
        theme.text("p", errors.error(caught), "muted")
        ui.link("Открыть снова", "")
