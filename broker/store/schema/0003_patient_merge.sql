-- Two cards of one person become one, and can be taken apart again.

ALTER TABLE patient ADD COLUMN merged_into INTEGER REFERENCES patient (id);  -- NULL: a card in use
CREATE INDEX patient_merged ON patient (merged_into) WHERE merged_into IS NOT NULL;

-- A merged card keeps its data and its card number, so that nobody else gets that, but no СНИЛС and no policy: those are
-- looked up, and lead to people. No order is its.
CREATE TRIGGER patient_merged_numbers BEFORE UPDATE ON patient
WHEN new.merged_into IS NOT NULL AND (new.snils IS NOT NULL OR new.policy IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'a merged card has no numbers'); END;
CREATE TRIGGER orders_insert_merged BEFORE INSERT ON orders
WHEN (SELECT merged_into FROM patient WHERE id = new.patient_id) IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'no order belongs to a merged card'); END;
CREATE TRIGGER orders_update_merged BEFORE UPDATE OF patient_id ON orders
WHEN (SELECT merged_into FROM patient WHERE id = new.patient_id) IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'no order belongs to a merged card'); END;

CREATE TABLE patient_merge (  -- the trail: what each merge did, so that it can be undone
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    surviving_id INTEGER NOT NULL REFERENCES patient (id),
    merged_id INTEGER NOT NULL REFERENCES patient (id),
    at TEXT NOT NULL,
    actor TEXT NOT NULL,
    chosen TEXT NOT NULL,  -- JSON: fields that were taken from the merged card
    changed TEXT NOT NULL,  -- JSON: field of the surviving card -> [before, after]
    card TEXT NOT NULL,  -- JSON: the merged card's row as it was
    moved TEXT NOT NULL,  -- JSON: orders, external studies, contradictions and passthrough attributes
    former_snils TEXT NOT NULL DEFAULT '',  -- a number of either card that is no longer in force
    former_policy TEXT NOT NULL DEFAULT '',
    undone_at TEXT,
    undone_by TEXT NOT NULL DEFAULT '',
    CHECK (surviving_id <> merged_id)
) STRICT;
CREATE UNIQUE INDEX patient_merge_open ON patient_merge (merged_id) WHERE undone_at IS NULL;
CREATE INDEX patient_merge_surviving ON patient_merge (surviving_id);
CREATE INDEX patient_merge_snils ON patient_merge (former_snils) WHERE undone_at IS NULL AND former_snils <> '';
CREATE INDEX patient_merge_policy ON patient_merge (former_policy) WHERE undone_at IS NULL AND former_policy <> '';

CREATE TABLE patient_difference (  -- pairs of cards that a person has said are two people
    one_id INTEGER NOT NULL REFERENCES patient (id),
    other_id INTEGER NOT NULL REFERENCES patient (id),
    actor TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (one_id, other_id),
    CHECK (one_id < other_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX patient_difference_other ON patient_difference (other_id);
