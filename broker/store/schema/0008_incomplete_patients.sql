-- Patients of whom only the year of birth is known, and newborns who are registered by their mothers.

ALTER TABLE patient ADD COLUMN birth_year INTEGER CHECK (birth_year BETWEEN 1800 AND 9999);  -- NULL beside a birth date
ALTER TABLE patient ADD COLUMN mother TEXT NOT NULL DEFAULT '';

-- They are found by the year alone as by the year of a birth date. Nothing that is indexed changes: nobody has such a
-- year yet.
DROP TRIGGER patient_search_insert;
DROP TRIGGER patient_search_update;
DROP TRIGGER patient_search_delete;
DROP VIEW patient_words;

CREATE VIEW patient_words AS
    SELECT id, name_key || ' ' || coalesce(birth_year, substr(birth_date, 1, 4)) AS words FROM patient;

CREATE TRIGGER patient_search_insert AFTER INSERT ON patient
BEGIN
    INSERT INTO patient_search (rowid, words)
        VALUES (new.id, new.name_key || ' ' || coalesce(new.birth_year, substr(new.birth_date, 1, 4)));
END;
CREATE TRIGGER patient_search_update AFTER UPDATE OF name_key, birth_date, birth_year ON patient
BEGIN
    INSERT INTO patient_search (patient_search, rowid, words)
        VALUES ('delete', old.id, old.name_key || ' ' || coalesce(old.birth_year, substr(old.birth_date, 1, 4)));
    INSERT INTO patient_search (rowid, words)
        VALUES (new.id, new.name_key || ' ' || coalesce(new.birth_year, substr(new.birth_date, 1, 4)));
END;
CREATE TRIGGER patient_search_delete AFTER DELETE ON patient
BEGIN
    INSERT INTO patient_search (patient_search, rowid, words)
        VALUES ('delete', old.id, old.name_key || ' ' || coalesce(old.birth_year, substr(old.birth_date, 1, 4)));
END;
