"""The region's side: domain to FHIR and back, delivery and fetching, and those who play the bus themselves.

Client: `exchange` sends, `fetch`, `elsewhere` and `history` ask, page by page (`paging`); `orders_up`, `results_up` and
`entries` write FHIR, `reading` and `foreign` read it, by the `dialect` and the `profile` of the region. `serving` is
the bus from the other side, for `endpoint` (a local МИС asks us) and `practice` (a bus to try things on).
"""
