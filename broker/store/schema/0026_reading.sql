-- Procedures whose studies two doctors read; others are read once. Apart from `procedure_type`, which imports replace.
CREATE TABLE double_procedure (
    code TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- What each reader found on a study's images. The report is made of them once they come to something.
CREATE TABLE study_read (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    images INTEGER NOT NULL,  -- the revision of the images that it is about; it counts for these only
    patient_id INTEGER NOT NULL,  -- the card that they were of
    reader TEXT NOT NULL,  -- login
    reader_family TEXT NOT NULL,
    reader_given TEXT NOT NULL,
    reader_middle TEXT NOT NULL,
    reader_snils TEXT NOT NULL,
    reader_position TEXT NOT NULL,
    arbitrates INTEGER NOT NULL CHECK (arbitrates IN (0, 1)),
    opinion TEXT NOT NULL,  -- JSON: broker.domain.studies.reading.Opinion; '' in a draft without one
    description TEXT NOT NULL,
    conclusion TEXT NOT NULL,
    recommendations TEXT NOT NULL,
    effective_dose REAL CHECK (effective_dose >= 0),  -- mSv
    given_at TEXT,  -- NULL: a draft
    stands_at TEXT,  -- until then its reader may take it back
    settled INTEGER NOT NULL DEFAULT 0 CHECK (settled IN (0, 1)),  -- 1: it stands, and nothing changes it any more
    revision INTEGER NOT NULL DEFAULT 1,
    CHECK ((given_at IS NULL) = (stands_at IS NULL)),
    CHECK (given_at IS NULL OR opinion <> ''),
    UNIQUE (order_id, images, patient_id, reader)
) STRICT;
CREATE INDEX study_read_held ON study_read (stands_at) WHERE given_at IS NOT NULL AND settled = 0;
CREATE TRIGGER study_read_is_final BEFORE UPDATE ON study_read WHEN old.settled = 1
BEGIN SELECT RAISE(ABORT, 'a read that stands is final'); END;
CREATE TRIGGER study_read_stays BEFORE DELETE ON study_read WHEN old.given_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a read that was given stays'); END;

-- Who has a study open for reading.
CREATE TABLE reading_lease (
    order_id INTEGER PRIMARY KEY REFERENCES orders (id),
    reader TEXT NOT NULL,  -- login
    until TEXT NOT NULL
) STRICT;

-- Studies that a reader has put aside; they are on no list until somebody takes them up again.
CREATE TABLE reading_deferral (
    order_id INTEGER PRIMARY KEY REFERENCES orders (id),
    reader TEXT NOT NULL,  -- login
    reader_title TEXT NOT NULL,
    reason TEXT NOT NULL CHECK (reason <> ''),
    at TEXT NOT NULL
) STRICT;

-- Studies that are read once although their procedure is read twice, and the other way round.
CREATE TABLE reading_needed (
    order_id INTEGER PRIMARY KEY REFERENCES orders (id),
    reads INTEGER NOT NULL CHECK (reads IN (1, 2)),
    reason TEXT NOT NULL CHECK (reason <> '')
) STRICT;

-- Texts that a reader begins with: of a procedure, the clinic's or one doctor's own.
CREATE TABLE report_template (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    procedure_code TEXT NOT NULL,
    owner TEXT NOT NULL DEFAULT '',  -- login; '': the clinic's
    name TEXT NOT NULL CHECK (name <> ''),
    finding TEXT NOT NULL DEFAULT '' CHECK (finding IN ('', 'norm', 'known', 'recall', 'technical')),
    description TEXT NOT NULL,
    conclusion TEXT NOT NULL,
    recommendations TEXT NOT NULL,
    revision INTEGER NOT NULL DEFAULT 1,
    UNIQUE (procedure_code, owner, name)
) STRICT;
-- One of each finding, so that a key has one meaning.
CREATE UNIQUE INDEX report_template_finding ON report_template (procedure_code, owner, finding) WHERE finding <> '';
