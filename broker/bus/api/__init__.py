"""Our own `/fhir`, where a local МИС finds the regional bus as the wire profile has it.

`web` is the calls over HTTP, `service` what they do, `answers` what is read of an order; what is demanded and refused
is in `fhir_server`. Here are only the names that the composition root needs.
"""

from broker.bus.api.web import TOKEN_HALF_LIFE, TOKEN_LIMITS, ApiMount, FhirApi

__all__ = ["TOKEN_HALF_LIFE", "TOKEN_LIMITS", "ApiMount", "FhirApi"]
