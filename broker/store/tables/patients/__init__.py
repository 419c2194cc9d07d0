"""Tables of patients and of what is known beside their cards."""
