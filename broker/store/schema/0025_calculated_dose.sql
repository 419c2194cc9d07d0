-- The effective dose of an order, calculated from what its devices state and a coefficient of the administrator's.
CREATE TABLE calculated_dose (
    order_id INTEGER PRIMARY KEY REFERENCES orders (id),
    millisieverts REAL NOT NULL CHECK (millisieverts >= 0),
    quantity TEXT NOT NULL,  -- what was measured; 'fixed': a value for the procedure
    amount REAL,  -- in the unit of that quantity; NULL of a fixed value
    coefficient REAL NOT NULL,
    unit TEXT NOT NULL,  -- of the coefficient, as the administrator wrote it
    row_code TEXT NOT NULL,  -- of the row in the directory, as it was then
    source TEXT NOT NULL,
    calculated_at TEXT NOT NULL
) STRICT;
