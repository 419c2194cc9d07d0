-- What the region was last sent of the patients under whom it has our orders.

CREATE TABLE region_patient (
    order_id INTEGER PRIMARY KEY REFERENCES orders (id),
    bus_id TEXT NOT NULL,  -- of the Patient there; '' where a person has confirmed the data of this order alone
    family TEXT NOT NULL,
    given TEXT NOT NULL,
    middle TEXT NOT NULL,
    birth_date TEXT NOT NULL,  -- ISO date, or ''
    sex TEXT NOT NULL CHECK (sex IN ('M', 'F', 'O')),
    snils TEXT NOT NULL,
    policy TEXT NOT NULL
) STRICT;
CREATE INDEX region_patient_bus ON region_patient (bus_id) WHERE bus_id <> '';
