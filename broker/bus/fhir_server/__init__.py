"""The server side of the bus, for the practice bus and for our own /fhir.

`requests` is what may be asked and how answers are framed, `references` makes plain what was sent (contained resources,
addresses), `deviations` reads what live clients write beside the profile, `r4` what FHIR R4 has beside it, `fields` is
the table of requirements, `rules` are the checks, `records` what becomes of a resource that is stored. The bus's client
is validated against it, so it shares no code with the client.
"""
