"""The region's side: domain to FHIR and back, delivery and fetching, and a practice bus to stand in for the region."""
