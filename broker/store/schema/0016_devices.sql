-- Devices: whether they act for others, and more character sets that they are answered in.

ALTER TABLE device ADD COLUMN for_others INTEGER NOT NULL DEFAULT 0 CHECK (for_others IN (0, 1));
UPDATE device SET for_others = 1 WHERE approved = 1;  -- they could until now: nothing changes for them unasked

-- A CHECK cannot be changed, and the table cannot be made again: what refers to it would be deleted with it.
ALTER TABLE device ADD COLUMN answers_in TEXT NOT NULL DEFAULT 'auto' CHECK (
    answers_in IN ('auto', 'ISO_IR 192', 'ISO_IR 144', 'latin', 'ISO_IR 100', 'ISO_IR 101', 'ISO_IR 109', 'ISO_IR 126',
                   'ISO_IR 148', 'ISO 2022 IR 144', 'ISO 2022 IR 100', 'ISO 2022 IR 101', 'ISO 2022 IR 109',
                   'ISO 2022 IR 126', 'ISO 2022 IR 148'));
UPDATE device SET answers_in = charset;
ALTER TABLE device DROP COLUMN charset;
ALTER TABLE device RENAME COLUMN answers_in TO charset;
