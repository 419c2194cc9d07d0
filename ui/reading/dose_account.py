"""The account of a year's doses (3-ДОЗ), for the head of the clinic: links, and the table that they download."""

from __future__ import annotations

from fastapi import FastAPI, Request
from nicegui import ui
from starlette.responses import Response

from broker.documents import dose_account as document
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.queries.studies import dose_account
from ui.layout import plain_page
from ui.services import Services
from ui.text import errors
from ui.widgets.theme import text

_FIRST, _LAST = 1900, 9999


def build(app: FastAPI, services: Services) -> None:
    """Add the route /dose-account/{year}.csv."""

    @app.get("/dose-account/{year}.csv", include_in_schema=False)
    def download(request: Request, year: int) -> Response:
        if not permissions.may(request.state.actor, Permission.MANAGE):
            return plain_page.notice("Нет прав", errors.ERRORS["forbidden"], 403)
        if not _FIRST <= year <= _LAST:
            return plain_page.notice("Нет такого года", "Проверьте адрес.", 404)
        with services.store.read() as reader:
            found = dose_account.of_year(reader, year)
        headers = {"Content-Disposition": f'attachment; filename="doses-{year}.csv"', "Cache-Control": "no-store"}
        return Response(document.csv_of(found), media_type="text/csv; charset=utf-8", headers=headers)


def draw_links(year: int) -> None:
    """Draw the downloads of this year and of the one before it, which is the one that is reported."""
    for each in (year - 1, year):
        with ui.link("", f"/dose-account/{each}.csv").classes("btn btn-small"):
            text("span", f"Дозы за {each} (3-ДОЗ)")
