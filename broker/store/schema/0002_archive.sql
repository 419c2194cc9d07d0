-- What the image archive (PACS) says of orders: what it holds of them, and what does not fit them.

CREATE TABLE archive_contact (  -- when it last answered
    id INTEGER PRIMARY KEY CHECK (id = 1),
    answered_at TEXT NOT NULL
) STRICT;

CREATE TABLE archive_study (  -- what it holds of an order, as far as that fits the order
    order_id INTEGER PRIMARY KEY REFERENCES orders (id),
    study_instance_uid TEXT NOT NULL DEFAULT '',  -- as it stands there; '': it holds nothing
    images INTEGER CHECK (images >= 0),  -- 0: none; NULL: it holds the study and does not say how many
    waived_by TEXT NOT NULL DEFAULT '',  -- who said that no images will come
    asked_at TEXT,  -- of the last answer that was written down
    changed_at TEXT NOT NULL
) STRICT;
CREATE INDEX archive_study_missing ON archive_study (asked_at) WHERE images = 0 AND waived_by = '';

CREATE TABLE archive_discrepancy (  -- a study there that bears an order's UID or number and does not fit the order
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    kind TEXT NOT NULL CHECK (
        kind IN ('other_patient', 'several_patients', 'several_studies', 'other_number', 'other_uid', 'older',
                 'unreadable')),
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'accepted', 'dismissed')),
    study_instance_uid TEXT NOT NULL CHECK (study_instance_uid <> ''),
    accession_number TEXT NOT NULL,
    patient_name TEXT NOT NULL,  -- PN, as the archive has it; so are the next two
    patient_id TEXT NOT NULL,
    birth_date TEXT NOT NULL,  -- DA
    modality TEXT NOT NULL,
    start TEXT NOT NULL,  -- '': the archive does not say
    images INTEGER CHECK (images >= 0),  -- NULL: the archive does not say
    first_at TEXT NOT NULL,
    decided_at TEXT,
    decided_by TEXT NOT NULL DEFAULT '',
    UNIQUE (order_id, study_instance_uid, accession_number, patient_name, patient_id, birth_date)
) STRICT;
CREATE INDEX archive_discrepancy_open ON archive_discrepancy (id) WHERE state = 'open';
