"""«Мнения»: what other clinics ask us about studies that they have made, and what we ask them."""
