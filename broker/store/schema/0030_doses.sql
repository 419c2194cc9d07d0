-- Of which orders an object is not, as a person or its device has said: it is not joined with them by itself again.
CREATE TABLE received_object_unlinked (
    received_id INTEGER NOT NULL REFERENCES received_object (id) ON DELETE CASCADE,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    PRIMARY KEY (received_id, order_id)
) STRICT, WITHOUT ROWID;

-- How an event was made: which rows of the table of coefficients fit depends on it.
ALTER TABLE dose_event ADD COLUMN views TEXT NOT NULL DEFAULT '';  -- names of its view and protocol, a line each
ALTER TABLE dose_event ADD COLUMN kv_from REAL;  -- of its pulses, kV
ALTER TABLE dose_event ADD COLUMN kv_to REAL;

-- Effective doses that people typed beside a report. The newest of an order counts; the others are kept.
CREATE TABLE typed_dose (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    millisieverts REAL CHECK (millisieverts >= 0),  -- NULL: what was typed before counts no more
    typed_by TEXT NOT NULL,
    typed_at TEXT NOT NULL
) STRICT;
CREATE INDEX typed_dose_order ON typed_dose (order_id, id);

-- What is known of procedures for the account of doses. Apart from `procedure_type`, which imports replace.
CREATE TABLE dose_procedure (
    code TEXT PRIMARY KEY,
    prophylactic INTEGER NOT NULL DEFAULT 0 CHECK (prophylactic IN (0, 1)),
    form_row TEXT NOT NULL DEFAULT ''  -- of the form 3-ДОЗ, as the administrator names it
) STRICT, WITHOUT ROWID;
