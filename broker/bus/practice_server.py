"""The name under which the bench still finds the practice bus's server; nothing is done here, see `practice.server`."""

from broker.bus.practice.server import PracticeServer

__all__ = ["PracticeServer"]
