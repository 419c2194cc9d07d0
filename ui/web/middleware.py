"""What stands before every page: size of bodies, origin, session, and the headers that a browser obeys.

Plain ASGI, so that websockets pass through the same gates and nothing is read into memory before it was allowed.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from urllib.parse import quote, urlsplit

from nicegui import __version__ as nicegui_version
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.security import sessions
from ui.services import COOKIE, Services

LARGEST_BODY = 1_000_000  # bytes; also NiceGUI's own limit for one message
# Where people send files, and how much of them; only somebody who is signed in gets there.
UPLOADS = "/attach/"
LARGEST_UPLOAD = 20_000_000
LARGEST_DROPPED = 100_000_000  # bytes of a refused body; an honest mistake, a film of a study, is below
DROP_SECONDS = 5.0
WEBSOCKET = "/_nicegui_ws/"
# No session needed: signing in, health, and files that hold nothing of the clinic.
OPEN_PATHS = frozenset({"/signin", "/signout", "/healthz", "/favicon.ico"})
OPEN_PREFIXES = ("/theme/", f"/_nicegui/{nicegui_version}/", WEBSOCKET)


class BodyLimit:
    """Answers 413 to a body that says it is too large, or turns out to be, before it is kept."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting what it brings."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        most = LARGEST_UPLOAD if scope["path"].startswith(UPLOADS) else LARGEST_BODY
        if not declared.isdigit() or int(declared) > most:
            await _refuse(receive, send)
            return
        received, too_large, answered = 0, False, False

        async def counted() -> Message:
            nonlocal received, too_large
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                too_large = True
                return {"type": "http.disconnect"}  # the reader of the body stops
            return message

        async def watched(message: Message) -> None:
            nonlocal answered
            if too_large and not answered:
                return  # the reader's own words about a broken body
            answered = True
            await send(message)

        try:
            await self.app(scope, counted, watched)
        except Exception:
            if not too_large or answered:
                raise
        if too_large and not answered:
            await _refuse(receive, send)


async def _refuse(receive: Receive, send: Send) -> None:
    """Answer 413, and only then close the connection: what still comes is read and dropped for a while.

    A connection that is closed while its client sends is reset, and the client sees that instead of the answer.
    """
    answer = PlainTextResponse("the body is too large", 413, {"Connection": "close"})
    await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": True})
    dropped = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DROP_SECONDS):
            while dropped < LARGEST_DROPPED:
                message = await receive()
                dropped += len(message.get("body", b""))
                if not message.get("more_body", False):
                    break
    await send({"type": "http.response.body", "body": b""})


class OwnOrigin:
    """Lets pages of this program alone send forms and open websockets.

    A browser names the page's origin with every POST and every websocket; a missing or another one is refused.
    """

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        self.app = app
        self.origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on requests from this program's own pages."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        reads = scope["type"] == "http" and scope["method"] in ("GET", "HEAD", "OPTIONS")
        if origin is None:
            allowed = reads
        else:
            # Reading another page's link is fine, but not the long-polling twin of the websocket.
            own = origin in self.origins or _host(origin) == headers.get("host", "").lower() != ""
            allowed = own or (reads and not scope["path"].startswith(WEBSOCKET))
        if allowed:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})  # before accept: the browser sees a 403
        else:
            await PlainTextResponse("foreign origin", 403)(scope, receive, send)


def _host(origin: str) -> str:
    """Return the host (and port) of an origin; empty if it is not an origin."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


class SignedIn:
    """Redirects requests without a session to the sign-in page, and refuses their websockets.

    An open websocket reaches only a page that was built for somebody signed in, and every use case checks again.
    """

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self.app = app
        self.services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on requests that bear a live session."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        live = scope["path"].startswith(WEBSOCKET)
        if not live and (scope["path"] in OPEN_PATHS or scope["path"].startswith(OPEN_PREFIXES)):
            await self.app(scope, receive, send)
            return
        token = cookie_parser(Headers(scope=scope).get("cookie", "")).get(COOKIE, "")
        actor = await run_in_threadpool(sessions.actor_of, self.services.store, token) if token else None
        if actor:
            scope.setdefault("state", {})["actor"] = actor
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif scope["method"] in ("GET", "HEAD"):
            query = scope["query_string"].decode("latin-1")
            target = quote(scope["path"] + (f"?{query}" if query else ""), safe="")
            back = "/signin" if scope["path"] == "/" else f"/signin?next={target}"
            await RedirectResponse(back, 303, {"Cache-Control": "no-store"})(scope, receive, send)
        else:
            await PlainTextResponse("sign in first", 401)(scope, receive, send)


class SafeHeaders:
    """Adds the security headers; a NiceGUI page is held back until its scripts have the nonce.

    `keeps_windows`: pages open a window of another server, the image viewer, and use it again.
    """

    def __init__(self, app: ASGIApp, *, keeps_windows: bool = False) -> None:
        self.app = app
        # Under same-origin a window of another server is lost as soon as it is open: each study would open its own.
        self.opener_policy = "same-origin-allow-popups" if keeps_windows else "same-origin"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and add the headers to its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start: Message | None = None
        body = b""

        async def dressed(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["X-Frame-Options"] = "DENY"
                # Not no-referrer: with it browsers send «Origin: null» from the program's own forms.
                headers["Referrer-Policy"] = "same-origin"
                headers["Cross-Origin-Opener-Policy"] = self.opener_policy
                headers.setdefault("Cache-Control", "no-store")
                if headers.get("content-type", "").startswith("text/html"):
                    headers["Cache-Control"] = "no-store"
                    if headers.get("x-nicegui-content"):
                        start = message
                        return
                headers["Content-Security-Policy"] = policy("'self'", "connect-src 'self'")
                await send(message)
            elif start is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if message.get("more_body"):
                    return
                # NiceGUI's page has inline scripts and compiles its templates in the browser, hence nonce and eval.
                # What comes from outside stands in the page with its angle brackets escaped, so no «<script» is its.
                nonce = secrets.token_urlsafe(16)
                body = body.replace(b"<script", f'<script nonce="{nonce}"'.encode())
                headers = MutableHeaders(scope=start)
                headers["Content-Length"] = str(len(body))
                headers["Content-Security-Policy"] = policy(
                    f"'self' 'nonce-{nonce}' 'unsafe-eval'", "connect-src 'self'"
                )
                await send(start)
                await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, dressed)


def policy(scripts: str, *more: str) -> str:
    """Return a content security policy: own content only, no frames, no plug-ins, forms only to this program."""
    # Styles: Quasar and Vue set them inline all the time.
    parts = (
        "default-src 'none'",
        f"script-src {scripts}",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self'",
        *more,
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
    return "; ".join(parts)
