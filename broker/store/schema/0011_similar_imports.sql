-- Cards that imports made although a card was there that may be the same person's.

CREATE TABLE similar_import (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    patient_id INTEGER NOT NULL REFERENCES patient (id),  -- the card that an import made, or gave a name
    other_id INTEGER NOT NULL REFERENCES patient (id),  -- the card that was there
    source TEXT NOT NULL CHECK (source IN ('worklist_file', 'table', 'json')),
    path TEXT NOT NULL,
    row INTEGER NOT NULL,  -- of the table or the JSON; 0: a worklist file
    at TEXT NOT NULL,
    settled_at TEXT,  -- one of the cards is merged, or a person has said that they are two people's
    UNIQUE (patient_id, other_id)
) STRICT;
CREATE INDEX similar_import_open ON similar_import (id) WHERE settled_at IS NULL;
CREATE INDEX similar_import_other ON similar_import (other_id);
