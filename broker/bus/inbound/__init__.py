"""What the bus tells us: referrals, cancellations, results made elsewhere, and how FHIR is read into the domain."""
