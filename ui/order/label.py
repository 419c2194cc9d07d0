"""The label for the paper referral: a page of 58 × 40 mm that prints itself."""

from __future__ import annotations

from barcode import Code128
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from markupsafe import escape

from broker.domain.orders import Order
from broker.security import permissions
from broker.security.permissions import Permission
from broker.store.queries import order_card
from ui.layout import plain_page
from ui.services import Services
from ui.text import errors, words

QUIET_ZONE = 10  # modules on either side, ISO/IEC 15417
_STYLE = """<style>
@page { size: 58mm 40mm; margin: 0; }
body { min-width: 0; background: #fff; color: #000; font-family: var(--font); }
.label { width: 58mm; height: 40mm; padding: 2.5mm 3mm; overflow: hidden; display: flex; flex-direction: column; }
.label b { font-size: 11pt; line-height: 12.5pt; max-height: 25pt; overflow: hidden; }
.label p { font-size: 9pt; line-height: 11pt; white-space: nowrap; overflow: hidden; }
.label svg { flex: 1; width: 100%; min-height: 0; margin: 1.2mm 0 .6mm; }
.label .code { font: 600 11pt/12pt var(--mono); text-align: center; }
@media screen { .label { margin: 24px auto; border: 1px dashed #888; box-sizing: content-box; } }
</style>"""


def build(app: FastAPI, services: Services) -> None:
    """Add the route /label/{accession_number}."""

    @app.get("/label/{accession_number:path}", include_in_schema=False)
    def label(request: Request, accession_number: str) -> HTMLResponse:
        if not permissions.may(request.state.actor, Permission.VIEW):
            return plain_page.notice("Нет прав", errors.ERRORS["forbidden"], 403)
        with services.store.read() as reader:
            card = order_card.card(reader, accession_number)
        if card is None:
            return plain_page.notice("Нет такого направления", "Проверьте номер.", 404)
        return plain_page.plain_page(
            f"Этикетка {accession_number}",
            draw(card.order, card.order.device_number(bus=services.clinic.bus_numbers)),
            extra_head=_STYLE,
            attributes=" data-print",
        )


def draw(order: Order, number: str) -> str:
    """Return a label as HTML: patient, study, the accession number that devices get, as bars and as text."""
    start = order.steps[0].start
    # Code 128 has no Cyrillic: such a number is read by people only.
    drawn = bars(number) if number.isascii() and number.isprintable() else ""
    return (
        f'<main class="label"><b>{escape(str(order.patient.name))}</b>'
        f"<p>{words.born(order.patient.born)}, запись {start:%d.%m.%Y %H:%M}</p>"
        f"<p>{escape(words.procedure(order))}</p>"
        f'{drawn}<p class="code">{escape(number)}</p></main>'
    )


def bars(number: str) -> str:
    """Return Code 128 as SVG, one unit per module; it is stretched to the label's width."""
    modules = Code128(number).build()[0]
    width = len(modules) + 2 * QUIET_ZONE
    rects, at = [], 0
    while at < len(modules):
        end = at
        while end < len(modules) and modules[end] == modules[at]:
            end += 1
        if modules[at] == "1":
            rects.append(f'<rect x="{at + QUIET_ZONE}" width="{end - at}" height="1"/>')
        at = end
    return (
        f'<svg viewBox="0 0 {width} 1" preserveAspectRatio="none" shape-rendering="crispEdges" role="img"'
        f' aria-label="Штрих-код {escape(number)}">{"".join(rects)}</svg>'
    )
