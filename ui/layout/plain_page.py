"""Pages that NiceGUI does not make: no websocket, no script but the shortcuts."""

from __future__ import annotations

from fastapi.responses import HTMLResponse
from markupsafe import escape

from ui.widgets import theme

ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#0b6e99"/>'
    '<path d="M4 5h8M4 8h8M4 11h5" stroke="#fff" stroke-width="1.6" stroke-linecap="round"/></svg>'
)


def plain_page(title: str, body: str, *, status: int = 200, extra_head: str = "", attributes: str = "") -> HTMLResponse:
    """Return a page without a websocket; `body` is HTML whose outside text is escaped, `title` is text."""
    return HTMLResponse(
        '<!doctype html><html lang="ru"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="icon" href="/favicon.ico">'
        f"{theme.head(plain=True)}{extra_head}</head>"
        f"<body{attributes}>{body}</body></html>",
        status,
    )


def notice(title: str, sentence: str, status: int) -> HTMLResponse:
    """Return a plain page that explains why nothing is shown."""
    body = (
        f'<main class="signin"><h1>{escape(title)}</h1><p class="muted">{escape(sentence)}</p>'
        '<p style="margin-top:16px"><a href="/">На главную</a></p></main>'
    )
    return plain_page(title, body, status=status)
