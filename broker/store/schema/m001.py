"""The tables of the first migration: what happens within the clinic, and what the bus is told."""

SQL = """
CREATE TABLE counter (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID
;;
CREATE TABLE patient (
    id INTEGER PRIMARY KEY,
    patient_id TEXT NOT NULL UNIQUE CHECK (length(patient_id) BETWEEN 1 AND 64),
    family TEXT NOT NULL CHECK (family <> ''),
    given TEXT NOT NULL,
    middle TEXT NOT NULL,
    name_key TEXT NOT NULL,
    given_key TEXT NOT NULL,
    birth_date TEXT NOT NULL
        CHECK (birth_date = '' OR birth_date GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]'),
    sex TEXT NOT NULL CHECK (sex IN ('M', 'F', 'O')),
    snils TEXT UNIQUE CHECK (length(snils) = 11),
    policy TEXT UNIQUE CHECK (length(policy) = 16),
    phone TEXT NOT NULL DEFAULT '',
    weight REAL CHECK (weight > 0),
    height REAL CHECK (height > 0),
    allergies TEXT NOT NULL DEFAULT '',
    pregnancy TEXT NOT NULL DEFAULT '',
    revision INTEGER NOT NULL DEFAULT 1,
    changed_at TEXT NOT NULL
) STRICT
;;
CREATE INDEX patient_name ON patient (name_key)
;;
CREATE INDEX patient_given ON patient (given_key)
;;
CREATE INDEX patient_birth_date ON patient (birth_date)
;;
CREATE TABLE procedure_type (
    code TEXT PRIMARY KEY,
    name TEXT NOT NULL CHECK (name <> ''),
    modality TEXT NOT NULL,
    minutes INTEGER NOT NULL CHECK (minutes > 0),
    local INTEGER NOT NULL CHECK (local IN (0, 1)),
    body_site TEXT NOT NULL DEFAULT '',
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID
;;
CREATE TABLE device (
    ae_title TEXT PRIMARY KEY CHECK (length(ae_title) BETWEEN 1 AND 16),
    name TEXT NOT NULL,
    modality TEXT NOT NULL,
    room TEXT NOT NULL DEFAULT '',
    address TEXT NOT NULL DEFAULT '',
    charset TEXT NOT NULL DEFAULT 'auto' CHECK (charset IN ('auto', 'ISO_IR 192', 'ISO_IR 144', 'latin')),
    approved INTEGER NOT NULL CHECK (approved IN (0, 1)),
    fallback_charset TEXT NOT NULL DEFAULT 'ISO_IR 144',
    longest INTEGER NOT NULL DEFAULT 64 CHECK (longest BETWEEN 8 AND 64),
    own_only INTEGER NOT NULL DEFAULT 1 CHECK (own_only IN (0, 1)),
    days_before INTEGER NOT NULL DEFAULT 1 CHECK (days_before >= 0),
    days_after INTEGER NOT NULL DEFAULT 30 CHECK (days_after >= 0),
    closed_hours INTEGER NOT NULL DEFAULT 0 CHECK (closed_hours >= 0),
    strict_mpps INTEGER NOT NULL DEFAULT 0 CHECK (strict_mpps IN (0, 1)),
    mpps_hours INTEGER NOT NULL DEFAULT 12 CHECK (mpps_hours > 0),
    created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID
;;
CREATE TABLE device_heard (
    ae_title TEXT NOT NULL REFERENCES device (ae_title) ON DELETE CASCADE,
    service TEXT NOT NULL,
    at TEXT NOT NULL,
    address TEXT NOT NULL,
    summary TEXT NOT NULL,
    PRIMARY KEY (ae_title, service)
) STRICT, WITHOUT ROWID
;;
CREATE TABLE device_sample (
    ae_title TEXT NOT NULL REFERENCES device (ae_title) ON DELETE CASCADE,
    service TEXT NOT NULL CHECK (service IN ('worklist', 'N-CREATE', 'N-SET')),
    which TEXT NOT NULL CHECK (which IN ('first', 'latest')),
    attributes TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (ae_title, service, which)
) STRICT, WITHOUT ROWID
;;
CREATE TABLE device_note (
    ae_title TEXT NOT NULL REFERENCES device (ae_title) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    count INTEGER NOT NULL DEFAULT 1,
    at TEXT NOT NULL,
    PRIMARY KEY (ae_title, kind)
) STRICT, WITHOUT ROWID
;;
CREATE TABLE orders (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    accession_number TEXT NOT NULL UNIQUE CHECK (length(accession_number) BETWEEN 1 AND 16),
    study_instance_uid TEXT NOT NULL UNIQUE CHECK (length(study_instance_uid) BETWEEN 1 AND 64),
    requested_procedure_id TEXT NOT NULL UNIQUE CHECK (length(requested_procedure_id) BETWEEN 1 AND 16),
    patient_id INTEGER NOT NULL REFERENCES patient (id),
    state TEXT NOT NULL CHECK (
        state IN ('scheduled', 'in_progress', 'completed', 'discontinued', 'cancelled', 'referred')),
    state_since TEXT NOT NULL,
    procedure_code TEXT NOT NULL,
    procedure_name TEXT NOT NULL,
    procedure_local INTEGER NOT NULL CHECK (procedure_local IN (0, 1)),
    modality TEXT NOT NULL,
    body_site TEXT NOT NULL DEFAULT '',
    laterality TEXT NOT NULL DEFAULT '' CHECK (laterality IN ('', 'R', 'L', 'B')),
    priority TEXT NOT NULL CHECK (priority IN ('routine', 'urgent')),
    finance TEXT NOT NULL,
    referrer_family TEXT NOT NULL DEFAULT '',
    referrer_given TEXT NOT NULL DEFAULT '',
    referrer_middle TEXT NOT NULL DEFAULT '',
    referrer_snils TEXT NOT NULL DEFAULT '',
    referrer_position TEXT NOT NULL DEFAULT '',
    diagnosis_code TEXT NOT NULL DEFAULT '',
    diagnosis_text TEXT NOT NULL DEFAULT '',
    comment TEXT NOT NULL DEFAULT '',
    authored_on TEXT NOT NULL,
    created_by TEXT NOT NULL,
    submission_id TEXT UNIQUE,
    submission_digest TEXT NOT NULL DEFAULT '',
    attributes TEXT NOT NULL DEFAULT '',
    bus_role TEXT NOT NULL DEFAULT '' CHECK (bus_role IN ('', 'placer', 'performer', 'walk_in')),
    requester TEXT NOT NULL DEFAULT '',
    owner TEXT NOT NULL DEFAULT '',
    bus_accession_number TEXT UNIQUE CHECK (length(bus_accession_number) BETWEEN 1 AND 16),
    revision INTEGER NOT NULL DEFAULT 1
) STRICT
;;
CREATE INDEX orders_referred ON orders (id) WHERE state = 'referred'
;;
CREATE INDEX orders_patient ON orders (patient_id)
;;
CREATE TABLE scheduled_step (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    sps_id TEXT NOT NULL UNIQUE CHECK (length(sps_id) BETWEEN 1 AND 16),
    start TEXT NOT NULL CHECK (length(start) = 19),
    state TEXT NOT NULL CHECK (state IN ('SCHEDULED', 'STARTED', 'COMPLETED', 'DISCONTINUED', 'CANCELLED', 'REFERRED')),
    state_since TEXT NOT NULL
) STRICT
;;
CREATE INDEX scheduled_step_order ON scheduled_step (order_id)
;;
CREATE INDEX scheduled_step_start ON scheduled_step (start)
;;
CREATE INDEX scheduled_step_open ON scheduled_step (start) WHERE state IN ('SCHEDULED', 'STARTED')
;;
CREATE INDEX scheduled_step_closed ON scheduled_step (state_since) WHERE state = 'COMPLETED'
;;
CREATE TABLE scheduled_step_station (
    step_id INTEGER NOT NULL REFERENCES scheduled_step (id) ON DELETE CASCADE,
    ae_title TEXT NOT NULL CHECK (length(ae_title) BETWEEN 1 AND 16),
    position INTEGER NOT NULL,
    PRIMARY KEY (step_id, ae_title)
) STRICT, WITHOUT ROWID
;;
CREATE INDEX scheduled_step_station_ae_title ON scheduled_step_station (ae_title)
;;
CREATE TABLE worklist_delivery (
    step_id INTEGER NOT NULL REFERENCES scheduled_step (id) ON DELETE CASCADE,
    ae_title TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (step_id, ae_title)
) STRICT, WITHOUT ROWID
;;
CREATE TABLE performed_step (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sop_instance_uid TEXT NOT NULL UNIQUE,
    ae_title TEXT NOT NULL,
    station_ae_title TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('IN PROGRESS', 'COMPLETED', 'DISCONTINUED')),
    start TEXT NOT NULL,
    "end" TEXT NOT NULL DEFAULT '',
    performed_step_id TEXT NOT NULL,
    modality TEXT NOT NULL,
    patient_name TEXT NOT NULL,
    patient_id TEXT NOT NULL,
    operator TEXT NOT NULL DEFAULT '',
    discontinuation_code TEXT NOT NULL DEFAULT '',
    discontinuation_meaning TEXT NOT NULL DEFAULT '',
    images INTEGER NOT NULL DEFAULT 0,
    provisional INTEGER NOT NULL DEFAULT 0 CHECK (provisional IN (0, 1)),
    by_hand INTEGER NOT NULL DEFAULT 0 CHECK (by_hand IN (0, 1)),
    in_archive INTEGER NOT NULL DEFAULT 0 CHECK (in_archive IN (0, 1)),
    attributes TEXT NOT NULL,
    created_at TEXT NOT NULL,
    changed_at TEXT NOT NULL
) STRICT
;;
CREATE INDEX performed_step_created_at ON performed_step (created_at)
;;
CREATE INDEX performed_step_running ON performed_step (id) WHERE state = 'IN PROGRESS'
;;
CREATE TABLE performed_series (
    performed_step_id INTEGER NOT NULL REFERENCES performed_step (id) ON DELETE CASCADE,
    series_instance_uid TEXT NOT NULL,
    description TEXT NOT NULL,
    protocol TEXT NOT NULL,
    operator TEXT NOT NULL,
    images INTEGER NOT NULL,
    PRIMARY KEY (performed_step_id, series_instance_uid)
) STRICT, WITHOUT ROWID
;;
CREATE TABLE performed_dose (
    performed_step_id INTEGER NOT NULL REFERENCES performed_step (id) ON DELETE CASCADE,
    keyword TEXT NOT NULL,
    position INTEGER NOT NULL,
    value REAL NOT NULL,
    unit TEXT NOT NULL,
    PRIMARY KEY (performed_step_id, keyword, position)
) STRICT, WITHOUT ROWID
;;
CREATE TABLE worklist_file (
    path TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    order_id INTEGER REFERENCES orders (id),
    problem TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL DEFAULT 'present' CHECK (state IN ('present', 'gone', 'withdrawn')),
    at TEXT NOT NULL
) STRICT, WITHOUT ROWID
;;
CREATE INDEX worklist_file_order ON worklist_file (order_id)
;;
CREATE TABLE performed_step_link (
    performed_step_id INTEGER NOT NULL REFERENCES performed_step (id),
    scheduled_step_id INTEGER NOT NULL REFERENCES scheduled_step (id),
    linked_by TEXT NOT NULL,
    conflict TEXT NOT NULL DEFAULT '',
    at TEXT NOT NULL,
    PRIMARY KEY (performed_step_id, scheduled_step_id)
) STRICT, WITHOUT ROWID
;;
CREATE INDEX performed_step_link_scheduled ON performed_step_link (scheduled_step_id)
;;
CREATE INDEX performed_step_link_conflict ON performed_step_link (performed_step_id) WHERE conflict <> ''
;;
CREATE TABLE performed_step_message (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sop_instance_uid TEXT NOT NULL,
    operation TEXT NOT NULL CHECK (operation IN ('N-CREATE', 'N-SET')),
    ae_title TEXT NOT NULL,
    outcome TEXT NOT NULL,
    digest TEXT NOT NULL,
    attributes TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT
;;
CREATE INDEX performed_step_message_uid ON performed_step_message (sop_instance_uid)
;;
CREATE INDEX performed_step_message_stray ON performed_step_message (at) WHERE outcome IN ('unknown', 'refused')
;;
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    kind TEXT NOT NULL CHECK (kind IN ('order', 'amend', 'cancel', 'started', 'images', 'report')),
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'needs_attention', 'dropped', 'unsupported')),
    uncertain INTEGER NOT NULL DEFAULT 0 CHECK (uncertain IN (0, 1)),
    attempts INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    delivered_at TEXT,
    sent BLOB
) STRICT
;;
CREATE INDEX outbox_open ON outbox (order_id, seq) WHERE state IN ('pending', 'needs_attention')
;;
CREATE INDEX outbox_order ON outbox (order_id, seq)
;;
CREATE TABLE outbox_attempt (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    seq INTEGER NOT NULL REFERENCES outbox (seq),
    at TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    answer TEXT NOT NULL
) STRICT
;;
CREATE INDEX outbox_attempt_seq ON outbox_attempt (seq)
;;
CREATE TABLE bus_reference (
    order_id INTEGER NOT NULL REFERENCES orders (id),
    name TEXT NOT NULL,
    value TEXT NOT NULL CHECK (value <> ''),
    PRIMARY KEY (order_id, name)
) STRICT, WITHOUT ROWID
;;
CREATE TABLE bus_channel (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    state TEXT NOT NULL CHECK (state IN ('ok', 'waiting', 'paused')),
    reason TEXT NOT NULL,
    since TEXT NOT NULL,
    retry_at TEXT,
    answered_at TEXT
) STRICT
;;
CREATE TABLE account (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    login TEXT NOT NULL UNIQUE CHECK (login <> ''),
    full_name TEXT NOT NULL,
    roles TEXT NOT NULL,
    snils TEXT NOT NULL DEFAULT '' CHECK (snils = '' OR length(snils) = 11),
    position TEXT NOT NULL DEFAULT '',
    password TEXT NOT NULL,
    disabled INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    created_at TEXT NOT NULL
) STRICT
;;
CREATE TABLE session (
    token TEXT PRIMARY KEY,
    account_id INTEGER NOT NULL REFERENCES account (id),
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    address TEXT NOT NULL
) STRICT, WITHOUT ROWID
;;
CREATE TABLE draft (
    account_id INTEGER NOT NULL REFERENCES account (id),
    form TEXT NOT NULL,
    content TEXT NOT NULL,
    saved_at TEXT NOT NULL,
    PRIMARY KEY (account_id, form)
) STRICT, WITHOUT ROWID
;;
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    actor_title TEXT NOT NULL,
    action TEXT NOT NULL,
    order_id INTEGER,
    details TEXT NOT NULL
) STRICT
;;
CREATE INDEX audit_order ON audit (order_id, seq)
;;
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail only grows'); END
;;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail only grows'); END
"""
