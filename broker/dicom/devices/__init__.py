"""The calling devices: their registry in memory, samples of what they send, and the callers themselves."""
