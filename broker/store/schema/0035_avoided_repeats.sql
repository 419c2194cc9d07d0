-- Studies that were not ordered, because an earlier one was shown; whom it was about is in the audit trail only.
CREATE TABLE avoided_repeat (
    submission_id TEXT PRIMARY KEY,  -- of the form; an order that has it was written after all
    at TEXT NOT NULL,
    modality TEXT NOT NULL,
    effective_dose REAL CHECK (effective_dose >= 0)  -- mSv, of the earlier study; NULL: not known
) STRICT, WITHOUT ROWID;
CREATE INDEX avoided_repeat_at ON avoided_repeat (at);
