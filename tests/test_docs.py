"""README and config.example.yaml are complete: every command, every option, every key."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from broker.__main__ import parser
from broker.config.sections import known_keys

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLE = (ROOT / "config.example.yaml").read_text(encoding="utf-8")


def commands(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield from commands(child, (*words, name))
            return
    yield words


@pytest.mark.parametrize("words", list(commands(parser())), ids=" ".join)
def test_every_command_is_in_the_readme(words: tuple[str, ...]) -> None:
    assert re.search(rf"`(worklist-broker )?{' '.join(words)}\b", README), f"README does not tell of {' '.join(words)}"


def test_every_command_of_the_readme_exists() -> None:
    known = {" ".join(words) for words in commands(parser())}
    for told in re.findall(r"worklist-broker ((?:[a-z]+-?)+(?: (?:add|list|disable|password|import|show))?)", README):
        assert told in known or told.split()[0] in known, told


def test_every_option_has_a_help_text() -> None:
    def options(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for child in action.choices.values():
                    yield from options(child)
            elif action.option_strings:
                yield action

    silent = [action.option_strings for action in options(parser()) if not action.help and action.dest != "role"]
    assert not silent


@pytest.mark.parametrize(("section", "keys"), list(known_keys().items()))
def test_every_key_is_in_the_example_with_a_comment_above(section: str, keys: tuple[str, ...]) -> None:
    loaded = yaml.safe_load(EXAMPLE)
    lines = EXAMPLE.splitlines()
    for key in keys:
        assert key in loaded[section], f"{section}.{key}"
        start = lines.index(f"{section}:")
        at = next(number for number in range(start, len(lines)) if re.match(rf"  {key}:", lines[number]))
        assert lines[at - 1].lstrip().startswith("#"), f"{section}.{key} has no comment above it"


def test_every_section_is_in_the_readme() -> None:
    for section in known_keys():
        assert f"`{section}`" in README, section


def test_links_and_pictures_of_the_readme_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target
