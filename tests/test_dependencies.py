"""What is imported is declared, the lock has what is declared, and what runs is no older than the floors."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RUNTIME = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
TEST = [Requirement(line) for line in PROJECT["project"]["optional-dependencies"]["test"]]
BUILD = [Requirement(line) for line in PROJECT["dependency-groups"]["build"]]
RUNTIME_LOCK, TEST_LOCK = ROOT / "requirements.lock", ROOT / "requirements-test.lock"


def imported(*packages: str) -> Iterator[str]:
    """Yield the top-level names that the modules below these directories import."""
    for package in packages:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    yield from (alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    yield node.module.partition(".")[0]


def third_party(*packages: str) -> list[str]:
    return sorted({*imported(*packages)} - {"broker", "ui", "tests"} - sys.stdlib_module_names)


def names(requirements: list[Requirement]) -> set[str]:
    return {canonicalize_name(each.name) for each in requirements}


def locked(lock: Path) -> dict[str, str]:
    """Return the version of every package of a lock, by its canonical name."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock.read_text(encoding="utf-8"), re.MULTILINE))


def undeclared(modules: list[str], declared: list[Requirement]) -> list[str]:
    brought_by = packages_distributions()
    packages = {module: {canonicalize_name(name) for name in brought_by[module]} for module in modules}
    return [module for module in modules if not packages[module] & names(declared)]


# Not parametrised: every worker would parse all files to collect the modules.
@pytest.mark.slow
def test_every_import_of_the_program_is_declared() -> None:
    modules = third_party("broker", "ui")
    assert "nicegui" in modules
    assert undeclared(modules, RUNTIME) == []


@pytest.mark.slow
def test_every_import_of_the_tests_is_declared() -> None:
    modules = third_party("tests")
    assert "pytest" in modules
    assert undeclared(modules, RUNTIME + TEST) == []


@pytest.mark.parametrize("requirement", RUNTIME + TEST, ids=lambda each: each.name)
def test_what_runs_is_not_older_than_the_floor(requirement: Requirement) -> None:
    running = version(requirement.name)
    assert running in requirement.specifier, f"{requirement.name} {running} runs, {requirement.specifier} is declared"


@pytest.mark.parametrize("requirement", RUNTIME, ids=lambda each: each.name)
def test_every_dependency_has_a_floor(requirement: Requirement) -> None:
    assert any(each.operator == ">=" for each in requirement.specifier)


@pytest.mark.parametrize(
    ("lock", "declared"),
    [(RUNTIME_LOCK, RUNTIME + BUILD), (TEST_LOCK, RUNTIME + TEST + BUILD)],
    ids=["runtime", "test"],
)
def test_the_lock_has_every_dependency_at_a_version_that_suits(lock: Path, declared: list[Requirement]) -> None:
    found = locked(lock)
    missing = [
        str(each)
        for each in declared
        if canonicalize_name(each.name) not in found or found[canonicalize_name(each.name)] not in each.specifier
    ]
    assert not missing, "renew the lock, see CONTRIBUTING.md"


def test_the_program_is_tested_with_the_versions_that_it_is_installed_with() -> None:
    tested = locked(TEST_LOCK)
    assert {name: tested.get(name) for name in locked(RUNTIME_LOCK)} == locked(RUNTIME_LOCK)


@pytest.mark.parametrize("lock", [RUNTIME_LOCK, TEST_LOCK], ids=lambda path: path.name)
def test_the_lock_has_hashes_and_names_no_host(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    packages = re.findall(r"^[a-z0-9-]+==.*(?:\n    --hash=sha256:[0-9a-f]{64}.*)+", text, re.MULTILINE)
    assert len(packages) == len(locked(lock)) > 50
    assert "://" not in text
    assert not re.search(r"--(extra-)?index-url|--find-links|file:", text)
