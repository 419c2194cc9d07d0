"""The form of a referral: its fields, what is typed into them, and how that becomes a draft."""
