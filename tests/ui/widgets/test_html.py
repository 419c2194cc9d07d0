"""HTML that is written: what comes from outside is text in it."""

from __future__ import annotations

import pytest

from tests.ui.scene import parts
from ui.widgets import html

HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "' onclick=alert(1) '",
    "&lt;b&gt; & Co",
    "-->",
]


@pytest.mark.parametrize("stated", HOSTILE)
def test_what_comes_from_outside_is_text_in_an_element_and_in_its_attributes(stated: str) -> None:
    found = parts(html.tag("div", stated, html.link("/board", "x", stated, title=stated), stated, aria_label=stated))
    assert [each.tag for each in found] == ["div", "a"]
    assert [set(each.attributes) for each in found] == [{"class", "aria-label"}, {"class", "href", "target", "title"}]
    assert (found[0].attributes["class"], found[0].attributes["aria-label"]) == (stated, stated)
    assert (found[1].attributes["title"], found[1].text) == (stated, stated)
    assert found[0].text == stated * 2


def test_only_what_was_written_here_is_taken_as_it_is() -> None:
    written = html.tag("b", "", "1 < 2")
    assert html.join(written, str(written)) == "<b>1 &lt; 2</b>&lt;b&gt;1 &amp;lt; 2&lt;/b&gt;"
    assert written + "<i>" == "<b>1 &lt; 2</b>&lt;i&gt;"  # what is put together by other means is text, too
    assert f"{written}<i>" != html.join(f"{written}<i>")  # and a formatted string is text again
