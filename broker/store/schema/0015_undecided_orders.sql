-- Orders of which it was not known whose they are when two cards were taken apart: a person has to find out.

CREATE TABLE undecided_order (
    order_id INTEGER PRIMARY KEY REFERENCES orders (id),
    one_id INTEGER NOT NULL REFERENCES patient (id),  -- the card that the order stayed with
    other_id INTEGER NOT NULL REFERENCES patient (id),  -- the card that it may be of instead
    at TEXT NOT NULL,
    CHECK (one_id <> other_id)
) STRICT;
