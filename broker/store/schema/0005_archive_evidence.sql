-- Devices with Study Instance UIDs of their own; the sex that the archive has of a patient; studies of the archive that
-- belong to no order.

ALTER TABLE device ADD COLUMN own_study_uids INTEGER NOT NULL DEFAULT 0 CHECK (own_study_uids IN (0, 1));

CREATE INDEX performed_step_reference_study ON performed_step_reference (study_instance_uid)
    WHERE study_instance_uid <> '';

ALTER TABLE archive_study ADD COLUMN difference_seen INTEGER;  -- so many images that a device reported otherwise are right

CREATE TABLE archive_discrepancy_new (  -- a study there that bears an order's UID or number and does not fit the order
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    kind TEXT NOT NULL CHECK (
        kind IN ('other_patient', 'several_patients', 'several_studies', 'other_number', 'other_uid', 'own_uid',
                 'unreferred', 'older', 'unreadable')),
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'accepted', 'dismissed')),
    study_instance_uid TEXT NOT NULL CHECK (study_instance_uid <> ''),
    accession_number TEXT NOT NULL,
    patient_name TEXT NOT NULL,  -- PN, as the archive has it; so are the next three
    patient_id TEXT NOT NULL,
    birth_date TEXT NOT NULL,  -- DA
    patient_sex TEXT NOT NULL DEFAULT '',
    modality TEXT NOT NULL,
    start TEXT NOT NULL,  -- '': the archive does not say
    images INTEGER CHECK (images >= 0),  -- NULL: the archive does not say
    first_at TEXT NOT NULL,
    decided_at TEXT,
    decided_by TEXT NOT NULL DEFAULT '',
    UNIQUE (order_id, study_instance_uid, accession_number, patient_name, patient_id, birth_date)
) STRICT;
INSERT INTO archive_discrepancy_new (
    id, order_id, kind, state, study_instance_uid, accession_number, patient_name, patient_id, birth_date, modality,
    start, images, first_at, decided_at, decided_by)
SELECT id, order_id, kind, state, study_instance_uid, accession_number, patient_name, patient_id, birth_date, modality,
    start, images, first_at, decided_at, decided_by
FROM archive_discrepancy;
DROP TABLE archive_discrepancy;
ALTER TABLE archive_discrepancy_new RENAME TO archive_discrepancy;
CREATE INDEX archive_discrepancy_open ON archive_discrepancy (id) WHERE state = 'open';
CREATE INDEX archive_discrepancy_study ON archive_discrepancy (study_instance_uid);

CREATE TABLE archive_unreferred (  -- a study there of these days that bears no order's UID and no order's number
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'dismissed')),
    studied_on TEXT NOT NULL,  -- the date that was asked for
    study_instance_uid TEXT NOT NULL CHECK (study_instance_uid <> ''),
    accession_number TEXT NOT NULL,
    patient_name TEXT NOT NULL,  -- PN, as the archive has it; so are the next three
    patient_id TEXT NOT NULL,
    birth_date TEXT NOT NULL,  -- DA
    patient_sex TEXT NOT NULL,
    modality TEXT NOT NULL,
    start TEXT NOT NULL,
    images INTEGER CHECK (images >= 0),
    first_at TEXT NOT NULL,
    decided_at TEXT,
    decided_by TEXT NOT NULL DEFAULT '',
    UNIQUE (study_instance_uid, accession_number, patient_name, patient_id, birth_date)
) STRICT;
CREATE INDEX archive_unreferred_day ON archive_unreferred (studied_on);
