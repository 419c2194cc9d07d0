"""Reads config.yaml and the WLB__SECTION__KEY variables into one frozen Config; reports every mistake at once.

A report never shows a secret. What a key may be is declared in `sections`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from broker.config.configuration import Config, known_keys
from broker.config.spelling import nearest

_QUOTE = "a value that begins with * & or ! must be quoted"

DEFAULT_PATHS = (Path("config.yaml"), Path("/etc/worklist-broker/config.yaml"))

Where = tuple[str | int, ...]
"""The place of a value: ("dicom", "port"), ("web", "origins", 0)."""


class ConfigError(Exception):
    """The configuration cannot be used; `report` holds one line per mistake."""

    def __init__(self, report: list[str]) -> None:
        super().__init__("\n".join(report))
        self.report = report


def load(path: Path | None, environ: Mapping[str, str] = os.environ) -> Config:
    """Return the configuration of the file (None: the first of DEFAULT_PATHS), which the environment overrides.

    Raise ConfigError with all mistakes.
    """
    path, raw = _find(path)
    data, lines, in_file = _parse(path, raw)
    overrides, in_environment = _overrides(environ)
    for (section, key), text in overrides.items():
        if isinstance(keys := data[section], dict):  # a section that is not a mapping is reported below
            data[section] = {**keys, key: text}
    try:
        config = Config.model_validate(data, context={"base": path.absolute().parent})
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            where: Where = tuple(part for part in detail["loc"] if part != "[key]")
            name_is_wrong = where != detail["loc"] or detail["type"] == "extra_forbidden"
            what = _words(detail, where) + ("" if name_is_wrong else _got(data, where))
            if where[:2] in overrides:
                in_environment.append(f"{_variable(*where[:2])}: {what}")
            else:
                # A missing key has no line of its own: use the one where its section begins.
                line = next((lines[where[:n]] for n in range(len(where), 0, -1) if where[:n] in lines), 1)
                in_file.append((line, f"{_dotted(where)}: {what}"))
    if in_file or in_environment:
        raise ConfigError(
            [f"{path}:{line}: {what}" for line, what in sorted(in_file, key=lambda mistake: mistake[0])]
            + [f"environment: {what}" for what in sorted(in_environment)]
        )
    return config


# --- The file


def _find(path: Path | None) -> tuple[Path, bytes]:
    """Return the configuration file and its content."""
    candidates = (path,) if path else DEFAULT_PATHS
    for candidate in candidates:
        try:
            return candidate, candidate.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigError([f"{candidate}: cannot be read: {error.strerror}"]) from None
    looked = " and ".join(str(candidate.absolute()) for candidate in candidates)
    make = "copy config.example.yaml there and edit it, or name another file with -c FILE"
    raise ConfigError([f"no configuration file: looked for {looked}; {make}"])


def _parse(path: Path, raw: bytes) -> tuple[dict[str, Any], dict[Where, int], list[tuple[int, str]]]:
    """Return the sections as typed, the line of every value, and each (line, mistake) seen without the models."""
    try:
        text = raw.decode("utf-8-sig")
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if getattr(event, "anchor", None) and event.start_mark:  # anchors and aliases are mistakes here
                raise ConfigError([f"{path}:{event.start_mark.line + 1}: {_QUOTE}"])
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}: the file is not UTF-8; save it in that encoding"]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError([f"{path}:{line}: a control character is not allowed here"]) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = re.sub(r"'(?!<)[^']{2,}'", "'…'", str(error.problem))  # it may quote a secret
        hint = "check the indentation, and quote unusual values"
        raise ConfigError([f"{path}:{line}: this is not YAML: {problem}; {hint}"]) from None
    except RecursionError:
        raise ConfigError([f"{path}:1: this is nested too deeply"]) from None
    if root is None or (isinstance(root, yaml.ScalarNode) and not root.value):
        raise ConfigError([f"{path}:1: the file is empty; start from config.example.yaml"])
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError([f"{path}:1: the file must consist of sections such as `clinic:`, with keys beneath"])
    lines: dict[Where, int] = {}
    mistakes: list[tuple[int, str]] = []
    data = _plain(root, (), lines, mistakes)
    # Every section is present, so that its missing keys are named one by one; a known key without a value is absent.
    for section, known in known_keys().items():
        keys = {} if data.get(section) is None else data[section]
        if isinstance(keys, dict):
            keys = {key: value for key, value in keys.items() if value is not None or key not in known}
        data[section] = keys
    return data, lines, mistakes


def _plain(node: yaml.Node, where: Where, lines: dict[Where, int], mistakes: list[tuple[int, str]]) -> Any:
    """Return a node as dicts, lists and the scalars' own text; nothing becomes None."""
    if not node.tag.startswith("tag:yaml.org,2002:"):
        mistakes.append((node.start_mark.line + 1, f"{_dotted(where)}: {_QUOTE}"))
    if isinstance(node, yaml.SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            lines.setdefault((*where, index), item.start_mark.line + 1)
            items.append(_plain(item, (*where, index), lines, mistakes))
        return items
    if not isinstance(node, yaml.MappingNode):
        return None if node.tag == "tag:yaml.org,2002:null" else node.value
    keys: dict[str, Any] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            mistakes.append((line, f"{_dotted(where)}: a key must be a single word"))
            continue
        inner: Where = (*where, key.value)
        if inner in lines:
            mistakes.append((line, f"{_dotted(inner)}: is already set in line {lines[inner]}"))
        lines.setdefault(inner, line)
        plain, earlier = _plain(value, inner, lines, mistakes), keys.get(key.value)
        if isinstance(plain, dict) and isinstance(earlier, dict):  # a section twice: check the keys of both
            keys[key.value] = {**plain, **earlier}
        else:
            keys.setdefault(key.value, plain)
    return keys


def _overrides(environ: Mapping[str, str]) -> tuple[dict[tuple[str, str], str], list[str]]:
    """Return the values that the environment sets, and the mistakes in its names."""
    names = {_variable(section, key): (section, key) for section, keys in known_keys().items() for key in keys}
    ours = {name: value for name, value in environ.items() if name.startswith("WLB__")}
    mistakes = [f"{name}: is not a known key{nearest(name, names)}" for name in ours if name not in names]
    return {names[name]: value for name, value in ours.items() if name in names}, mistakes


# --- The report


def _variable(*where: str | int) -> str:
    return "__".join(("WLB", *map(str, where))).upper()


def _dotted(where: Where) -> str:
    return ".".join(part for part in where if isinstance(part, str)) or "the file"


def _words(error: ErrorDetails, where: Where) -> str:
    """Return what is wrong in the administrator's words."""
    limits = error.get("ctx", {})
    match error["type"]:
        case "value_error":
            return str(limits["error"])
        case "missing":
            return "is required"
        case "extra_forbidden":
            sections = known_keys()
            known = sections[str(where[0])] if len(where) > 1 else tuple(sections)
            other_sections = [f"{section}.{where[-1]}" for section, keys in sections.items() if where[-1] in keys]
            hint = nearest(str(where[-1]), known) or "".join(f"; did you mean {key}?" for key in other_sections[:1])
            return "is not a known key" + (hint or f"; known here: {', '.join(known)}")
        case "literal_error":
            return f"must be {limits['expected']}"
        case "greater_than_equal":
            return f"must be at least {limits['ge']}"
        case "greater_than":
            return f"must be more than {limits['gt']:g}"
        case "less_than_equal":
            return f"must be at most {limits['le']}"
        case "model_type" | "dict_type":
            return "must have its keys beneath it, indented"
        case "tuple_type":
            return "must be a list"
        case "path_type":
            return "must be a path"
        case _:
            return "must have a single value"


def _got(data: Any, where: Where) -> str:
    """Return what was written at a place; empty if nothing was, without the value if it may be a secret."""
    value = data
    for part in where:
        if isinstance(value, dict):
            value = value.get(str(part))
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part]
    if value is None or value == {}:
        return ""
    # A token or a key is easily pasted where the name of its file belongs.
    if re.search(r"token|tls|secret|passw", _dotted(where)):
        return " (got …)"
    if not isinstance(value, str):
        return f" (got {'a list' if isinstance(value, list) else 'a mapping'})"
    shown = re.sub(r".*@|[?#].*", "…", value, flags=re.DOTALL)  # a password or a token in an address
    shown = shown if len(shown) <= 60 else shown[:60] + "…"
    return f" (got {shown if shown.isprintable() and shown == shown.strip() != '' else repr(shown)})"
