"""A real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

FLAGS = [
    "--no-sandbox",  # CI runs as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
]


@contextmanager
def browser() -> Iterator[Browser]:
    """Start Chromium; without it the test is skipped, in CI it fails."""
    path = shutil.which("chromium")
    if path is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say("chromium is missing: apt-get install chromium")
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield started
        finally:
            started.close()


@contextmanager
def page(started: Browser, url: str, width: int = 1366, height: int = 768) -> Iterator[tuple[Page, list[str]]]:
    """Open a page; gives it and what went wrong in it: console errors and requests to other hosts."""
    context = started.new_context(viewport={"width": width, "height": height}, locale="ru-RU")
    opened = context.new_page()
    opened.set_default_timeout(10_000)
    wrong: list[str] = []
    opened.on("console", lambda stated: wrong.append(stated.text) if stated.type == "error" else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    host = url.split("//")[1]
    opened.on(
        "request",
        lambda sent: (
            wrong.append(f"foreign {sent.url}")
            if host not in sent.url and not sent.url.startswith(("data:", "blob:"))
            else None
        ),
    )
    try:
        yield opened, wrong
    finally:
        context.close()
