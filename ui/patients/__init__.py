"""A patient's page, and two cards beside each other before they are merged."""
