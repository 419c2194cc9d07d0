-- Who writes about a study, and since when: its report or a read of it, or what is said when it is read over.
DROP TABLE reading_lease;  -- a lease lasts for minutes: none outlives an update
CREATE TABLE reading_lease (
    order_id INTEGER NOT NULL REFERENCES orders (id),
    purpose TEXT NOT NULL CHECK (purpose IN ('report', 'over_read')),
    reader TEXT NOT NULL,  -- login
    reader_title TEXT NOT NULL,
    since TEXT NOT NULL,
    until TEXT NOT NULL,
    PRIMARY KEY (order_id, purpose)
) STRICT, WITHOUT ROWID;

-- Signed reports that a doctor has asked a colleague to read over, and what the colleague says. Never part of a report:
-- what is taken over becomes a new version of it.
CREATE TABLE over_read (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    version INTEGER NOT NULL CHECK (version >= 1),  -- of the report: that was asked about, then that was read
    asked_by TEXT NOT NULL,  -- login
    asked_by_title TEXT NOT NULL,
    asked_of TEXT NOT NULL,  -- login; '': any doctor
    asked_of_title TEXT NOT NULL,
    question TEXT NOT NULL,
    asked_at TEXT NOT NULL,
    outcome TEXT NOT NULL DEFAULT '' CHECK (outcome IN ('', 'agrees', 'differs', 'declined', 'withdrawn')),
    description TEXT NOT NULL DEFAULT '',
    conclusion TEXT NOT NULL DEFAULT '',
    recommendations TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',  -- why it was declined or withdrawn
    ended_by TEXT NOT NULL DEFAULT '',  -- login
    ended_by_title TEXT NOT NULL DEFAULT '',
    ended_at TEXT,
    heeded_at TEXT,  -- who asked has seen the answer
    CHECK ((outcome = '') = (ended_at IS NULL)),
    CHECK (outcome <> 'differs' OR conclusion <> '')
) STRICT;
CREATE INDEX over_read_order ON over_read (order_id);
CREATE UNIQUE INDEX over_read_open ON over_read (order_id) WHERE ended_at IS NULL;
CREATE TRIGGER over_read_is_final
BEFORE UPDATE OF order_id, version, outcome, description, conclusion, recommendations, ended_by, ended_at ON over_read
WHEN old.ended_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'what was answered is final'); END;
CREATE TRIGGER over_read_stays BEFORE DELETE ON over_read
BEGIN SELECT RAISE(ABORT, 'what was asked stays'); END;

-- What two readers who differ decide together: one writes it, the other confirms these very words.
CREATE TABLE joint_decision (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    images INTEGER NOT NULL,  -- the revision of the images and the card that it is about, as of the reads
    patient_id INTEGER NOT NULL,
    writer TEXT NOT NULL,  -- login of the reader who wrote it
    confirmer TEXT NOT NULL,  -- login of the other one
    opinion TEXT NOT NULL CHECK (opinion <> ''),  -- JSON, as of `study_read`
    said TEXT NOT NULL,  -- JSON: the texts of the report, and the dose
    proposed_at TEXT NOT NULL,
    confirmed_at TEXT,
    revision INTEGER NOT NULL DEFAULT 1,
    CHECK (writer <> confirmer),
    UNIQUE (order_id, images, patient_id)
) STRICT;
CREATE TRIGGER joint_decision_is_final BEFORE UPDATE ON joint_decision WHEN old.confirmed_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'what both have decided is final'); END;
CREATE TRIGGER joint_decision_stays BEFORE DELETE ON joint_decision WHEN old.confirmed_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'what both have decided is final'); END;
