"""A clinic's day for tests of the screens: it is 24 November 2026, 09:47, until a test says otherwise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.content_element import ContentElement
from nicegui.testing import User
from nicegui.testing.user_interaction import UserInteraction

from broker.domain.actors import Actor, ActorKind
from broker.domain.orders import Order
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.domain.studies.performed import Message, PerformedChange, PerformedState, StepReference
from broker.store.database import Store
from broker.store.tables import outbox
from broker.workflow.referrals import referrals
from broker.workflow.studies import performed_steps
from tests.support import factory
from tests.support.clock import NOW, TODAY, instant, local
from tests.support.factory import CLINIC, REGISTRAR


class Scene:
    """A database with a clock of its own, and what people and devices do there."""

    def __init__(self, path: Path) -> None:
        self.now = NOW
        self.store: Store = factory.open_store(path, clock=lambda: self.now)
        self._messages = 0

    instant = staticmethod(instant)
    local = staticmethod(local)

    def register(self, at: str, who: str = "Кузнецова Марина Петровна", on: date = TODAY, **changes: Any) -> Order:
        """Register a referral for `at`; every name is another patient, without numbers."""
        family, given, *middle = who.split(" ", 2)
        patient = Patient(PersonName(family, given, *middle), date(1961, 3, 12), Sex.FEMALE)
        draft = factory.draft(patient=patient, start=self.local(at, on), **changes)
        return self.store.write(referrals.register, draft, REGISTRAR, CLINIC)

    def amend(self, order: Order, **changes: Any) -> Order:
        """Change a referral; the rest stays as the factory writes it."""
        draft = factory.draft(patient=order.patient, **{"start": order.steps[0].start, **changes})
        return self.store.write(referrals.amend, order.id, order.revision, draft, REGISTRAR, CLINIC)

    def cancel(self, order: Order, reason: str = "Пациент отказался") -> None:
        """Cancel a referral."""
        self.store.write(referrals.cancel, order.id, order.revision, reason, REGISTRAR, CLINIC)

    def begin(self, order: Order | None, uid: str, ae_title: str = "XRAY_14", **changes: Any) -> None:
        """Let a modality begin a study, for an order or without one."""
        named = (StepReference(study_instance_uid=order.study_instance_uid),) if order else ()
        step = factory.performed(uid, *named, ae_title=ae_title, **{"start": self.local("09:15"), **changes})
        attributes = {
            "00400252": {"vr": "CS", "Value": ["IN PROGRESS"]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "KUZNETSOVA^MARINA"}]},
        }
        self.store.write(performed_steps.start, step, self._message(attributes), self._device(ae_title), CLINIC)

    def finish(self, uid: str, state: PerformedState = PerformedState.COMPLETED, **changes: Any) -> None:
        """Let a modality end a study."""
        change = replace(PerformedChange(state=state), **changes)
        message = self._message({"00400252": {"vr": "CS", "Value": [str(state)]}}, status=state)
        self.store.write(
            performed_steps.change, performed_steps.ChangeRequest(uid, change, message), self._device("XRAY_14"), CLINIC
        )

    def refuse(self, order: Order, reason: str, answer: str = "HTTP 422") -> None:
        """Let the bus refuse an order's oldest message."""
        self.store.write(lambda tx: outbox.mark_needs_attention(tx, self._head(order), reason, answer))

    def retry(self, order: Order, reason: str) -> None:
        """Let an attempt at an order's oldest message fail."""
        self.store.write(lambda tx: outbox.retry_later(tx, self._head(order), reason, "", uncertain=False))

    def deliver(self, order: Order, answer: str = "HTTP 200") -> None:
        """Let the bus accept an order's oldest message."""
        self.store.write(lambda tx: outbox.deliver(tx, self._head(order), {}, answer))

    def _head(self, order: Order) -> int:
        with self.store.read() as reader:
            return next(row.seq for row in outbox.heads(reader) if row.order_id == order.id)

    def _message(self, attributes: dict[str, Any], status: str = "") -> Message:
        self._messages += 1
        return Message(attributes, str(self._messages), status=status)

    def _device(self, ae_title: str) -> Actor:
        return Actor(ActorKind.DEVICE, ae_title, "Рентген, каб. 14" if ae_title == "XRAY_14" else "")


def press(user: User, word: str) -> None:
    """Click what bears this text; as in a browser, the click goes up to whoever listens."""
    for element in sorted(user.find(content=word).elements, key=lambda each: each.id):
        for each in (element, *element.ancestors()):
            if any(listener.type == "click" for listener in each._event_listeners.values()):
                UserInteraction(user, {each}, None).trigger("click")
                return
    raise AssertionError(f"nothing to press: {word}")


def drawn(user: User, word: str) -> str:
    """Return the one piece of HTML on the page that has this word in it."""
    [content] = [each.content for each in user.find(ContentElement).elements if word in getattr(each, "content", "")]
    return str(content)


def only_table(user: User) -> ui.table:
    """Return the page's table, of which there is one."""
    [table] = user.find(ui.table).elements
    return table


def buttons(user: User) -> set[str]:
    """Return the words of all buttons."""
    return {each.text for each in user.find(ui.button).elements}


def texts(user: User, classes: str) -> list[str]:
    """Return the texts of the elements of a class, in the order of the page."""
    shown = []
    for each in sorted(user.find(ui.element).elements, key=lambda each: each.id):
        if classes in each.classes:
            shown.append(str(getattr(each, "text", "")))
        elif isinstance(each, ContentElement):
            shown += [part.text for part in parts(each.content) if classes in part.classes]
    return shown


@dataclass
class Part:
    """An element that was written as HTML."""

    tag: str
    attributes: dict[str, str]
    text: str = ""

    @property
    def classes(self) -> list[str]:
        """Its classes."""
        return self.attributes.get("class", "").split()


def parts(html: str) -> list[Part]:
    """Read HTML as a browser does: every element with its attributes and all the text in it."""
    found: list[Part] = []
    inside: list[Part] = []

    class Reading(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append(Part(tag, {name: value or "" for name, value in attrs}))
            inside.append(found[-1])

        def handle_endtag(self, tag: str) -> None:
            assert inside.pop().tag == tag

        def handle_data(self, data: str) -> None:
            for each in inside:
                each.text += data

    reading = Reading()
    reading.feed(html)
    reading.close()
    assert not inside
    return found
