"""The thread that asks the bus what open pages want to know, one question after the other."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from broker.bus.transport.session import BusSession

log = logging.getLogger(__name__)

Question = TypeVar("Question")


class QuestionThread(Generic[Question]):
    """Passes questions to `answer`. It starts with the first question, and no failure at one of them ends it.

    Its session must not be shared: stopping aborts all calls of the session.
    """

    def __init__(self, name: str, session: BusSession, answer: Callable[[Question], None]) -> None:
        self.lock = threading.Condition()  # held while `waiting` and `current` are read and a question is added
        self.waiting: deque[Question] = deque()
        self.current: Question | None = None  # the one that is being answered
        self._name, self._session, self._answer = name, session, answer
        self._thread: threading.Thread | None = None

    def add(self, question: Question) -> bool:
        """Queue a question and return at once; False if the program stops."""
        with self.lock:
            if self._session.stopping.is_set():
                return False
            self.waiting.append(question)
            self.lock.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
            return True

    def stop(self) -> None:
        """Abort the calls in progress, refuse further questions, and wait for the thread."""
        with self.lock:
            self._session.stop()
            self.lock.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _work(self) -> None:
        while self._next():
            try:
                assert self.current is not None
                self._answer(self.current)
            except Exception:  # a failure at one question must not stop the others
                log.exception("%s: a question to the bus failed", self._name)

    def _next(self) -> bool:
        """Wait for the next question and take it; return False if the program stops."""
        with self.lock:
            self.current = None
            self.lock.wait_for(lambda: self.waiting or self._session.stopping.is_set())
            if self._session.stopping.is_set():
                return False
            self.current = self.waiting.popleft()
            return True
