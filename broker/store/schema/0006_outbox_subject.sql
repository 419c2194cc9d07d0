-- A message to the region is about an order, or about an incoming referral that never became one: that it is declined.
-- SQLite cannot take NOT NULL from a column, so the table and its attempts are written anew.

CREATE TABLE outbox_subject (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER REFERENCES orders (id),
    incoming_id INTEGER REFERENCES incoming_referral (id),
    kind TEXT NOT NULL CHECK (
        kind IN ('order', 'amend', 'cancel', 'started', 'images', 'report', 'appended', 'decline')),
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'needs_attention', 'dropped', 'unsupported')),
    uncertain INTEGER NOT NULL DEFAULT 0 CHECK (uncertain IN (0, 1)),  -- 1: the bus may have it
    attempts INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    delivered_at TEXT,
    sent BLOB,  -- the last body, zlib; forgotten after a while
    order_revision INTEGER,  -- of the order as last sent; of an unsent amendment: the amended one
    CHECK ((order_id IS NULL) + (incoming_id IS NULL) = 1),
    CHECK ((incoming_id IS NOT NULL) = (kind = 'decline'))
) STRICT;
INSERT INTO outbox_subject (seq, order_id, kind, state, uncertain, attempts, reason, created_at, delivered_at, sent,
    order_revision)
SELECT seq, order_id, kind, state, uncertain, attempts, reason, created_at, delivered_at, sent, order_revision
FROM outbox;
CREATE TABLE outbox_attempt_subject (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    seq INTEGER NOT NULL REFERENCES outbox_subject (seq),
    at TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    answer TEXT NOT NULL
) STRICT;
INSERT INTO outbox_attempt_subject (id, seq, at, outcome, reason, answer)
SELECT id, seq, at, outcome, reason, answer FROM outbox_attempt;
DROP TABLE outbox_attempt;
DROP TABLE outbox;
ALTER TABLE outbox_subject RENAME TO outbox;
ALTER TABLE outbox_attempt_subject RENAME TO outbox_attempt;
CREATE INDEX outbox_open ON outbox (order_id, incoming_id, seq) WHERE state IN ('pending', 'needs_attention');
CREATE INDEX outbox_order ON outbox (order_id, seq);
CREATE INDEX outbox_incoming ON outbox (incoming_id, seq) WHERE incoming_id IS NOT NULL;
CREATE INDEX outbox_attempt_seq ON outbox_attempt (seq);

ALTER TABLE incoming_referral ADD COLUMN decline_reason TEXT NOT NULL DEFAULT '';
