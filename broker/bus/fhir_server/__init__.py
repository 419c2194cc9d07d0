"""The server side of the bus, for the practice bus and for our own /fhir.

`requests` is what may be asked and how answers are framed, `fields` the table of requirements, `rules` the checks,
`records` what becomes of a resource that is stored. The bus's client is validated against it, so it shares no code with
the client.
"""
