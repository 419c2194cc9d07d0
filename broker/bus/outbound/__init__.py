"""What goes to the bus: rows of the outbox become FHIR, are delivered, and their outcome is recorded.

`delivery` sends, `outcomes` records, `messages` is what a message is made of and what must come back; `orders` and
`results` render the Bundles from the parts in `bundle`.
"""
