"""Use cases of patients: whose card it is, consent, what the region knows of them."""
