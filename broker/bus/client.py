"""Calls the regional bus over HTTP and says what an answer means: delivered, retry, parked or paused.

One call, one answer, never an exception for what the network or the bus does. It retries nothing, waits for nothing,
knows no order and keeps no state but its connection. The token goes to the configured address only.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from requests.utils import get_environ_proxies
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from broker.bus.answers import Answer, Delivered, Parked, Paused, Retry, classify
from broker.bus.deadline import Adapter, Limit, within
from broker.bus.profile import Resource
from broker.bus.resources import encode
from broker.domain import names

BODY_LIMIT = 10 * 1024 * 1024  # bytes


class BusClient:
    """The bus at `url`. `token` is asked before every call; `timeout` (seconds) bounds a call to its last byte."""

    def __init__(
        self,
        url: str,
        token: Callable[[], str],
        timeout: float,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._timeout = timeout
        self._now = now
        self._limit: Limit | None = None  # of the call that runs, or ran last
        self._session = requests.Session()
        # Nothing is taken from ~/.netrc, which would replace the token. What an administrator may rightly set in the
        # environment is asked for here by name: a proxy, and a file of further certificate authorities.
        self._session.trust_env = False
        self._session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
        if (urlsplit(self._url).hostname or "") not in ("127.0.0.1", "::1", "localhost"):
            self._session.proxies.update(get_environ_proxies(self._url))
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, Adapter())
        self._session.headers.update(
            {
                "Content-Type": "application/json",
                "Accept": "application/json",
                "Accept-Encoding": "identity",  # a small answer must not unfold into a large one
                "User-Agent": "worklist-broker",
            }
        )

    def transaction(self, bundle: Resource) -> Answer:
        """Send a transaction Bundle; Delivered holds the transaction-response."""
        return _expect("Bundle", self._call("POST", "?_format=json", bundle))

    def update_status(self, parameters: Resource) -> Answer:
        """Change the status of a Task."""
        return self._call("POST", "/$updatestatus?_format=json", parameters)

    def search_tasks(self, parameters: Resource) -> Answer:
        """Search Tasks; Delivered holds the searchset."""
        return _expect("Bundle", self._call("POST", "/Task/_search?_format=json", parameters))

    def read(self, kind: str, id: str) -> Answer:
        """Read one resource; one that is not there is Parked."""
        answer = _expect(kind, self._call("GET", f"/{kind}/{id}"))
        if isinstance(answer, Retry) and answer.reason in ("HTTP 404", "HTTP 410"):
            return Parked(answer.reason, evidence=answer.evidence)
        return answer

    def hang_up(self) -> None:
        """End the call that is running, from another thread; its outcome is unknown then."""
        if limit := self._limit:
            limit.end()

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _call(self, method: str, path: str, resource: Resource | None = None) -> Answer:
        """Make one call in at most `timeout` seconds."""
        try:
            token = self._token()
        except (OSError, ValueError) as error:
            return Paused(f"token refused: its file cannot be used ({error})")
        try:
            sent = encode(resource) if resource is not None else None
        except ValueError as error:
            return Parked(f"cannot be written as JSON: {error}")
        with within(self._timeout) as limit:
            self._limit = limit
            try:
                response = self._session.request(
                    method,
                    self._url + path,
                    data=sent,
                    headers={"Authorization": f"N3 {token}"},
                    timeout=self._timeout,
                    allow_redirects=False,
                    stream=True,
                )
                with response:
                    body = bytearray()
                    for chunk in response.iter_content(65536):
                        body += chunk
                        if len(body) > BODY_LIMIT:
                            return Retry(f"not a FHIR answer: longer than {BODY_LIMIT} bytes")
            except OSError as error:  # the root of all that requests raises
                answer = _failed(error)
                cut = limit.over and isinstance(answer, Retry) and answer.uncertain
                return Retry("time-out") if cut else answer
        if limit.over:  # the end of a body without a length may be our own cut
            return Retry("time-out")
        return classify(response.status_code, response.headers, bytes(body), self._now())


def _expect(kind: str, answer: Answer) -> Answer:
    """Let an answer of another type than asked for pass for none."""
    if isinstance(answer, Delivered) and not answer.task and answer.resource["resourceType"] != kind:
        told = names.tidy(answer.resource["resourceType"])[:40]
        return Retry(f"not a FHIR answer: {told} instead of {kind}", evidence=answer.evidence)
    return answer


def _failed(error: OSError) -> Answer:
    """Say what a failure of the network means; without a connection the bus certainly has nothing."""
    causes = list(_causes(error))

    def caused_by(*kinds: type[BaseException]) -> BaseException | None:
        return next((cause for cause in causes if isinstance(cause, kinds)), None)

    if isinstance(refused := caused_by(ssl.SSLCertVerificationError), ssl.SSLCertVerificationError):
        return Paused(f"TLS: the certificate was refused ({refused.verify_message})")
    if caused_by(ssl.SSLError, requests.exceptions.SSLError):
        return Retry("TLS: no secure connection")
    if caused_by(NameResolutionError):
        return Retry("name not found", uncertain=False)
    if caused_by(requests.exceptions.ProxyError):
        return Retry("cannot connect: the proxy does not let us through", uncertain=False)
    if caused_by(NewConnectionError):
        return Retry("cannot connect", uncertain=False)
    if caused_by(ConnectTimeoutError, requests.ConnectTimeout):
        return Retry("time-out: no connection", uncertain=False)
    if caused_by(TimeoutError, urllib3.exceptions.TimeoutError, requests.Timeout):
        return Retry("time-out")
    if isinstance(error, requests.RequestException):
        return Retry("cannot connect: the connection broke")
    return Paused(f"TLS: {error}")  # requests raises a bare OSError for a file of authorities that cannot be read


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Walk from an error to what caused it: requests and urllib3 wrap in several ways."""
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
