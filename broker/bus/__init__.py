"""The region's side: the client of the regional bus, and two that play a bus themselves.

The client: `outbound` renders and delivers the outbox, `inbound` polls for referrals and results and looks up earlier
studies, both over `transport` (HTTP, rate and back-off, dialects, paging). `fhir` is JSON, ids and references,
`profile` who we are and which code systems the region has.

Playing the bus: `api` is our own /fhir for a local МИС, `practice` a bus to try things on; both refuse what
`fhir_server` says, which judges the client and shares no code with it.
"""
