-- Patients are searched by every word of their names and by the year of birth: FTS5 with an index of beginnings, so that
-- no search looks at more rows than it shows. `name_key` is folded by the program, the same way as what is searched for.

CREATE VIEW patient_words AS SELECT id, name_key || ' ' || substr(birth_date, 1, 4) AS words FROM patient;

CREATE VIRTUAL TABLE patient_search USING fts5 (
    words, content = 'patient_words', content_rowid = 'id', detail = none, columnsize = 0,
    prefix = '1 2 3 4 5 6 7 8', tokenize = 'unicode61 remove_diacritics 0'
);
INSERT INTO patient_search (patient_search) VALUES ('rebuild');

CREATE TRIGGER patient_search_insert AFTER INSERT ON patient
BEGIN
    INSERT INTO patient_search (rowid, words) VALUES (new.id, new.name_key || ' ' || substr(new.birth_date, 1, 4));
END;
CREATE TRIGGER patient_search_update AFTER UPDATE OF name_key, birth_date ON patient
BEGIN
    INSERT INTO patient_search (patient_search, rowid, words)
        VALUES ('delete', old.id, old.name_key || ' ' || substr(old.birth_date, 1, 4));
    INSERT INTO patient_search (rowid, words) VALUES (new.id, new.name_key || ' ' || substr(new.birth_date, 1, 4));
END;
CREATE TRIGGER patient_search_delete AFTER DELETE ON patient
BEGIN
    INSERT INTO patient_search (patient_search, rowid, words)
        VALUES ('delete', old.id, old.name_key || ' ' || substr(old.birth_date, 1, 4));
END;

DROP INDEX patient_given;  -- the given name is one of the words

-- Numbers as they are typed: without dashes and blanks, in either case.
CREATE INDEX patient_card ON patient (replace(replace(upper(patient_id), '-', ''), ' ', ''));
CREATE INDEX patient_phone ON patient (substr(replace(replace(replace(replace(replace(replace(
    phone, ' ', ''), '-', ''), '(', ''), ')', ''), '+', ''), '.', ''), -10)) WHERE phone <> '';
CREATE INDEX orders_accession ON orders (replace(replace(upper(accession_number), '-', ''), ' ', ''));
CREATE INDEX orders_bus_accession ON orders (replace(replace(upper(bus_accession_number), '-', ''), ' ', ''));
