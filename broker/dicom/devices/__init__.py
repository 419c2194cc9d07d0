"""The calling devices: their registry in memory, samples of what they send, suggestions drawn from these."""
