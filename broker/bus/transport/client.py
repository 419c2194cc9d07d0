"""Calls the regional bus over HTTP and returns what an answer means: delivered, retry, rejected or paused.

One call gives one answer; failures of the network or the bus are answers, not exceptions. The client does not retry,
does not wait, and has no state but its connections. The token is sent to the configured address only.
"""

from __future__ import annotations

import os
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from requests.utils import get_environ_proxies
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from broker.bus.transport.answers import Answer, Delivered, Paused, Rejected, Retry, classify, http_date
from broker.bus.transport.bus_clock import BusClock
from broker.bus.transport.deadline import Adapter, Deadline, within
from broker.bus.transport.dialect import Call
from broker.domain.patients import names

BODY_LIMIT = 10 * 1024 * 1024  # bytes
MAX_IDLE = 8  # connections that stay open between calls
# … and for how long. Servers close an idle one after 5 s or more; a call that comes just then would be lost.
MAX_IDLE_SECONDS = 3.0


class BusClient:
    """The bus at `url`. `token` returns the token before every call; `timeout` limits a whole call, in seconds.

    Safe to use from any thread: every call in progress has a connection of its own.
    """

    def __init__(
        self,
        url: str,
        token: Callable[[], str],
        timeout: float,
        *,
        proxy: str = "",
        ca_file: Path | None = None,
        client_certificate: Path | None = None,
        client_key: Path | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: BusClock | None = None,
    ) -> None:
        """`clock` notes what the bus says the time is; by default, the client has one of its own."""
        self.clock = clock or BusClock()
        self.url = url.rstrip("/")
        self._token = token
        self._timeout = timeout
        self._now = now
        self._certificate = (str(client_certificate), str(client_key)) if client_certificate and client_key else None
        # ~/.netrc is not used: it would replace the token. From the environment, only a proxy and a file of certificate
        # authorities are used, if the configuration has none.
        self._authorities = str(ca_file or os.environ.get("REQUESTS_CA_BUNDLE") or "")
        self._proxies: dict[str, str] = {}
        if proxy:
            self._proxies = {"http": proxy, "https": proxy}
        elif (urlsplit(self.url).hostname or "") not in ("127.0.0.1", "::1", "localhost"):
            self._proxies = get_environ_proxies(self.url)
        self._lock = threading.Lock()
        self._idle: list[tuple[requests.Session, float]] = []  # and since when, the newest last
        self._deadlines: set[Deadline] = set()  # of the calls in progress
        self._closed = False

    def call(self, call: Call) -> Answer:
        """Make one call in at most `timeout` seconds. An answer with another type of resource than expected is a Retry.

        HTTP 404 and 410 for the read of one resource are Rejected: the connection works.
        """
        answer = _expect(call.expect, self._answer(call))
        if isinstance(answer, Retry) and answer.reason in ("HTTP 404", "HTTP 410") and _is_single_read(call):
            return Rejected(answer.reason, evidence=answer.evidence)
        return answer

    def abort_calls(self) -> None:
        """Abort the calls in progress; their outcome is then unknown. May be called from any thread."""
        with self._lock:
            deadlines = list(self._deadlines)
        for deadline in deadlines:
            deadline.end()

    def close(self) -> None:
        """Close the connections; those of calls in progress are closed at the end of the call."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for session, _ in idle:
            session.close()

    def _answer(self, call: Call) -> Answer:
        try:
            token = self._token()
        except (OSError, ValueError) as error:
            return Paused(f"token refused: its file cannot be used ({error})")
        with within(self._timeout) as deadline:
            try:
                with (
                    self._session(deadline) as session,
                    session.request(
                        call.method,
                        self.url + call.path,
                        data=call.body or None,
                        headers={
                            "Authorization": f"N3 {token}",
                            "Content-Type": call.content_type,
                            "Accept": call.accept,
                        },
                        timeout=self._timeout,
                        allow_redirects=False,
                        stream=True,
                    ) as response,
                ):
                    body = bytearray()
                    for chunk in response.iter_content(65536):
                        body += chunk
                        if len(body) > BODY_LIMIT:
                            return Retry(f"not a FHIR answer: longer than {BODY_LIMIT} bytes")
            except OSError as error:  # the base of all exceptions of requests
                answer = _classify_error(error)
                timed_out = deadline.expired and isinstance(answer, Retry) and answer.uncertain
                return Retry("time-out") if timed_out else answer
        if deadline.expired:  # a body without a length may have ended by the deadline
            return Retry("time-out")
        answer = classify(response.status_code, response.headers, bytes(body), self._now())
        # What a portal or a proxy says in the bus's place is not the bus's time.
        if isinstance(answer, Delivered | Rejected) and (date := http_date(response.headers.get("Date", ""))):
            self.clock.note(date)
        return answer

    def _unusable_files(self) -> str:
        """Return in English why the configured files of certificates cannot be used; empty if they can.

        Checked here because OpenSSL would ask for the password of an encrypted key on the terminal.
        """
        if not self.url.startswith("https:"):
            return ""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        paths = self._authorities
        try:
            if self._authorities and not os.path.isdir(self._authorities):
                context.load_verify_locations(self._authorities)
            if self._certificate:
                paths = " and ".join(self._certificate)
                context.load_cert_chain(*self._certificate, password=_no_password)
        except ssl.SSLError as error:
            return f"{paths} ({_tidy(error.reason or 'not PEM')})"
        except (OSError, ValueError) as error:
            return f"{paths} ({getattr(error, 'strerror', None) or error})"
        return ""

    @contextmanager
    def _session(self, deadline: Deadline) -> Iterator[requests.Session]:
        """Yield a session for one call; it is used again unless the deadline has expired."""
        with self._lock:
            session, since = self._idle.pop() if self._idle else (None, 0.0)
            self._deadlines.add(deadline)
        if session and monotonic() - since > MAX_IDLE_SECONDS:
            session.close()  # its connections; the next call opens another one
        try:
            session = session or self._new_session()
            yield session
        finally:
            with self._lock:
                self._deadlines.discard(deadline)
                keep = not self._closed and not deadline.expired and len(self._idle) < MAX_IDLE
                if session and keep:
                    self._idle.append((session, monotonic()))
            if session and not keep:
                session.close()

    def _new_session(self) -> requests.Session:
        if problem := self._unusable_files():
            raise _UnusableFiles(problem)
        session = requests.Session()
        session.trust_env = False
        session.verify = self._authorities or True
        session.cert = self._certificate
        session.proxies.update(self._proxies)
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            session.mount(scheme, Adapter())
        session.headers.update(
            {
                "Accept-Encoding": "identity",  # a small compressed answer could unpack into a large one
                "User-Agent": "worklist-broker",
            }
        )
        return session


class _UnusableFiles(OSError):
    """A file of certificates or keys cannot be used."""


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _is_single_read(call: Call) -> bool:
    return call.method == "GET" and bool(re.fullmatch(r"/[A-Za-z]+/[^/?]+", call.path))


def _expect(kind: str, answer: Answer) -> Answer:
    """Return a Retry in place of an answer with another type of resource."""
    if kind and isinstance(answer, Delivered) and not answer.task and answer.resource["resourceType"] != kind:
        received = names.tidy(answer.resource["resourceType"])[:40]
        return Retry(f"not a FHIR answer: {received} instead of {kind}", evidence=answer.evidence)
    return answer


# TLS alerts by which the server refuses our certificate (RFC 8446, 6.2).
_CLIENT_CERTIFICATE_ALERT = re.compile(r"ALERT_(\w*CERTIFICATE\w*|UNKNOWN_CA|ACCESS_DENIED)")


def _classify_error(error: OSError) -> Answer:
    """Return what a network error means; without a connection the bus has certainly not got the message."""
    causes = list(_causes(error))

    def caused_by(*kinds: type[BaseException]) -> BaseException | None:
        return next((cause for cause in causes if isinstance(cause, kinds)), None)

    if isinstance(refused := caused_by(ssl.SSLCertVerificationError), ssl.SSLCertVerificationError):
        return Paused(f"certificate refused ({refused.verify_message.rstrip('.')})")
    for cause in causes:
        if isinstance(cause, ssl.SSLError) and (alert := _CLIENT_CERTIFICATE_ALERT.search(cause.reason or "")):
            return Paused(f"client certificate refused ({_tidy(alert[1])})")
    if caused_by(requests.exceptions.ProxyError):
        if caused_by(NameResolutionError):
            return Retry("proxy: name not found", uncertain=False)
        refused_by = re.search(r"Tunnel connection failed: ([0-9]{3})", " ".join(map(str, causes)))
        status = f" (HTTP {refused_by[1]})" if refused_by else ""
        reason = f"proxy: it does not let us through{status}" if status else "proxy: cannot connect"
        return Retry(reason, uncertain=False)
    if caused_by(ssl.SSLError, requests.exceptions.SSLError):
        return Retry("TLS: no secure connection")
    if caused_by(NameResolutionError):
        return Retry("name not found", uncertain=False)
    if caused_by(NewConnectionError):
        return Retry("cannot connect", uncertain=False)
    if caused_by(ConnectTimeoutError, requests.ConnectTimeout):
        return Retry("time-out: no connection", uncertain=False)
    if caused_by(TimeoutError, urllib3.exceptions.TimeoutError, requests.Timeout):
        return Retry("time-out")
    if isinstance(error, requests.RequestException):
        return Retry("cannot connect: the connection broke")
    return Paused(f"certificate files cannot be used: {error}")  # they were removed since they were checked


def _tidy(text: str) -> str:
    return text.lower().replace("_", " ")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all its causes: requests and urllib3 wrap errors in several ways."""
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
