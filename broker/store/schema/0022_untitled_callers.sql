-- Who called without an AE title by which it could be known: the last call from each address.
CREATE TABLE untitled_caller (
    address TEXT PRIMARY KEY,
    at TEXT NOT NULL,
    summary TEXT NOT NULL  -- as that of a device's contact that came to nothing
) STRICT, WITHOUT ROWID;
