"""Delaying an answer, or closing the connection without one."""

from __future__ import annotations

import asyncio
from typing import Protocol, runtime_checkable

from starlette.requests import Request
from starlette.responses import Response

BASE_PATH = "/imaging/api/fhir"


@runtime_checkable
class CallServer(Protocol):
    """The server of a call, named `practice_server` in its ASGI scope."""

    stopping: bool

    def hang_up(self, client: tuple[str, int]) -> None:
        """Cut a client's connection without an answer."""


def stopping(request: Request) -> bool:
    """Return True if the server that a request came through is about to end."""
    server = request.scope.get("practice_server")
    return isinstance(server, CallServer) and server.stopping


async def wait(request: Request, seconds: float) -> None:
    """Wait, until the client goes or the server is stopped."""
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        if stopping(request) or await request.is_disconnected():
            return
        await asyncio.sleep(0.05)


async def hang_up(request: Request) -> Response:
    """Cut the connection; the response returned then goes nowhere."""
    server = request.scope.get("practice_server")
    if not isinstance(server, CallServer) or not request.client:
        raise ConnectionAbortedError("the practice bus can hang up only under PracticeServer")
    server.hang_up((request.client.host, request.client.port))
    while not await request.is_disconnected():
        await asyncio.sleep(0.01)
    return Response(status_code=503)
