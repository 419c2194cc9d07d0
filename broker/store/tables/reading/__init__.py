"""Tables of reading: what each reader found, reports, and templates of their texts."""
