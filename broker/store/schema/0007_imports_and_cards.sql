-- What was not imported, and why: shown until it is imported, or a person says that it need not be.

CREATE TABLE import_refusal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL CHECK (source IN ('worklist_file', 'table')),
    path TEXT NOT NULL,  -- of the worklist file, or of the table
    row INTEGER NOT NULL,  -- of the table; 0: a worklist file
    digest TEXT NOT NULL,  -- of the content that was refused
    patient_name TEXT NOT NULL,  -- as far as it could be read
    birth_date TEXT NOT NULL,  -- YYYY-MM-DD, '': not known
    patient_id TEXT NOT NULL,
    reasons TEXT NOT NULL,  -- JSON: [{code, text, field, about}]
    at TEXT NOT NULL,
    dismissed_at TEXT,
    dismissed_by TEXT NOT NULL DEFAULT '',
    UNIQUE (source, path, row)
) STRICT;
CREATE INDEX import_refusal_open ON import_refusal (id) WHERE dismissed_at IS NULL;

-- What a card says beside the patient's data: of no use to a device, and not sent with a referral.

CREATE TABLE patient_details (
    patient_id INTEGER PRIMARY KEY REFERENCES patient (id),
    address TEXT NOT NULL DEFAULT '',
    passport TEXT NOT NULL DEFAULT '',
    consent_on TEXT NOT NULL DEFAULT '',  -- day on which the patient agreed that the region is told; '': not asked
    consent_withdrawn_on TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE patient_former_number (  -- numbers that a correction has put out of force, and that were the patient's
    patient_id INTEGER NOT NULL REFERENCES patient (id),
    kind TEXT NOT NULL CHECK (kind IN ('snils', 'policy')),
    number TEXT NOT NULL CHECK (number <> ''),
    until TEXT NOT NULL,  -- day of the correction
    actor TEXT NOT NULL,
    PRIMARY KEY (patient_id, kind, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX patient_former_number_number ON patient_former_number (number);
