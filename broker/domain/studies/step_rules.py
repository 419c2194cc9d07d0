"""Checks messages about a performed procedure step by a table of required attributes. Pure.

The table (PS3.4 Table F.7.2-1) is in `broker.dicom.mpps.rules`; keys of attributes are opaque here. If the device's
policy is strict, a message with problems is refused; otherwise it is used as far as possible.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain, islice
from typing import Any

Attributes = Mapping[str, Any]
"""A dataset in the DICOM JSON model (PS3.18 F.2): key -> {"vr": …, "Value": […]}."""

MAX_PROBLEMS = 50  # of one message; thousands of empty items have two or three each
MAX_NOTE = 240  # characters
PACKED = "Packed"  # what stands in place of Value for very many references: their number, a blank, whatever follows
_CONTENTS = ("InlineBinary", "BulkDataURI", PACKED)  # what stands in place of Value for bulk data


class ProblemKind(StrEnum):
    """How an attribute breaks the rules, by the statuses of PS3.7 10.1."""

    MISSING_ATTRIBUTE = "missing attribute"
    MISSING_VALUE = "missing attribute value"
    INVALID_VALUE = "invalid attribute value"
    NO_SUCH_ATTRIBUTE = "no such attribute"
    INVALID_UID = "invalid SOP instance"


@dataclass(frozen=True, slots=True)
class Problem:
    """How a message breaks the rules, the key of the attribute, and a text for people."""

    kind: ProblemKind
    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Rule:
    """The requirement types of one attribute at N-CREATE, at N-SET and when the step has ended (`final`).

    "1" must have a value, "2" must be present, "3" is optional; `set` is None if an N-SET may not change it. A type 1C
    or 2C counts as its number, `unless` one of the other attributes (keys) is present.
    """

    keyword: str
    key: str
    create: str = "3"
    set: str | None = None
    final: str = "3"
    items: tuple[Rule, ...] = ()
    unless: tuple[str, ...] = ()


@dataclass(frozen=True)
class RuleTable:
    """The rules of all attributes of a performed step."""

    rules: tuple[Rule, ...]
    by_key: Mapping[str, Rule] = field(init=False)

    def __post_init__(self) -> None:
        """Index the rules by key."""
        object.__setattr__(self, "by_key", {rule.key: rule for rule in self.rules})

    def creation_problems(self, attributes: Attributes) -> list[Problem]:
        """Return what is missing (0120) or empty (0121) in an N-CREATE (PS3.7 10.1.5.1.6)."""
        return list(islice(_creation_problems(attributes, self.rules, "", ProblemKind.MISSING_ATTRIBUTE), MAX_PROBLEMS))

    def change_problems(self, attributes: Attributes, known: Attributes, names: Mapping[str, str]) -> list[Problem]:
        """Return the problems of an N-SET; `known` are the attributes of the step so far.

        Another value of an attribute that may not be changed is 0106 (PS3.7 10.1.3.1.9), an attribute that was not
        created is 0105 (PS3.4 F.7.2.2.2). Items of sequences are checked as at N-CREATE. `names`: key -> keyword of
        the attributes to check.
        """
        return list(islice(self._touched(attributes, known, names), MAX_PROBLEMS))

    def final_problems(self, known: Attributes) -> list[Problem]:
        """Return what a step that ends lacks; `known` are its attributes after the change.

        Missing and empty attributes are both 0121: N-SET has no 0120 (PS3.7 10.1.3.1.9).
        """
        found = (_requirement_problem(known, rule, rule.final, "", ProblemKind.MISSING_VALUE) for rule in self.rules)
        return list(islice(chain.from_iterable(found), MAX_PROBLEMS))

    def settable(self, attributes: Attributes) -> dict[str, Any]:
        """Return only the attributes that an N-SET may change: devices often repeat the others."""
        return {key: value for key, value in attributes.items() if key not in self.by_key or self._is_settable(key)}

    def _is_settable(self, key: str) -> bool:
        return self.by_key[key].set is not None

    def _touched(self, attributes: Attributes, known: Attributes, names: Mapping[str, str]) -> Iterator[Problem]:
        for key, name in names.items():
            rule = self.by_key.get(key)
            if rule is not None and rule.set is None:
                if known.get(key) != attributes[key]:
                    yield Problem(ProblemKind.INVALID_VALUE, key, f"{name} may not be changed")
            elif key not in known:
                yield Problem(ProblemKind.NO_SUCH_ATTRIBUTE, key, f"{name} was not created")
            if rule is not None and rule.set is not None:
                yield from _item_problems(attributes, rule, "", ProblemKind.MISSING_VALUE)


@dataclass(frozen=True, slots=True)
class Validation:
    """The result of a check: the reason of a refusal, or the tolerated mistakes as (kind, text) of device notes."""

    refusal: Problem | None = None
    notes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ChangeRules:
    """The rules for one N-SET: the table, key -> keyword of its attributes, and its device's policy."""

    table: RuleTable
    names: Mapping[str, str]
    strict: bool

    def validate(self, attributes: Attributes, known: Attributes, *, ends: bool) -> Validation:
        """Validate a change; `known` are the attributes of the step so far, `ends`: the change ends the step."""
        notes = []
        problems = self.table.change_problems(attributes, known, self.names)
        if problems:
            if self.strict:
                return Validation(problems[0])
            notes.append(("mpps_set", note_of(problems)))
        problems = self.table.final_problems({**known, **self.table.settable(attributes)}) if ends else []
        if problems:
            if self.strict:
                return Validation(problems[0])
            notes.append(("mpps_final", note_of(problems)))
        return Validation(notes=tuple(notes))


def note_of(problems: Iterable[Problem]) -> str:
    """Return the text of a device note about tolerated problems, at most MAX_NOTE characters."""
    return "; ".join(problem.text for problem in problems)[:MAX_NOTE]


def values(attributes: Attributes, key: str) -> list[Any]:
    """Return the non-empty values of an attribute; empty if it is missing."""
    element = attributes.get(key)
    if not element:
        return []
    found = list(element.get("Value", [])) or [element[name] for name in _CONTENTS if element.get(name)]
    return [value for value in found if value not in (None, "", {"Alphabetic": ""})]


def count(attributes: Attributes, key: str) -> int:
    """Return the number of non-empty values of an attribute, of packed ones too."""
    packed = attributes.get(key, {}).get(PACKED)
    return packed_count(packed) if packed else len(values(attributes, key))


def packed_count(text: str) -> int:
    """Return the number of references that a text in the place of a Value stands for."""
    return int(text.partition(" ")[0])


def _creation_problems(
    attributes: Attributes, rules: Iterable[Rule], where: str, missing: ProblemKind
) -> Iterator[Problem]:
    for rule in rules:
        yield from _requirement_problem(attributes, rule, rule.create, where, missing)
        yield from _item_problems(attributes, rule, where, missing)


def _item_problems(attributes: Attributes, rule: Rule, where: str, missing: ProblemKind) -> Iterator[Problem]:
    for item in values(attributes, rule.key) if rule.items else []:
        if isinstance(item, Mapping):
            yield from _creation_problems(item, rule.items, f"{where}{rule.keyword} > ", missing)


def _requirement_problem(
    attributes: Attributes, rule: Rule, type: str, where: str, missing: ProblemKind
) -> Iterator[Problem]:
    if type == "3" or any(key in attributes for key in rule.unless):
        return
    if rule.key not in attributes:
        yield Problem(missing, rule.key, f"{where}{rule.keyword} is missing")
    elif type == "1" and not values(attributes, rule.key):
        yield Problem(ProblemKind.MISSING_VALUE, rule.key, f"{where}{rule.keyword} is empty")
