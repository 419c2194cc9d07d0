"""The documents are complete and true: every command, option and key is documented, and whatever is named exists."""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from broker.cli.main import parser
from broker.config.configuration import known_keys

ROOT = Path(__file__).parent.parent
EXAMPLE = (ROOT / "config.example.yaml").read_text(encoding="utf-8")
TITLES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
DOCS = [ROOT / title for title in TITLES] + sorted((ROOT / "docs").rglob("*.md"))
IN_RUSSIAN = sorted((ROOT / "docs" / "ru").glob("*.md"))
# Options of other programs that documents show: pytest, systemctl, git, pip, uv and the bench.
OTHERS_OPTIONS = {
    *("--dist", "--durations", "--add", "--now", "--upgrade"),
    *("--group", "--extra", "--universal", "--python-version", "--generate-hashes", "--no-annotate", "--output-file"),
    *("--no-emit-index-url", "--no-emit-find-links", "--quiet", "--custom-compile-command", "--constraint"),
    *("--counts", "--clients", "--rounds", "--also", "--peers", "--search", "--strict"),
}
# What Russian documents quote that is no text of the program.
OTHERS_WORDS = {
    "Обмен данными инструментальных исследований",
    "calling AE title not recognised",
    "проверить связь",
    "Task/<id>",
}


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


every_document = pytest.mark.parametrize("document", DOCS, ids=name)


# ---- commands and options ----


def commands(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield from commands(child, (*words, name))
            return
    yield words


def options(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from options(child)
        elif action.option_strings:
            yield action


def code(document: Path) -> list[str]:
    """Return what stands in backticks and in fenced blocks."""
    parts = re.split(r"^ *```\w*$", text(document), flags=re.MULTILINE)
    return parts[1::2] + re.findall(r"`([^`\n]+)`", "\n".join(parts[::2]))


@pytest.mark.parametrize("words", list(commands(parser())), ids=" ".join)
def test_every_command_is_documented_for_the_administrator(words: tuple[str, ...]) -> None:
    page = text(ROOT / "docs" / "ru" / "administrator.md")
    table = page[page.index("## Все команды") :]
    assert re.search(rf"`{' '.join(words)}\b", table), f"administrator.md does not mention {' '.join(words)}"


@every_document
def test_every_command_that_is_named_exists(document: Path) -> None:
    known = {" ".join(words) for words in commands(parser())}
    groups = {words.split()[0] for words in known if " " in words}
    for mentioned in re.findall(r"worklist-broker ([a-z]+(?:-[a-z]+)*(?: [a-z]+)?)", "\n".join(code(document))):
        first, *second = mentioned.split()
        assert (mentioned if first in groups and second else first) in known | groups, mentioned


@every_document
def test_every_option_that_is_named_exists(document: Path) -> None:
    known = {string for action in options(parser()) for string in action.option_strings} | OTHERS_OPTIONS
    known |= set(re.findall(r"--[a-z][a-z-]+", text(ROOT / "install.sh")))
    mentioned = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", "\n".join(code(document))))
    assert document.name == "CHANGELOG.md" or mentioned <= known  # the changelog names options of the past


def test_every_option_has_a_help_text() -> None:
    silent = [action.option_strings for action in options(parser()) if not action.help and action.dest != "role"]
    assert not silent


# ---- keys of the configuration ----


@pytest.mark.parametrize(("section", "keys"), list(known_keys().items()))
def test_every_key_is_in_the_example_with_a_comment_above(section: str, keys: tuple[str, ...]) -> None:
    loaded = yaml.safe_load(EXAMPLE)
    lines = EXAMPLE.splitlines()
    for key in keys:
        assert key in loaded[section], f"{section}.{key}"
        start = lines.index(f"{section}:")
        at = next(number for number in range(start, len(lines)) if re.match(rf"  {key}:", lines[number]))
        assert lines[at - 1].lstrip().startswith("#"), f"{section}.{key} has no comment above it"


def test_every_section_is_documented_for_the_administrator() -> None:
    page = text(ROOT / "docs" / "ru" / "administrator.md")
    for section in known_keys():
        assert f"\n| `{section}` |" in page, section


@every_document
def test_every_key_that_is_named_exists(document: Path) -> None:
    if document.name == "CHANGELOG.md":
        return  # it names keys of the past
    known = {f"{section}.{key}" for section, keys in known_keys().items() for key in keys}
    sections = "|".join(known_keys())
    for mentioned in re.findall(rf"`((?:{sections})\.[a-z_0-9]+)`", text(document)):
        is_module = (ROOT / "broker" / mentioned.replace(".", "/")).exists()
        assert mentioned in known or is_module or mentioned.endswith(".py"), mentioned


# ---- links, pictures, paths ----


def anchors(document: Path) -> set[str]:
    """Return the anchors that a reader of Markdown makes of the headings."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", text(document), re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower().replace(" ", "-")
        found.add("".join(each for each in words if each in "-_" or unicodedata.category(each)[0] in "LN"))
    return found


@every_document
def test_links_and_pictures_exist(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text(document)):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@every_document
def test_every_path_that_is_named_exists(document: Path) -> None:
    """A full path, or a file or folder of a folder that the same paragraph, point or row names."""
    for block in re.split(r"\n\s*\n|\n(?=\||\s*-|\s*\d+\.)", text(document)):
        spans = re.findall(r"`([^`\s]+)`", block)
        full = [ROOT / span for span in spans if re.match(r"(broker|ui|tests|docs|systemd|\.ci|\.github)/", span)]
        missing = [path for path in full if not path.exists()]
        folders = [ROOT, *full, *(path.parent for path in full)]
        for span in spans:
            if re.fullmatch(r"[a-z_]+(\.py|\.css|/)", span):
                missing += [] if any((folder / span).exists() for folder in folders) else [Path(span)]
        assert not missing


def test_every_document_is_reached_from_the_readme() -> None:
    reached, new = set(), {ROOT / "README.md"}
    while new:
        reached |= new
        targets = {
            (document.parent / target.partition("#")[0]).resolve()
            for document in new
            for target in re.findall(r"\]\(([^)\s]+\.md(?:#[^)]*)?)\)", text(document))
        }
        new = {each for each in targets if each.suffix == ".md" and each.exists()} - reached
    assert set(DOCS) <= reached


def test_every_picture_is_shown() -> None:
    mentioned = "\n".join(text(document) for document in DOCS)
    for picture in (ROOT / "docs" / "pictures").iterdir():
        assert f"pictures/{picture.name})" in mentioned, picture.name


# ---- words ----


@cache
def words_of_the_program() -> str:
    """Return every literal text of screens and program, a line each."""
    found = []
    for package in ("ui", "broker"):
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.walk(ast.parse(text(path)))
            found += [node.value for node in tree if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return "\n".join(found).lower()


@pytest.mark.parametrize("document", IN_RUSSIAN, ids=name)
def test_what_a_document_quotes_is_on_the_screens(document: Path) -> None:
    quoted = " … ".join(re.findall(r"«([^«»]+)»", text(document).replace("\n", " ")))
    parts = {part.strip(" ,:") for part in re.split(r"…|\. |\(.*?\)", quoted)}
    unknown = {part for part in parts - OTHERS_WORDS if part.lower() not in words_of_the_program()}
    assert not unknown


def test_the_changelog_has_a_section_for_the_version() -> None:
    version = re.search(r'^version = "(.+)"$', text(ROOT / "pyproject.toml"), re.MULTILINE)
    assert version
    heading = rf"^## \[{re.escape(version[1])}\] - \d{{4}}-\d\d-\d\d$"
    assert re.search(heading, text(ROOT / "CHANGELOG.md"), re.MULTILINE)


def test_the_hooks_before_a_commit_are_the_checks_of_the_tests() -> None:
    """Each linter of install.sh is a hook, which takes the program of .venv."""
    hooks = [hook for each in yaml.safe_load(text(ROOT / ".pre-commit-config.yaml"))["repos"] for hook in each["hooks"]]
    entries = " ".join(hook["entry"] for hook in hooks)
    answer = subprocess.run(
        ["bash", "-c", "source ./install.sh; declare -f run_tests"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    checks = re.findall(r"run_check (?:python -m )?([a-z-]+)", answer.stdout)
    assert {check for check in checks if f".venv/bin/{check}" not in entries} == {"pytest"}
    assert all(hook["language"] == "system" for hook in hooks)
