"""What comes from the bus: referrals and cancellations, results of other clinics, and earlier studies of a patient.

`referrals`, `results` and `history` ask (by way of `search`), `resolver` follows references, `parse_referral` and
`parse_report` read FHIR into the domain.
"""
