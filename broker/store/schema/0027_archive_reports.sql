-- Signed reports on their way to the image archive, a row a version. A row goes with the signature, in one transaction.
CREATE TABLE archive_report (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    version INTEGER NOT NULL CHECK (version >= 1),
    state TEXT NOT NULL CHECK (state IN ('pending', 'stored', 'needs_attention', 'dropped')),
    reason TEXT NOT NULL DEFAULT '',  -- why it waits, needs attention, or was dropped
    detail TEXT NOT NULL DEFAULT '',  -- the archive's status and words
    attempts INTEGER NOT NULL DEFAULT 0,  -- in vain, since it was queued or a person sent it again
    uncertain INTEGER NOT NULL DEFAULT 0 CHECK (uncertain IN (0, 1)),  -- it was sent, and no answer came
    next_at TEXT NOT NULL,  -- not tried before
    queued_at TEXT NOT NULL,  -- with the signature, or again by a person
    stored_at TEXT,
    UNIQUE (order_id, version)
) STRICT;
CREATE INDEX archive_report_pending ON archive_report (next_at) WHERE state = 'pending';
