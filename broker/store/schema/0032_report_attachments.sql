-- Documents that doctors have signed by tools of their own, and the detached signature files, as they came.
CREATE TABLE report_attachment (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    version INTEGER NOT NULL CHECK (version >= 1),  -- of the report; a correction leaves it where it is
    signs INTEGER REFERENCES report_attachment (id),  -- of a signature file: the document that it signs
    kind TEXT NOT NULL CHECK (kind IN ('pdf', 'xml', 'signature')),
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 128),
    content BLOB NOT NULL,
    digest TEXT NOT NULL CHECK (length(digest) = 64),  -- SHA-256
    attached_by TEXT NOT NULL,  -- login
    attached_by_title TEXT NOT NULL,
    attached_at TEXT NOT NULL,
    CHECK ((kind = 'signature') = (signs IS NOT NULL))
) STRICT;
CREATE INDEX report_attachment_order ON report_attachment (order_id);
CREATE TRIGGER report_attachment_is_final BEFORE UPDATE ON report_attachment
BEGIN SELECT RAISE(ABORT, 'what is attached to a signed report is final'); END;
CREATE TRIGGER report_attachment_stays BEFORE DELETE ON report_attachment
BEGIN SELECT RAISE(ABORT, 'what is attached to a signed report is final'); END;
