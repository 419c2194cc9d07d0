"""The style sheet means one thing by one name."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from ui.widgets import theme

STYLES = (Path(theme.__file__).parent / "theme.css").read_text()
MEDIA = re.compile(r"@[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}")
RULE = re.compile(r"([^{}]+)\{[^{}]*\}")


def test_every_class_of_the_style_sheet_is_one_things() -> None:
    """The second of two things with one class takes the first one's layout apart, on a page that nobody looks at."""
    everywhere = MEDIA.sub("", re.sub(r"/\*.*?\*/", "", STYLES, flags=re.DOTALL))
    alone = Counter(selector.strip() for selector in RULE.findall(everywhere))
    classes = {selector: times for selector, times in alone.items() if re.fullmatch(r"\.[\w-]+", selector)}
    assert len(classes) > 100
    assert [selector for selector, times in classes.items() if times > 1] == []
