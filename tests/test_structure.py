"""What the structure promises beyond import-linter's contracts (pyproject.toml), kept by reading every module."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Part of the program -> the libraries that it may import; parts that are not named may import any.
LIBRARIES: dict[str, set[str]] = {
    "broker.domain": set(),
    "broker.store.schema": {"sqlite_utils"},
    "broker.store": set(),
    "broker.workflow": set(),
}


def modules() -> list[tuple[str, Path]]:
    found = []
    for top in ("broker", "ui"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


@cache
def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide who is meant"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module else set()
    return names


def inside(name: str, part: str) -> bool:
    return name == part or name.startswith(part + ".")


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_pure_parts_import_no_libraries(module: str, path: Path) -> None:
    allowed = next((libraries for part, libraries in LIBRARIES.items() if inside(module, part)), None)
    if allowed is None:
        return
    others = {name.split(".")[0] for name in imports(path)} - {"broker"} - set(sys.stdlib_module_names)
    assert others <= allowed, f"{module} may not import {sorted(others)}"


def test_pynetdicoms_server_is_not_used() -> None:
    for module, path in modules():
        # What is taken of it: its client, its encoders and decoders, its names; never its server.
        outside = not inside(module, "broker.dicom.scu") and module != "broker.dicom.codec.settings"
        if outside and "pynetdicom" in path.read_text(encoding="utf-8"):
            taken = {name for name in imports(path) if name.split(".")[0] == "pynetdicom"}
            allowed = {
                "broker.dicom.services": ("pynetdicom.sop_class", "pynetdicom.dsutils"),
                "broker.dicom.worklist.cache": ("pynetdicom.dsutils",),
            }.get(module, ())
            assert all(name.rpartition(".")[0] in allowed for name in taken), (module, taken)


def test_sql_stands_in_the_store_only() -> None:
    words = ("SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ")
    for module, path in modules():
        source = path.read_text(encoding="utf-8")
        if inside(module, "broker.store") or not any(word in source for word in words):
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value:
                stated = node.value.startswith(words) and module != "broker.app.application"
                assert not stated, f"{module}:{node.lineno}: {node.value[:40]}"


def test_every_module_says_what_it_is_for() -> None:
    for module, path in modules():
        assert path.read_text(encoding="utf-8").startswith('"""'), module


def test_every_public_function_has_a_docstring() -> None:
    bare = []
    for module, path in modules():
        if inside(module, "ui"):
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            nodes = [node, *(node.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_") else [])]
            for each in nodes:
                if isinstance(each, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                    public = not each.name.startswith("_")
                    if public and not ast.get_docstring(each):
                        bare.append(f"{module}.{each.name}")
    assert not bare


def test_what_is_sampled_under_other_dates_is_there() -> None:
    script = (ROOT / ".ci/other-dates").read_text(encoding="utf-8")
    sample = re.search(r"^readonly SAMPLE=\((.*?)\)$", script, re.MULTILINE | re.DOTALL)
    assert sample
    assert [name for name in sample[1].split() if not (ROOT / name).exists()] == []
