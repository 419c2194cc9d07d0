-- Structured reports and documents that modalities have stored here (C-STORE), as they came.
CREATE TABLE received_object (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sop_instance_uid TEXT NOT NULL UNIQUE CHECK (length(sop_instance_uid) BETWEEN 1 AND 64),
    sop_class_uid TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('dose', 'report', 'document')),
    title TEXT NOT NULL,  -- as the device has it
    study_instance_uid TEXT NOT NULL,
    accession_number TEXT NOT NULL,
    patient_name TEXT NOT NULL,  -- PN, as the device sent it; so are the next three
    patient_id TEXT NOT NULL,
    patient_birth_date TEXT NOT NULL,  -- DA
    patient_sex TEXT NOT NULL,  -- CS
    ae_title TEXT NOT NULL,
    received_at TEXT NOT NULL,
    implicit INTEGER NOT NULL CHECK (implicit IN (0, 1)),  -- 1: the dataset is Implicit VR Little Endian, 0: Explicit
    dataset BLOB NOT NULL,
    digest TEXT NOT NULL,  -- of what it says, in whichever transfer syntax
    problem TEXT NOT NULL DEFAULT '',  -- why its dose could not be read
    order_id INTEGER REFERENCES orders (id),
    held TEXT NOT NULL DEFAULT '' CHECK (held IN ('', 'no_order', 'several_orders', 'other_patient')),
    CHECK ((order_id IS NULL) = (held <> ''))
) STRICT;
CREATE INDEX received_object_order ON received_object (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX received_object_held ON received_object (id) WHERE held <> '';

CREATE TABLE dose_event (  -- the irradiation events of a dose report
    received_id INTEGER NOT NULL REFERENCES received_object (id) ON DELETE CASCADE,
    uid TEXT NOT NULL,
    PRIMARY KEY (received_id, uid)
) STRICT, WITHOUT ROWID;

CREATE TABLE dose_value (
    received_id INTEGER NOT NULL REFERENCES received_object (id) ON DELETE CASCADE,
    event_uid TEXT NOT NULL,  -- '': the report's own total
    position INTEGER NOT NULL,
    quantity TEXT NOT NULL CHECK (quantity IN ('dap', 'rp', 'agd', 'dlp', 'ctdi', 'fluoro_time', 'events')),
    part TEXT NOT NULL,  -- side of the body or plane of the device; '': the whole
    value REAL NOT NULL,
    unit TEXT NOT NULL,  -- as the device has it
    PRIMARY KEY (received_id, event_uid, position)
) STRICT, WITHOUT ROWID;
