"""The one small family of errors that the use cases raise.

A class's docstring is its plain-English message; `code` is the key under which the screens keep their Russian words.
Nothing here knows a screen, a socket or a database.
"""

from __future__ import annotations

from collections.abc import Mapping


class BrokerError(Exception):
    """The request could not be carried out."""

    code = "error"

    def __init__(self, detail: str = "") -> None:
        message = (type(self).__doc__ or "").strip().splitlines()[0]
        super().__init__(f"{message.rstrip('.')}: {detail}" if detail else message)
        self.detail = detail


class Forbidden(BrokerError):
    """This role may not do that."""

    code = "forbidden"


class SessionEnded(BrokerError):
    """The session has ended; sign in again."""

    code = "session_ended"


class NotFound(BrokerError):
    """There is no such thing."""

    code = "not_found"


class WrongState(BrokerError):
    """The order is in a state that does not allow it."""

    code = "wrong_state"


class Stale(BrokerError):
    """Somebody else has changed it meanwhile."""

    code = "stale"


class Duplicate(BrokerError):
    """It already exists."""

    code = "duplicate"


class Refused(BrokerError):
    """The item cannot be taken over."""

    code = "refused"


class Invalid(BrokerError):
    """Some fields are wrong."""

    code = "invalid"

    def __init__(self, problems: Mapping[str, str]) -> None:
        """Keep `problems`: field name -> problem code, a key of the screens' words (`required`, `check_digit`, …)."""
        super().__init__(", ".join(f"{field}: {problem}" for field, problem in problems.items()))
        self.problems = dict(problems)
