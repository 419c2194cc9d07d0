"""The images beside a report: a link, or the one window in which they open while a reader goes from case to case."""

from __future__ import annotations

import json

from nicegui import ui

from broker.domain.studies.archive import ArchiveStudy
from broker.domain.studies.viewer import Viewer
from broker.store.queries.order_card import Card
from ui.text import links
from ui.widgets.theme import text

NAME = "viewer"  # of the window: every study opens in the same one
_KEPT = "window.wlbViewer"
# A program is started by its scheme, which leaves the page where it is.
_START = "const link = document.createElement('a'); link.href = {address}; link.click();"


def draw_link(viewer: Viewer | None, card: Card) -> None:
    """Draw «Снимки», which opens the images of a study; nothing without a viewer or images."""
    _draw(viewer, links.images(viewer, card), "Снимки")


def draw_archived(viewer: Viewer | None, study: ArchiveStudy) -> None:
    """Draw «Открыть снимки», also by key V, for what the archive holds; nothing without a viewer."""
    _draw(viewer, links.archived_images(viewer, study), "Открыть снимки", key="V")


def _draw(viewer: Viewer | None, address: str, word: str, key: str = "") -> None:
    if viewer is None or not address:
        return
    link = ui.element("a").classes("btn")
    link.props["href"] = address  # not ui.link, which is for pages
    if viewer.is_web_page:
        link.props["target"] = NAME
    with link:
        ui.icon("visibility")
        text("span", word)
        if key:
            text("kbd", key, "key")
    if key:
        link.props["data-key"] = key


def show(viewer: Viewer, address: str) -> None:
    """Open a study's images, as a key has just asked for."""
    if viewer.is_web_page:
        ui.run_javascript(f"{_KEPT} = window.open({json.dumps(address)}, {json.dumps(NAME)})")
    else:
        ui.run_javascript(_START.format(address=json.dumps(address)))


def follow(viewer: Viewer, address: str) -> None:
    """Let the viewer that is open show another study, or nothing: never one patient's images beside another's case.

    The window keeps where it is, and the keys stay with the page. A window that was closed stays closed.
    """
    if viewer.is_web_page:
        wanted = json.dumps(address or "about:blank")
        ui.run_javascript(f"if ({_KEPT} && !{_KEPT}.closed) {_KEPT}.location.replace({wanted})")
    elif address:
        ui.run_javascript(_START.format(address=json.dumps(address)))
