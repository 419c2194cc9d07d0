"""Who may import whom, kept by reading every import; and what else the house rules say that a machine can check."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Longest prefix wins. What a part may import of ours; itself is always allowed.
ALLOWED: dict[str, set[str]] = {
    "broker.domain": set(),
    "broker.store": {"broker.domain"},
    "broker.garbage": set(),
    "broker.service": set(),
    "broker.config": set(),
    "broker.config_file": {"broker.config"},
    "broker.security": {"broker.domain", "broker.store"},
    "broker.workflow": {"broker.domain", "broker.store", "broker.security"},
    "broker.dicom": {"broker.domain", "broker.workflow", "broker.store", "broker.config"},
    "broker.paper": {"broker.domain"},
    "broker.bus": {
        "broker.domain",
        "broker.workflow",
        "broker.store",
        "broker.config",
        "broker.paper",
    },
    # The door for a local МИС: who may call is a matter of security.
    "broker.bus.endpoint.web": {"broker.bus", "broker.domain", "broker.store", "broker.security"},
    "broker.schedule": {"broker.workflow", "broker.bus", "broker.dicom.pacs", "broker.store"},
    "broker.order_json": {"broker.domain", "broker.store.journal"},
    "broker.tables": {"broker.domain"},
    "broker.json_rows": {"broker.domain", "broker.tables"},
    "broker.directories": set(),
    "broker.directories.kinds": {"broker.tables"},
    "broker.directories.file": {"broker.directories.kinds", "broker.json_rows", "broker.tables"},
    "broker.directories.row": {"broker.domain", "broker.directories.file"},
    "broker.referral_table": {"broker.domain", "broker.tables"},
    "broker.referral_row": {"broker.domain", "broker.referral_table"},
    "broker.importing": {
        "broker.domain",
        "broker.workflow",
        "broker.store",
        "broker.dicom",
        "broker.referral_row",
        "broker.referral_table",
    },
    "ui": {
        "broker.domain",
        "broker.workflow",
        "broker.store.journal",
        "broker.store.choices",
        "broker.store.foreign",  # what was done to a patient, here and elsewhere
        "broker.store.desk",
        "broker.store.incoming",  # what comes down, to be looked at
        "broker.store.reading",
        "broker.store.database",  # the type of the store that is handed on to verbs, and its error
        "broker.security",
        "broker.config",
        "broker.paper",
    },
}
# May import everything.
ROOTS = {
    "broker.region",
    "broker.app",
    "broker.__main__",
    "broker.commands",
    "broker.device_commands",
    "broker.directories.commands",
    "broker.client_commands",
    "broker.local_mis",
    "broker.demo",
    "broker.demo_region",
}
# Pure parts: of what is not ours they may import nothing but the standard library (and what is named).
OUTSIDE: dict[str, set[str]] = {"broker.domain": set(), "broker.store": set(), "broker.workflow": set()}


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


def part_of(module: str) -> str:
    return max((part for part in ALLOWED if inside(module, part)), key=len, default="")


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_module_imports_only_what_its_part_may(module: str, path: Path) -> None:
    if module in ROOTS or module == "broker":
        return
    part = part_of(module)
    assert part, f"{module} belongs to no part: give it a place in the table"
    ours = {name for name in imports(path) if name.split(".")[0] in ("broker", "ui")}
    wrong = {name for name in ours if not inside(name, part) and not any(inside(name, ok) for ok in ALLOWED[part])}
    assert not wrong, f"{module} may not import {sorted(wrong)}"


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_pure_parts_import_no_libraries(module: str, path: Path) -> None:
    import sys

    part = part_of(module)
    if part not in OUTSIDE:
        return
    others = {name.split(".")[0] for name in imports(path)} - {"broker"} - set(sys.stdlib_module_names)
    assert others <= OUTSIDE[part], f"{module} may not import {sorted(others)}"


def test_nobody_knows_pynetdicoms_server() -> None:
    for module, path in modules():
        # What is taken of it: its client, its encoders and decoders, its names; never its server.
        if module not in ("broker.dicom.pacs", "broker.dicom.archive", "broker.dicom.libraries"):
            taken = {name for name in imports(path) if name.split(".")[0] == "pynetdicom"}
            codec = ("pynetdicom.pdu", "pynetdicom.pdu_primitives", "pynetdicom.presentation")
            allowed = {
                "broker.dicom.upper_layer.negotiation": codec,
                "broker.dicom.services": ("pynetdicom.sop_class", "pynetdicom.dsutils"),
                "broker.dicom.fast_worklist": ("pynetdicom.dsutils",),
            }.get(module, ())
            assert all(name.rpartition(".")[0] in allowed for name in taken), (module, taken)


JUDGES = ("practice", "endpoint", "serving")


def test_the_bus_s_client_shares_no_code_with_those_who_play_the_bus() -> None:
    for module, path in modules():
        name = module.removeprefix("broker.bus.")
        if name == module or name.startswith(JUDGES):
            continue
        shared = {each for each in imports(path) if each.removeprefix("broker.bus.").startswith(JUDGES)}
        assert not shared, module


def test_sql_stands_in_the_store_only() -> None:
    words = ("SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ")
    for module, path in modules():
        if inside(module, "broker.store"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value:
                said = node.value.startswith(words) and module != "broker.app"
                assert not said, f"{module}:{node.lineno}: {node.value[:40]}"


def test_every_module_says_what_it_is_for() -> None:
    for module, path in modules():
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), module


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
