"""The tables of the second migration: reports, what comes from elsewhere, directories, local clients."""

SQL = """
CREATE TABLE report (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    reading INTEGER NOT NULL DEFAULT 1 CHECK (reading > 0),
    state TEXT NOT NULL CHECK (state IN ('draft', 'signed')),
    description TEXT NOT NULL,
    conclusion TEXT NOT NULL,
    recommendations TEXT NOT NULL,
    effective_dose REAL CHECK (effective_dose >= 0),
    author TEXT NOT NULL,
    author_family TEXT NOT NULL,
    author_given TEXT NOT NULL,
    author_middle TEXT NOT NULL,
    author_snils TEXT NOT NULL DEFAULT '',
    author_position TEXT NOT NULL DEFAULT '',
    saved_at TEXT NOT NULL,
    signed_at TEXT,
    revision INTEGER NOT NULL DEFAULT 1,
    UNIQUE (order_id, reading)
) STRICT
;;
CREATE TRIGGER report_signed_stands BEFORE UPDATE ON report WHEN old.state = 'signed'
BEGIN SELECT RAISE(ABORT, 'a signed report stands'); END
;;
ALTER TABLE orders ADD COLUMN reported INTEGER NOT NULL DEFAULT 0 CHECK (reported IN (0, 1))
;;
CREATE INDEX orders_unreported ON orders (state_since, modality)
    WHERE state = 'completed' AND reported = 0 AND owner = ''
;;
CREATE TABLE incoming_referral (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    task TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'accepted', 'cancelled', 'declined', 'set_aside')),
    order_id INTEGER UNIQUE REFERENCES orders (id),
    content TEXT NOT NULL,
    problem TEXT NOT NULL DEFAULT '',
    received_at TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    UNIQUE (source, task)
) STRICT
;;
CREATE INDEX incoming_referral_open ON incoming_referral (received_at) WHERE state IN ('waiting', 'set_aside')
;;
CREATE TABLE incoming_item (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    reference TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('referral', 'cancel', 'result')),
    version TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('taken', 'failed', 'set_aside')),
    attempts INTEGER NOT NULL DEFAULT 1,
    reason TEXT NOT NULL DEFAULT '',
    order_id INTEGER REFERENCES orders (id),
    content BLOB,
    first_at TEXT NOT NULL,
    at TEXT NOT NULL,
    UNIQUE (source, reference, kind)
) STRICT
;;
CREATE INDEX incoming_item_at ON incoming_item (at)
;;
CREATE INDEX incoming_item_trouble ON incoming_item (at) WHERE state <> 'taken'
;;
CREATE INDEX incoming_item_cancelled ON incoming_item (order_id)
    WHERE kind = 'cancel' AND reason <> 'seen' AND order_id IS NOT NULL
;;
CREATE INDEX bus_reference_task ON bus_reference (value) WHERE name = 'task'
;;
CREATE TABLE bus_cursor (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT, WITHOUT ROWID
;;
CREATE TABLE foreign_study (
    reference TEXT NOT NULL,
    patient_id INTEGER NOT NULL REFERENCES patient (id),
    order_id INTEGER REFERENCES orders (id),
    studied_on TEXT NOT NULL,
    content TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (patient_id, reference)
) STRICT, WITHOUT ROWID
;;
CREATE INDEX foreign_study_patient ON foreign_study (patient_id, studied_on)
;;
CREATE INDEX orders_elsewhere ON orders (state_since) WHERE owner <> ''
;;
CREATE INDEX foreign_study_order ON foreign_study (order_id) WHERE order_id IS NOT NULL
;;
CREATE TABLE foreign_asked (
    patient_id INTEGER PRIMARY KEY REFERENCES patient (id),
    answered_at TEXT,
    failed_at TEXT,
    reason TEXT NOT NULL DEFAULT ''
) STRICT
;;
ALTER TABLE procedure_type ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0 CHECK (hidden IN (0, 1))
;;
CREATE TABLE directory (
    kind TEXT NOT NULL,
    code TEXT NOT NULL,
    name TEXT NOT NULL CHECK (name <> ''),
    name_key TEXT NOT NULL,
    details TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (kind, code)
) STRICT, WITHOUT ROWID
;;
CREATE INDEX directory_name ON directory (kind, name_key)
;;
CREATE TABLE directory_import (
    kind TEXT PRIMARY KEY,
    system TEXT NOT NULL,
    version TEXT NOT NULL,
    file TEXT NOT NULL,
    entries INTEGER NOT NULL,
    at TEXT NOT NULL
) STRICT, WITHOUT ROWID
;;
CREATE TABLE client (
    name TEXT PRIMARY KEY,
    token TEXT NOT NULL UNIQUE,
    organisation TEXT NOT NULL DEFAULT '',
    send_to_bus INTEGER NOT NULL DEFAULT 0 CHECK (send_to_bus IN (0, 1)),
    created_at TEXT NOT NULL,
    disabled INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    heard_at TEXT
) STRICT, WITHOUT ROWID
;;
CREATE TABLE client_resource (
    client TEXT NOT NULL REFERENCES client (name),
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    content TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (client, kind, id)
) STRICT, WITHOUT ROWID
;;
CREATE TABLE client_key (
    client TEXT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (client, kind, key, id),
    FOREIGN KEY (client, kind, id) REFERENCES client_resource (client, kind, id)
) STRICT, WITHOUT ROWID
;;
CREATE INDEX client_key_resource ON client_key (client, kind, id)
"""
