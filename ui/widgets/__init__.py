"""What pages are drawn with: theme, autocomplete, keyed lists, drafts, escaped HTML."""
