"""Worklist Broker: referrals, Modality Worklist, MPPS and the regional bus for a clinic without a RIS."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("worklist-broker")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0"
