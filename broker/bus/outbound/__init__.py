"""What the bus is told: rows of the outbox become FHIR, are sent, and their outcome is written down."""
