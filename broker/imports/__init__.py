"""Tables and directories that people bring: spreadsheets, JSON, referrals, dictionaries of codes."""
