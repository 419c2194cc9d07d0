"""How a message about a performed procedure step is checked by a table of what must be there. Pure.

The table (PS3.4 Table F.7.2-1) is data that the DICOM part brings; so are the keys of its attributes, which mean
nothing here. What becomes of a message with problems is its device's policy: refused where that is strict, used as far
as possible elsewhere.
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
_CONTENTS = ("InlineBinary", "BulkDataURI")  # what stands in place of Value for bulk data


class ProblemKind(StrEnum):
    """How an attribute breaks the rules, as PS3.7 10.1 tells them apart."""

    MISSING_ATTRIBUTE = "missing attribute"
    MISSING_VALUE = "missing attribute value"
    INVALID_VALUE = "invalid attribute value"
    NO_SUCH_ATTRIBUTE = "no such attribute"
    INVALID_UID = "invalid SOP instance"


@dataclass(frozen=True, slots=True)
class Problem:
    """How a message breaks the rules, at which attribute, and in words for people."""

    kind: ProblemKind
    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One attribute: its requirement types for the device at N-CREATE, at N-SET and when the step ends.

    "1" must have a value, "2" must be there, "3" may be. `set` is None where an N-SET may not touch it. `final` is
    what must be known once the step has ended. A conditional type counts as its number, `unless` one of the other
    attributes (keys) is there.
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
        """Index the rules by their attributes' keys."""
        object.__setattr__(self, "by_key", {rule.key: rule for rule in self.rules})

    def creation_problems(self, attributes: Attributes) -> list[Problem]:
        """Check what an N-CREATE brings: what is missing (0120) and what is empty (0121, PS3.7 10.1.5.1.6)."""
        return list(islice(_created(attributes, self.rules, "", ProblemKind.MISSING_ATTRIBUTE), MAX_PROBLEMS))

    def change_problems(self, attributes: Attributes, known: Attributes, names: Mapping[str, str]) -> list[Problem]:
        """Check what an N-SET touches of a step of which `known` is known.

        What it may not touch is 0106 with another value than the known one (PS3.7 10.1.3.1.9, Invalid Attribute Value);
        the same value does no harm. What was never created cannot be set (F.7.2.2.2): 0105. A sequence is always sent
        whole, so that its items are checked as at creation. `names` are the keywords of what is checked, by key.
        """
        return list(islice(self._touched(attributes, known, names), MAX_PROBLEMS))

    def final_problems(self, known: Attributes) -> list[Problem]:
        """Check a step that is to end with what is known of it then.

        What is not there and what is empty are both 0121: an N-SET knows no 0120 (PS3.7 10.1.3.1.9).
        """
        found = (_lacking(known, rule, rule.final, "", ProblemKind.MISSING_VALUE) for rule in self.rules)
        return list(islice(chain.from_iterable(found), MAX_PROBLEMS))

    def settable(self, attributes: Attributes) -> dict[str, Any]:
        """Return the attributes that an N-SET may change: devices repeat those that they may not."""
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
                yield from _items(attributes, rule, "", ProblemKind.MISSING_VALUE)


@dataclass(frozen=True, slots=True)
class Validation:
    """What is wrong with a change: why it is refused, or what is overlooked (kinds and texts of device notes)."""

    refusal: Problem | None = None
    notes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ChangeRules:
    """What an N-SET is held to: the table, the keywords of what it brings by key, and its device's policy."""

    table: RuleTable
    names: Mapping[str, str]
    strict: bool

    def validate(self, attributes: Attributes, known: Attributes, *, ends: bool) -> Validation:
        """Check the change of a step of which `known` is known; `ends` says that the step is over with it."""
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
    """Return the text of a device note about problems that are overlooked."""
    return "; ".join(problem.text for problem in problems)[:MAX_NOTE]


def values(attributes: Attributes, key: str) -> list[Any]:
    """Return an attribute's values without the empty ones; nothing if it is not there."""
    element = attributes.get(key)
    if not element:
        return []
    found = list(element.get("Value", [])) or [element[name] for name in _CONTENTS if element.get(name)]
    return [value for value in found if value not in (None, "", {"Alphabetic": ""})]


def _created(attributes: Attributes, rules: Iterable[Rule], where: str, missing: ProblemKind) -> Iterator[Problem]:
    for rule in rules:
        yield from _lacking(attributes, rule, rule.create, where, missing)
        yield from _items(attributes, rule, where, missing)


def _items(attributes: Attributes, rule: Rule, where: str, missing: ProblemKind) -> Iterator[Problem]:
    for item in values(attributes, rule.key) if rule.items else []:
        if isinstance(item, Mapping):
            yield from _created(item, rule.items, f"{where}{rule.keyword} > ", missing)


def _lacking(attributes: Attributes, rule: Rule, type: str, where: str, missing: ProblemKind) -> Iterator[Problem]:
    if type == "3" or any(key in attributes for key in rule.unless):
        return
    if rule.key not in attributes:
        yield Problem(missing, rule.key, f"{where}{rule.keyword} is missing")
    elif type == "1" and not values(attributes, rule.key):
        yield Problem(ProblemKind.MISSING_VALUE, rule.key, f"{where}{rule.keyword} is empty")
