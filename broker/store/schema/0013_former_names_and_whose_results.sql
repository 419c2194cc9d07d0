-- Names that cards had before: of the cards that were merged into others, and of those that corrections have changed.

CREATE TABLE patient_former_name (
    id INTEGER PRIMARY KEY,
    patient_id INTEGER NOT NULL REFERENCES patient (id),  -- the card that bore it; a merged one leads to another
    family TEXT NOT NULL,
    given TEXT NOT NULL,
    middle TEXT NOT NULL,
    name_key TEXT NOT NULL CHECK (name_key <> ''),  -- folded
    same_person INTEGER NOT NULL CHECK (same_person IN (0, 1)),  -- 0: by the correction it became another person's
    at TEXT NOT NULL,
    UNIQUE (patient_id, name_key)
) STRICT;

INSERT INTO patient_former_name (patient_id, family, given, middle, name_key, same_person, at)
    SELECT id, family, given, middle, name_key, 1, changed_at FROM patient
    WHERE merged_into IS NOT NULL AND name_key <> '';

CREATE VIRTUAL TABLE patient_former_search USING fts5 (
    name_key, content = 'patient_former_name', content_rowid = 'id', detail = none, columnsize = 0,
    prefix = '1 2 3 4 5 6 7 8', tokenize = 'unicode61 remove_diacritics 0'
);
INSERT INTO patient_former_search (patient_former_search) VALUES ('rebuild');

CREATE TRIGGER patient_former_search_insert AFTER INSERT ON patient_former_name
BEGIN
    INSERT INTO patient_former_search (rowid, name_key) VALUES (new.id, new.name_key);
END;
CREATE TRIGGER patient_former_search_update AFTER UPDATE OF name_key ON patient_former_name
BEGIN
    INSERT INTO patient_former_search (patient_former_search, rowid, name_key) VALUES ('delete', old.id, old.name_key);
    INSERT INTO patient_former_search (rowid, name_key) VALUES (new.id, new.name_key);
END;
CREATE TRIGGER patient_former_search_delete AFTER DELETE ON patient_former_name
BEGIN
    INSERT INTO patient_former_search (patient_former_search, rowid, name_key) VALUES ('delete', old.id, old.name_key);
END;

-- Of whom a result of another clinic is that was set aside, and what a person has confirmed of them.
ALTER TABLE incoming_item ADD COLUMN about TEXT NOT NULL DEFAULT '';  -- JSON: the patient as the result names them
ALTER TABLE incoming_item ADD COLUMN confirmed TEXT NOT NULL DEFAULT '';  -- JSON: the fields that differ nevertheless
