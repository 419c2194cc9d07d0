-- What stands in the place of a signed report since: additions, corrections and withdrawals. The report itself stays.
CREATE TABLE report_version (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    version INTEGER NOT NULL CHECK (version > 1),
    change TEXT NOT NULL CHECK (change IN ('addition', 'correction', 'withdrawal')),
    reason TEXT NOT NULL CHECK (reason <> ''),  -- what was added, what was corrected, why it was withdrawn
    description TEXT NOT NULL,  -- the texts as they read since
    conclusion TEXT NOT NULL,
    recommendations TEXT NOT NULL,
    effective_dose REAL CHECK (effective_dose >= 0),  -- mSv
    author TEXT NOT NULL,  -- login
    author_family TEXT NOT NULL,
    author_given TEXT NOT NULL,
    author_middle TEXT NOT NULL,
    author_snils TEXT NOT NULL,
    author_position TEXT NOT NULL,
    signed_at TEXT NOT NULL,
    UNIQUE (order_id, version)
) STRICT;
CREATE TRIGGER report_version_is_final BEFORE UPDATE ON report_version
BEGIN SELECT RAISE(ABORT, 'a signed report is final'); END;
CREATE TRIGGER report_version_stays BEFORE DELETE ON report_version
BEGIN SELECT RAISE(ABORT, 'a signed report is final'); END;
