-- What clinics ask one another about a study that is made: our requests with what became of them, and our answers.
CREATE TABLE opinion_request (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    number INTEGER NOT NULL CHECK (number >= 1),  -- among the requests about this order
    version INTEGER NOT NULL CHECK (version >= 1),  -- of the report
    partner TEXT NOT NULL CHECK (partner <> ''),  -- GUID of the clinic that is asked
    question TEXT NOT NULL CHECK (question <> ''),
    priority TEXT NOT NULL CHECK (priority IN ('routine', 'urgent')),
    asked_by TEXT NOT NULL,  -- login
    asked_by_title TEXT NOT NULL,
    asked_at TEXT NOT NULL,
    task TEXT NOT NULL DEFAULT '',  -- id on the bus, as soon as that has it
    bus_patient TEXT NOT NULL DEFAULT '',
    taken_at TEXT,  -- the other clinic was seen to work on it
    outcome TEXT NOT NULL DEFAULT '' CHECK (outcome IN ('', 'answered', 'declined', 'withdrawn')),
    reason TEXT NOT NULL DEFAULT '',
    answer TEXT NOT NULL DEFAULT '',  -- JSON: broker.domain.reading.reports.ExternalStudy
    ended_at TEXT,
    heeded_at TEXT,  -- a doctor has seen what became of it
    CHECK ((outcome = '') = (ended_at IS NULL)),
    CHECK (outcome <> 'answered' OR answer <> ''),
    UNIQUE (order_id, number)
) STRICT;
CREATE INDEX opinion_request_task ON opinion_request (task) WHERE task <> '';
CREATE INDEX opinion_request_open ON opinion_request (asked_at) WHERE ended_at IS NULL;
CREATE TRIGGER opinion_request_stays BEFORE DELETE ON opinion_request
BEGIN SELECT RAISE(ABORT, 'what was asked stays'); END;

CREATE TABLE opinion_answer (
    incoming_id INTEGER PRIMARY KEY REFERENCES incoming_referral (id),
    description TEXT NOT NULL,
    conclusion TEXT NOT NULL CHECK (conclusion <> ''),
    recommendations TEXT NOT NULL,
    author TEXT NOT NULL,  -- login
    author_family TEXT NOT NULL,
    author_given TEXT NOT NULL,
    author_middle TEXT NOT NULL,
    author_snils TEXT NOT NULL,
    author_position TEXT NOT NULL,
    signed_at TEXT NOT NULL
) STRICT;
CREATE TRIGGER opinion_answer_is_final BEFORE UPDATE ON opinion_answer
BEGIN SELECT RAISE(ABORT, 'what was answered is final'); END;
CREATE TRIGGER opinion_answer_stays BEFORE DELETE ON opinion_answer
BEGIN SELECT RAISE(ABORT, 'what was answered stays'); END;

-- A message to the region may be about a request of ours, too; and an incoming one may be answered without an order.
-- SQLite cannot change a CHECK, so the table and its attempts are written anew.
CREATE TABLE outbox_opinions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER REFERENCES orders (id),
    incoming_id INTEGER REFERENCES incoming_referral (id),
    opinion_id INTEGER REFERENCES opinion_request (id),
    kind TEXT NOT NULL CHECK (
        kind IN ('order', 'amend', 'cancel', 'started', 'images', 'report', 'appended', 'decline',
            'opinion', 'ask_opinion', 'withdraw_opinion')),
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'needs_attention', 'dropped', 'unsupported')),
    uncertain INTEGER NOT NULL DEFAULT 0 CHECK (uncertain IN (0, 1)),  -- 1: the bus may have it
    attempts INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    delivered_at TEXT,
    sent BLOB,  -- the last body, zlib; forgotten after a while
    order_revision INTEGER,  -- of the order as last sent; of an unsent amendment: the amended one
    CHECK ((order_id IS NULL) + (incoming_id IS NULL) + (opinion_id IS NULL) = 2),
    CHECK ((incoming_id IS NOT NULL) = (kind IN ('decline', 'opinion'))),
    CHECK ((opinion_id IS NOT NULL) = (kind IN ('ask_opinion', 'withdraw_opinion')))
) STRICT;
INSERT INTO outbox_opinions (seq, order_id, incoming_id, kind, state, uncertain, attempts, reason, created_at,
    delivered_at, sent, order_revision)
SELECT seq, order_id, incoming_id, kind, state, uncertain, attempts, reason, created_at, delivered_at, sent,
    order_revision
FROM outbox;
CREATE TABLE outbox_attempt_opinions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    seq INTEGER NOT NULL REFERENCES outbox_opinions (seq),
    at TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    answer TEXT NOT NULL
) STRICT;
INSERT INTO outbox_attempt_opinions (id, seq, at, outcome, reason, answer)
SELECT id, seq, at, outcome, reason, answer FROM outbox_attempt;
DROP TABLE outbox_attempt;
DROP TABLE outbox;
ALTER TABLE outbox_opinions RENAME TO outbox;
ALTER TABLE outbox_attempt_opinions RENAME TO outbox_attempt;
CREATE INDEX outbox_open ON outbox (order_id, incoming_id, opinion_id, seq)
WHERE state IN ('pending', 'needs_attention');
CREATE INDEX outbox_order ON outbox (order_id, seq);
CREATE INDEX outbox_incoming ON outbox (incoming_id, seq) WHERE incoming_id IS NOT NULL;
CREATE INDEX outbox_opinion ON outbox (opinion_id, seq) WHERE opinion_id IS NOT NULL;
CREATE INDEX outbox_attempt_seq ON outbox_attempt (seq);
