-- In what the programs that use our own /fhir deviate from the profile, where they are understood nevertheless.
CREATE TABLE client_deviation (
    client TEXT NOT NULL REFERENCES client (name),
    what TEXT NOT NULL CHECK (length(what) BETWEEN 1 AND 200),  -- in Russian, for people
    times INTEGER NOT NULL CHECK (times > 0),
    last_at TEXT NOT NULL,
    PRIMARY KEY (client, what)
) STRICT;
