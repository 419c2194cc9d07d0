"""What is sent to the region, as FHIR: the one door to the modules that render it.

Pure: no network, no database, no clock of its own.
"""

from __future__ import annotations

from broker.bus.outbound.bundle import NAMESPACE, task_number
from broker.bus.outbound.orders import amendment_bundle, order_bundle
from broker.bus.outbound.results import images_bundle, report_bundle
from broker.bus.profile import Profile

__all__ = [
    "NAMESPACE",
    "amendment_bundle",
    "images_bundle",
    "order_bundle",
    "report_bundle",
    "task_number",
    "task_search",
]


def task_search(number: str, intent: str, profile: Profile, requester: str = "") -> dict[str, str]:
    """Make the parameters of a search, `Dialect.search`, for a Task of ours by its number.

    `requester` is the GUID of the clinic that ordered; empty: this one.
    """
    ours = profile.number(number)
    return {
        "intent": intent,
        "requester": f"Organization/{requester or profile.organisation}",
        "identifier": f"{ours['system']}|{ours['value']}",
        "_count": "500",
    }
