"""Our own `/fhir`, which a local МИС uses in place of the regional bus, by the same profile.

`web` is HTTP, `service` the operations, `answers` the resources that are returned for an order; `fhir_server`
validates. Here are only the names that the composition root needs.
"""

from broker.bus.api.web import TOKEN_HALF_LIFE, TOKEN_LIMITS, ApiMount, FhirApi

__all__ = ["TOKEN_HALF_LIFE", "TOKEN_LIMITS", "ApiMount", "FhirApi"]
