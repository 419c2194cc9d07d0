"""How studies are read: opinions, reports, and how far two readers agree."""
