"""Services that this program uses (SCU): C-ECHO, and Study Root C-FIND to ask an archive what has arrived."""
