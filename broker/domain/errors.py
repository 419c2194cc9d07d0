"""The errors that use cases raise.

A class's docstring is its plain-English message; `code` is the key of its Russian text (`ui.text.errors`).
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
    """It does not exist."""

    code = "not_found"


class WrongState(BrokerError):
    """The order is in a state that does not allow it."""

    code = "wrong_state"


class Occupied(WrongState):
    """Somebody else is writing there."""

    code = "occupied"


class Stale(BrokerError):
    """Somebody else has changed it meanwhile."""

    code = "stale"


class Duplicate(BrokerError):
    """It already exists."""

    code = "duplicate"


class Refused(BrokerError):
    """The item cannot be imported."""

    code = "refused"

    def __init__(self, detail: str = "", reason: str = "other", about: str = "") -> None:
        """`reason` is a code, for which the screens have words; `about` is the number or card that it is about."""
        super().__init__(detail)
        self.reason, self.about = reason, about


class Invalid(BrokerError):
    """Some fields are wrong."""

    code = "invalid"

    def __init__(self, problems: Mapping[str, str]) -> None:
        """`problems`: field name -> problem code (`required`, `check_digit`, …), a key of `ui.text.errors`."""
        super().__init__(", ".join(f"{field}: {problem}" for field, problem in problems.items()))
        self.problems = dict(problems)
