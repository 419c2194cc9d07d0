"""«Доска»: the day on all devices, and what needs a person."""
