"""In a real browser: the images of the cases of a session open in one window, which goes on with the reader."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import expect

from tests.acceptance.test_reading_day import READERS, fluorograms, signed_in
from tests.peers import chromium
from tests.support.clinic import Installation

pytestmark = pytest.mark.slow


class _Viewer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer any study with a page."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>viewer</title>")

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


@contextmanager
def viewer() -> Iterator[str]:
    """Run a viewer of another origin; give its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Viewer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_one_window_shows_the_images_of_case_after_case(installation: Installation) -> None:
    with viewer() as address, chromium.browser() as browser:
        with installation.config.open("a", encoding="utf-8") as config:
            config.write(f'pacs: {{viewer: "{address}/viewer?StudyInstanceUIDs={{study}}"}}\n')
        installation.command(
            "account", "add", "volskaya", "--name", READERS["volskaya"], "--role", "radiologist", "--password-stdin"
        )
        installation.start()
        fluorograms(installation, 3)
        studies = [order["study_instance_uid"] for order in installation.orders()]
        page = signed_in(browser, installation, "volskaya")
        page.goto(f"{installation.url}/read?modality=DX&size=25")
        expect(page.locator(".case-who")).to_be_visible()
        assert len(page.context.pages) == 1  # nothing opens unasked
        with page.context.expect_page() as opened:
            page.keyboard.press("v")
        window = opened.value
        window.wait_for_url(f"{address}/**")
        seen = [window.url]
        for _ in range(2):
            before = window.url
            page.keyboard.press("s")
            expect(window).not_to_have_url(before)
            seen.append(window.url)
        with window.expect_navigation():
            page.keyboard.press("v")  # the same window again
        assert sorted(seen) == sorted(f"{address}/viewer?StudyInstanceUIDs={uid}" for uid in studies)
        assert len(page.context.pages) == 2
        window.close()
        case = page.locator(".case-study")
        shown = case.inner_text()
        page.keyboard.press("s")
        expect(case).not_to_have_text(shown)
        assert len(page.context.pages) == 1  # what was closed stays closed
