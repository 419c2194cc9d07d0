"""Names in the code keep to docs/glossary.md: words that another one has replaced do not come back."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Of the glossary's column "not", those that mean nothing else in a name; "line" or "letter" may be of a text.
REPLACED = {
    *("rehearse", "untold", "parked", "adopted", "seldom", "judge", "judgement", "settle", "anew", "announce"),
    *("steady", "pace", "house", "lane", "elsewhere", "narrowing", "demand", "eased", "heard", "complain", "hindrance"),
    *("told", "tell", "tells", "whoever", "nobody", "begun", "mend"),
}
# Words that the prose of docstrings and comments does without, too.
NOT_IN_PROSE = {"told", "whoever", "nobody", "heard", "elsewhere", "anew", "parked", "hindrance", "untold"}


def names(tree: ast.AST) -> Iterator[str]:
    """Yield the names that a module defines: of functions, classes, parameters, variables and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def words(name: str) -> set[str]:
    """Split a name: `_keptPace` and `kept_pace` are kept, pace."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}


def modules_with(some: set[str], package: str) -> Iterator[tuple[Path, str]]:
    """Yield the modules that have one of the words anywhere, with their text; parsing all of them takes seconds."""
    for path in (ROOT / package).rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if (words(text) | set(re.findall(r"[a-z]+", text.lower()))) & some:
            yield path, text


@pytest.mark.parametrize("package", ["broker", "ui"])
def test_replaced_words_are_in_no_name(package: str) -> None:
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path, text in modules_with(REPLACED, package)
        for name in names(ast.parse(text))
        if words(name) & REPLACED
    }
    assert not found


@pytest.mark.parametrize("package", ["broker", "ui"])
def test_replaced_words_are_in_no_docstring_or_comment(package: str) -> None:
    found = {
        f"{path.relative_to(ROOT)}:{token.start[0]}: {word}"
        for path, text in modules_with(NOT_IN_PROSE, package)
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type in (tokenize.COMMENT, tokenize.STRING)
        for word in re.findall(r"[a-z]+", token.string.lower())
        if word in NOT_IN_PROSE
    }
    assert not found


def test_every_replaced_word_is_in_the_glossary() -> None:
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert not {word for word in REPLACED if not re.search(rf"\b{word}\b", glossary)}
