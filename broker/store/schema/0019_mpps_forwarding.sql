-- How far the messages of modalities (performed_step_message) have been forwarded to each configured node.
CREATE TABLE mpps_node (
    ae_title TEXT PRIMARY KEY CHECK (length(ae_title) BETWEEN 1 AND 16),
    message_id INTEGER NOT NULL,  -- the newest message that needs no more sending
    sending_id INTEGER,  -- the message after it that may have been sent already; NULL: not tried yet
    attempts INTEGER NOT NULL DEFAULT 0,  -- of the message that is next, in vain
    problem TEXT NOT NULL DEFAULT '',  -- why the last attempt was in vain
    at TEXT NOT NULL  -- of the last attempt or success
) STRICT, WITHOUT ROWID;
