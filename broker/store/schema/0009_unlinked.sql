-- Studies of the archive that fit an order from which images were unlinked before.

CREATE TABLE archive_discrepancy_new (  -- a study there that bears an order's UID or number and does not fit the order
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    kind TEXT NOT NULL CHECK (
        kind IN ('other_patient', 'several_patients', 'several_studies', 'other_number', 'other_uid', 'unlinked',
                 'own_uid', 'unreferred', 'older', 'unreadable')),
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
    id, order_id, kind, state, study_instance_uid, accession_number, patient_name, patient_id, birth_date, patient_sex,
    modality, start, images, first_at, decided_at, decided_by)
SELECT id, order_id, kind, state, study_instance_uid, accession_number, patient_name, patient_id, birth_date,
    patient_sex, modality, start, images, first_at, decided_at, decided_by
FROM archive_discrepancy;
DROP TABLE archive_discrepancy;
ALTER TABLE archive_discrepancy_new RENAME TO archive_discrepancy;
CREATE INDEX archive_discrepancy_open ON archive_discrepancy (id) WHERE state = 'open';
CREATE INDEX archive_discrepancy_study ON archive_discrepancy (study_instance_uid);
