"""The page of one study: its facts, the report that is typed, and what is done to a signed one."""
