BEGIN TRANSACTION;
CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
INSERT INTO "_sqlite_migrations" VALUES(1,'worklist-broker','0001_initial','2026-12-01 11:02:02.112670+00:00');
INSERT INTO "_sqlite_migrations" VALUES(2,'worklist-broker','0002_archive','2026-12-01 11:02:02.123052+00:00');
INSERT INTO "_sqlite_migrations" VALUES(3,'worklist-broker','0003_patient_merge','2026-12-01 11:02:02.127805+00:00');
INSERT INTO "_sqlite_migrations" VALUES(4,'worklist-broker','0004_search','2026-12-01 11:02:02.131235+00:00');
INSERT INTO "_sqlite_migrations" VALUES(5,'worklist-broker','0005_archive_evidence','2026-12-01 11:02:02.143957+00:00');
INSERT INTO "_sqlite_migrations" VALUES(6,'worklist-broker','0006_outbox_subject','2026-12-01 11:02:02.165470+00:00');
INSERT INTO "_sqlite_migrations" VALUES(7,'worklist-broker','0007_imports_and_cards','2026-12-01 11:02:02.173213+00:00');
INSERT INTO "_sqlite_migrations" VALUES(8,'worklist-broker','0008_incomplete_patients','2026-12-01 11:02:02.185060+00:00');
INSERT INTO "_sqlite_migrations" VALUES(9,'worklist-broker','0009_unlinked','2026-12-01 11:02:02.194916+00:00');
INSERT INTO "_sqlite_migrations" VALUES(10,'worklist-broker','0010_region_patient','2026-12-01 11:02:02.213338+00:00');
INSERT INTO "_sqlite_migrations" VALUES(11,'worklist-broker','0011_similar_imports','2026-12-01 11:02:02.218635+00:00');
INSERT INTO "_sqlite_migrations" VALUES(12,'worklist-broker','0013_former_names_and_whose_results','2026-12-01 11:02:02.230816+00:00');
INSERT INTO "_sqlite_migrations" VALUES(13,'worklist-broker','0014_numbers_of_patients','2026-12-01 11:02:02.238564+00:00');
INSERT INTO "_sqlite_migrations" VALUES(14,'worklist-broker','0015_undecided_orders','2026-12-01 11:02:02.240960+00:00');
INSERT INTO "_sqlite_migrations" VALUES(15,'worklist-broker','0016_devices','2026-12-01 11:02:02.284851+00:00');
INSERT INTO "_sqlite_migrations" VALUES(16,'worklist-broker','0018_shared_accession_numbers','2026-12-01 11:02:02.299074+00:00');
INSERT INTO "_sqlite_migrations" VALUES(17,'worklist-broker','0019_mpps_forwarding','2026-12-01 11:02:02.309122+00:00');
INSERT INTO "_sqlite_migrations" VALUES(18,'worklist-broker','0020_report_versions','2026-12-01 11:02:02.326522+00:00');
INSERT INTO "_sqlite_migrations" VALUES(19,'worklist-broker','0021_fewer_images','2026-12-01 11:02:02.336410+00:00');
INSERT INTO "_sqlite_migrations" VALUES(20,'worklist-broker','0022_untitled_callers','2026-12-01 11:02:02.343237+00:00');
INSERT INTO "_sqlite_migrations" VALUES(21,'worklist-broker','0023_client_deviations','2026-12-01 11:02:02.352799+00:00');
INSERT INTO "_sqlite_migrations" VALUES(22,'worklist-broker','0024_received_objects','2026-12-01 11:02:02.362766+00:00');
INSERT INTO "_sqlite_migrations" VALUES(23,'worklist-broker','0025_calculated_dose','2026-12-01 11:02:02.370385+00:00');
INSERT INTO "_sqlite_migrations" VALUES(24,'worklist-broker','0026_reading','2026-12-01 11:02:02.374959+00:00');
INSERT INTO "_sqlite_migrations" VALUES(25,'worklist-broker','0027_archive_reports','2026-12-01 11:02:02.382388+00:00');
INSERT INTO "_sqlite_migrations" VALUES(26,'worklist-broker','0029_insurer','2026-12-01 11:02:02.387787+00:00');
INSERT INTO "_sqlite_migrations" VALUES(27,'worklist-broker','0030_doses','2026-12-01 11:02:02.406997+00:00');
INSERT INTO "_sqlite_migrations" VALUES(28,'worklist-broker','0032_report_attachments','2026-12-01 11:02:02.409814+00:00');
INSERT INTO "_sqlite_migrations" VALUES(29,'worklist-broker','0033_over_reads','2026-12-01 11:02:02.418863+00:00');
INSERT INTO "_sqlite_migrations" VALUES(30,'worklist-broker','0035_avoided_repeats','2026-12-01 11:02:02.426360+00:00');
INSERT INTO "_sqlite_migrations" VALUES(31,'worklist-broker','0036_report_form','2026-12-01 11:02:02.433554+00:00');
CREATE TABLE account (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    login TEXT NOT NULL UNIQUE CHECK (login <> ''),
    full_name TEXT NOT NULL,
    roles TEXT NOT NULL,
    snils TEXT NOT NULL DEFAULT '' CHECK (snils = '' OR length(snils) = 11),
    position TEXT NOT NULL DEFAULT '',
    password TEXT NOT NULL,  -- hash
    disabled INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    created_at TEXT NOT NULL
) STRICT;
INSERT INTO "account" VALUES(1,'orlova','Орлова Н. В.','registrar','','','hash',0,'2026-11-24T06:47:00+00:00');
CREATE TABLE archive_contact (  -- when it last answered
    id INTEGER PRIMARY KEY CHECK (id = 1),
    answered_at TEXT NOT NULL
) STRICT;
CREATE TABLE "archive_discrepancy" (  -- a study there that bears an order's UID or number and does not fit the order
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    kind TEXT NOT NULL CHECK (
        kind IN ('other_patient', 'several_patients', 'several_studies', 'other_number', 'other_uid', 'unlinked',
                 'own_uid', 'unreferred', 'older', 'unreadable')),
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'accepted', 'dismissed')),
    study_instance_uid TEXT NOT NULL CHECK (study_instance_uid <> ''),
    accession_number TEXT NOT NULL,
    patient_name TEXT NOT NULL,  -- PN, as the archive has it; so are the next three
    patient_id TEXT NOT NULL,
    birth_date TEXT NOT NULL,  -- DA
    patient_sex TEXT NOT NULL DEFAULT '',
    modality TEXT NOT NULL,
    start TEXT NOT NULL,  -- '': the archive does not say
    images INTEGER CHECK (images >= 0),  -- NULL: the archive does not say
    first_at TEXT NOT NULL,
    decided_at TEXT,
    decided_by TEXT NOT NULL DEFAULT '',
    UNIQUE (order_id, study_instance_uid, accession_number, patient_name, patient_id, birth_date)
) STRICT;
CREATE TABLE archive_report (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    version INTEGER NOT NULL CHECK (version >= 1),
    state TEXT NOT NULL CHECK (state IN ('pending', 'stored', 'needs_attention', 'dropped')),
    reason TEXT NOT NULL DEFAULT '',  -- why it waits, needs attention, or was dropped
    detail TEXT NOT NULL DEFAULT '',  -- the archive's status and words
    attempts INTEGER NOT NULL DEFAULT 0,  -- in vain, since it was queued or a person sent it again
    uncertain INTEGER NOT NULL DEFAULT 0 CHECK (uncertain IN (0, 1)),  -- it was sent, and no answer came
    next_at TEXT NOT NULL,  -- not tried before
    queued_at TEXT NOT NULL,  -- with the signature, or again by a person
    stored_at TEXT,
    UNIQUE (order_id, version)
) STRICT;
CREATE TABLE archive_study (  -- what it holds of an order, as far as that fits the order
    order_id INTEGER PRIMARY KEY REFERENCES orders (id),
    study_instance_uid TEXT NOT NULL DEFAULT '',  -- as it stands there; '': it holds nothing
    images INTEGER CHECK (images >= 0),  -- 0: none; NULL: it holds the study and does not say how many
    waived_by TEXT NOT NULL DEFAULT '',  -- who said that no images will come
    asked_at TEXT,  -- of the last answer that was written down
    changed_at TEXT NOT NULL
, difference_seen INTEGER, fewer_than INTEGER CHECK (fewer_than > 0)) STRICT;
CREATE TABLE archive_unreferred (  -- a study there of these days that bears no order's UID and no order's number
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'dismissed')),
    studied_on TEXT NOT NULL,  -- the date that was asked for
    study_instance_uid TEXT NOT NULL CHECK (study_instance_uid <> ''),
    accession_number TEXT NOT NULL,
    patient_name TEXT NOT NULL,  -- PN, as the archive has it; so are the next three
    patient_id TEXT NOT NULL,
    birth_date TEXT NOT NULL,  -- DA
    patient_sex TEXT NOT NULL,
    modality TEXT NOT NULL,
    start TEXT NOT NULL,
    images INTEGER CHECK (images >= 0),
    first_at TEXT NOT NULL,
    decided_at TEXT,
    decided_by TEXT NOT NULL DEFAULT '',
    UNIQUE (study_instance_uid, accession_number, patient_name, patient_id, birth_date)
) STRICT;
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    actor_title TEXT NOT NULL,
    action TEXT NOT NULL,
    order_id INTEGER,
    details TEXT NOT NULL  -- JSON
) STRICT;
INSERT INTO "audit" VALUES(1,'2026-11-24T06:47:00+00:00','person','orlova','Орлова Н. В.','register',1,'{"accession_number": "K2611-0001"}');
INSERT INTO "audit" VALUES(2,'2026-11-24T06:47:00+00:00','device','XRAY_14','Рентген, каб. 14','start',1,'{"sop_instance_uid": "1.2.3.4"}');
INSERT INTO "audit" VALUES(3,'2026-11-24T06:47:00+00:00','device','XRAY_14','Рентген, каб. 14','finish',1,'{"sop_instance_uid": "1.2.3.4", "state": "COMPLETED"}');
CREATE TABLE avoided_repeat (
    submission_id TEXT PRIMARY KEY,  -- of the form; an order that has it was written after all
    at TEXT NOT NULL,
    modality TEXT NOT NULL,
    effective_dose REAL CHECK (effective_dose >= 0)  -- mSv, of the earlier study; NULL: not known
) STRICT, WITHOUT ROWID;
CREATE TABLE bus_channel (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    state TEXT NOT NULL CHECK (state IN ('ok', 'waiting', 'paused')),
    reason TEXT NOT NULL,
    since TEXT NOT NULL,
    retry_at TEXT,
    answered_at TEXT
) STRICT;
CREATE TABLE bus_cursor (  -- how far each search has got
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE bus_reference (  -- ids that the bus gave to an order's resources
    order_id INTEGER NOT NULL REFERENCES orders (id),
    name TEXT NOT NULL,
    value TEXT NOT NULL CHECK (value <> ''),
    PRIMARY KEY (order_id, name)
) STRICT, WITHOUT ROWID;
INSERT INTO "bus_reference" VALUES(1,'task','t1');
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
CREATE TABLE client (
    name TEXT PRIMARY KEY,
    token TEXT NOT NULL UNIQUE,  -- hash
    organisation TEXT NOT NULL DEFAULT '',  -- GUID of whom it works for; '': this clinic
    send_to_bus INTEGER NOT NULL DEFAULT 0 CHECK (send_to_bus IN (0, 1)),
    created_at TEXT NOT NULL,
    disabled INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    last_contact_at TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE client_deviation (
    client TEXT NOT NULL REFERENCES client (name),
    what TEXT NOT NULL CHECK (length(what) BETWEEN 1 AND 200),  -- in Russian, for people
    times INTEGER NOT NULL CHECK (times > 0),
    last_at TEXT NOT NULL,
    PRIMARY KEY (client, what)
) STRICT;
CREATE TABLE client_key (  -- business identifiers under which a resource is found
    client TEXT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (client, kind, key, id),
    FOREIGN KEY (client, kind, id) REFERENCES client_resource (client, kind, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE client_resource (
    client TEXT NOT NULL REFERENCES client (name),
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    content TEXT NOT NULL,  -- FHIR JSON
    updated_at TEXT NOT NULL,
    PRIMARY KEY (client, kind, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE counter (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "counter" VALUES('accession K2611',1);
INSERT INTO "counter" VALUES('devices',3);
INSERT INTO "counter" VALUES('patient',1);
INSERT INTO "counter" VALUES('requested_procedure',1);
INSERT INTO "counter" VALUES('revision',8);
INSERT INTO "counter" VALUES('scheduled_procedure_step',1);
CREATE TABLE device (
    ae_title TEXT PRIMARY KEY CHECK (length(ae_title) BETWEEN 1 AND 16),
    name TEXT NOT NULL,
    modality TEXT NOT NULL,
    room TEXT NOT NULL DEFAULT '',
    address TEXT NOT NULL DEFAULT '',
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
, own_study_uids INTEGER NOT NULL DEFAULT 0 CHECK (own_study_uids IN (0, 1)), for_others INTEGER NOT NULL DEFAULT 0 CHECK (for_others IN (0, 1)), charset TEXT NOT NULL DEFAULT 'auto' CHECK (
    charset IN ('auto', 'ISO_IR 192', 'ISO_IR 144', 'latin', 'ISO_IR 100', 'ISO_IR 101', 'ISO_IR 109', 'ISO_IR 126',
                   'ISO_IR 148', 'ISO 2022 IR 144', 'ISO 2022 IR 100', 'ISO 2022 IR 101', 'ISO 2022 IR 109',
                   'ISO 2022 IR 126', 'ISO 2022 IR 148'))) STRICT, WITHOUT ROWID;
INSERT INTO "device" VALUES('FLG_12','Флюорограф','DX','каб. 12','',1,'ISO_IR 144',64,1,1,30,0,0,12,'2026-11-24T06:47:00+00:00',0,0,'ISO_IR 144');
INSERT INTO "device" VALUES('MAMMO_9','Маммограф','MG','каб. 9','',1,'ISO_IR 144',64,1,1,30,0,0,12,'2026-11-24T06:47:00+00:00',0,0,'auto');
INSERT INTO "device" VALUES('XRAY_14','Рентген','DX','каб. 14','',1,'ISO_IR 144',64,1,1,30,0,0,12,'2026-11-24T06:47:00+00:00',0,0,'auto');
CREATE TABLE device_contact (  -- the last one on each service
    ae_title TEXT NOT NULL REFERENCES device (ae_title) ON DELETE CASCADE,
    service TEXT NOT NULL,
    at TEXT NOT NULL,
    address TEXT NOT NULL,
    summary TEXT NOT NULL,
    PRIMARY KEY (ae_title, service)
) STRICT, WITHOUT ROWID;
CREATE TABLE device_note (  -- for people to read, one a kind
    ae_title TEXT NOT NULL REFERENCES device (ae_title) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    count INTEGER NOT NULL DEFAULT 1,
    at TEXT NOT NULL,
    PRIMARY KEY (ae_title, kind)
) STRICT, WITHOUT ROWID;
CREATE TABLE device_sample (  -- what it sent, without any patient's data
    ae_title TEXT NOT NULL REFERENCES device (ae_title) ON DELETE CASCADE,
    service TEXT NOT NULL CHECK (service IN ('worklist', 'N-CREATE', 'N-SET')),
    which TEXT NOT NULL CHECK (which IN ('first', 'latest')),
    attributes TEXT NOT NULL,  -- DICOM JSON
    at TEXT NOT NULL,
    PRIMARY KEY (ae_title, service, which)
) STRICT, WITHOUT ROWID;
CREATE TABLE directory (
    kind TEXT NOT NULL,
    code TEXT NOT NULL,
    name TEXT NOT NULL CHECK (name <> ''),
    name_key TEXT NOT NULL,
    details TEXT NOT NULL DEFAULT '{}',  -- JSON: texts by name
    PRIMARY KEY (kind, code)
) STRICT, WITHOUT ROWID;
CREATE TABLE directory_import (
    kind TEXT PRIMARY KEY,
    system TEXT NOT NULL,  -- OID
    version TEXT NOT NULL,
    file TEXT NOT NULL,
    entries INTEGER NOT NULL,
    at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE dose_event (  -- the irradiation events of a dose report
    received_id INTEGER NOT NULL REFERENCES received_object (id) ON DELETE CASCADE,
    uid TEXT NOT NULL, views TEXT NOT NULL DEFAULT '', kv_from REAL, kv_to REAL,
    PRIMARY KEY (received_id, uid)
) STRICT, WITHOUT ROWID;
CREATE TABLE dose_procedure (
    code TEXT PRIMARY KEY,
    prophylactic INTEGER NOT NULL DEFAULT 0 CHECK (prophylactic IN (0, 1)),
    form_row TEXT NOT NULL DEFAULT ''  -- of the form 3-ДОЗ, as the administrator names it
) STRICT, WITHOUT ROWID;
CREATE TABLE dose_value (
    received_id INTEGER NOT NULL REFERENCES received_object (id) ON DELETE CASCADE,
    event_uid TEXT NOT NULL,  -- '': the report's own total
    position INTEGER NOT NULL,
    quantity TEXT NOT NULL CHECK (quantity IN ('dap', 'rp', 'agd', 'dlp', 'ctdi', 'fluoro_time', 'events')),
    part TEXT NOT NULL,  -- side of the body or plane of the device; '': the whole
    value REAL NOT NULL,
    unit TEXT NOT NULL,  -- as the device has it
    PRIMARY KEY (received_id, event_uid, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE double_procedure (
    code TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
CREATE TABLE draft (  -- what a person has typed and not saved yet
    account_id INTEGER NOT NULL REFERENCES account (id),
    form TEXT NOT NULL,
    content TEXT NOT NULL,  -- JSON
    saved_at TEXT NOT NULL,
    PRIMARY KEY (account_id, form)
) STRICT, WITHOUT ROWID;
CREATE TABLE external_lookup (  -- when the bus was last asked for a patient's studies
    patient_id INTEGER PRIMARY KEY REFERENCES patient (id),
    answered_at TEXT,
    failed_at TEXT,
    reason TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE external_study (
    reference TEXT NOT NULL,  -- "DiagnosticReport/<id>"
    patient_id INTEGER NOT NULL REFERENCES patient (id),
    order_id INTEGER REFERENCES orders (id),  -- of ours, that it is the result of
    studied_on TEXT NOT NULL,
    content TEXT NOT NULL,  -- JSON: broker.domain.reports.ExternalStudy, and the version of its report
    at TEXT NOT NULL,
    PRIMARY KEY (patient_id, reference)
) STRICT, WITHOUT ROWID;
CREATE TABLE import_refusal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL CHECK (source IN ('worklist_file', 'table')),
    path TEXT NOT NULL,  -- of the worklist file, or of the table
    row INTEGER NOT NULL,  -- of the table; 0: a worklist file
    digest TEXT NOT NULL,  -- of the content that was refused
    patient_name TEXT NOT NULL,  -- as far as it could be read
    birth_date TEXT NOT NULL,  -- YYYY-MM-DD, '': not known
    patient_id TEXT NOT NULL,
    reasons TEXT NOT NULL,  -- JSON: [{code, text, field, about}]
    at TEXT NOT NULL,
    dismissed_at TEXT,
    dismissed_by TEXT NOT NULL DEFAULT '',
    UNIQUE (source, path, row)
) STRICT;
CREATE TABLE incoming_item (  -- the ledger: one row for each resource and kind of message, its newest version
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    reference TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('referral', 'cancel', 'result')),
    version TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('taken', 'failed', 'needs_attention')),
    acknowledged INTEGER NOT NULL DEFAULT 0 CHECK (acknowledged IN (0, 1)),  -- 1: nobody needs to look any more
    attempts INTEGER NOT NULL DEFAULT 1,
    reason TEXT NOT NULL DEFAULT '',
    order_id INTEGER REFERENCES orders (id),
    content BLOB,  -- its JSON, zlib; forgotten after a while
    first_at TEXT NOT NULL,
    at TEXT NOT NULL, about TEXT NOT NULL DEFAULT '', confirmed TEXT NOT NULL DEFAULT '',
    UNIQUE (source, reference, kind)
) STRICT;
CREATE TABLE incoming_referral (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,  -- 'bus', or the name of a local client
    task TEXT NOT NULL,  -- id of the Task at its source
    state TEXT NOT NULL CHECK (state IN ('waiting', 'accepted', 'cancelled', 'declined', 'needs_attention')),
    order_id INTEGER UNIQUE REFERENCES orders (id),
    content TEXT NOT NULL,  -- JSON: broker.domain.incoming.IncomingReferral
    problems TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(problems)),  -- JSON: field -> problem code
    received_at TEXT NOT NULL,
    changed_at TEXT NOT NULL, decline_reason TEXT NOT NULL DEFAULT '',
    UNIQUE (source, task)
) STRICT;
CREATE TABLE joint_decision (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    images INTEGER NOT NULL,  -- the revision of the images and the card that it is about, as of the reads
    patient_id INTEGER NOT NULL,
    writer TEXT NOT NULL,  -- login of the reader who wrote it
    confirmer TEXT NOT NULL,  -- login of the other one
    opinion TEXT NOT NULL CHECK (opinion <> ''),  -- JSON, as of `study_read`
    said TEXT NOT NULL,  -- JSON: the texts of the report, and the dose
    proposed_at TEXT NOT NULL,
    confirmed_at TEXT,
    revision INTEGER NOT NULL DEFAULT 1,
    CHECK (writer <> confirmer),
    UNIQUE (order_id, images, patient_id)
) STRICT;
CREATE TABLE mpps_node (
    ae_title TEXT PRIMARY KEY CHECK (length(ae_title) BETWEEN 1 AND 16),
    message_id INTEGER NOT NULL,  -- the newest message that needs no more sending
    sending_id INTEGER,  -- the message after it that may have been sent already; NULL: not tried yet
    attempts INTEGER NOT NULL DEFAULT 0,  -- of the message that is next, in vain
    problem TEXT NOT NULL DEFAULT '',  -- why the last attempt was in vain
    at TEXT NOT NULL  -- of the last attempt or success
) STRICT, WITHOUT ROWID;
CREATE TABLE orders (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    accession_number TEXT NOT NULL UNIQUE CHECK (length(accession_number) BETWEEN 1 AND 16),
    study_instance_uid TEXT NOT NULL UNIQUE CHECK (length(study_instance_uid) BETWEEN 1 AND 64),
    requested_procedure_id TEXT NOT NULL UNIQUE CHECK (length(requested_procedure_id) BETWEEN 1 AND 16),
    patient_id INTEGER NOT NULL REFERENCES patient (id),
    state TEXT NOT NULL CHECK (
        state IN ('scheduled', 'in_progress', 'completed', 'discontinued', 'cancelled', 'referred')),
    state_since TEXT NOT NULL,
    reported INTEGER NOT NULL DEFAULT 0 CHECK (reported IN (0, 1)),  -- 1: a report is signed
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
    submission_id TEXT UNIQUE,  -- a repeated submission finds the order that the first one made
    submission_digest TEXT NOT NULL DEFAULT '',
    attributes TEXT NOT NULL DEFAULT '',  -- what an import brought beyond these columns: broker.domain.passthrough
    bus_role TEXT NOT NULL DEFAULT '' CHECK (bus_role IN ('', 'placer', 'performer', 'walk_in')),
    requester TEXT NOT NULL DEFAULT '',  -- GUID of the clinic that refers; '': this one
    owner TEXT NOT NULL DEFAULT '',  -- GUID of the clinic that is to do it; '': this one
    bus_accession_number TEXT UNIQUE CHECK (length(bus_accession_number) BETWEEN 1 AND 16),
    revision INTEGER NOT NULL DEFAULT 1
, request_number TEXT NOT NULL DEFAULT '' CHECK (length(request_number) <= 16)) STRICT;
INSERT INTO "orders" VALUES(1,'K2611-0001','1.2.643.5.1.13.13.12.2.99.20261124064700.2993471466','RP1',1,'completed','2026-11-24T06:47:00+00:00',0,'WLB-KNEE','Рентгенография коленного сустава',1,'DX','','R','routine','1','Зимин','Андрей','Павлович','','терапевт','M17.1','Первичный гонартроз','','2026-11-24T06:47:00+00:00','Орлова Н. В.',NULL,'859731f407739633e37a7f1fae454b2a2b89c0095344083ab9227ccd4b9dba53','','placer','','',NULL,3,'');
CREATE TABLE "outbox" (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER REFERENCES orders (id),
    incoming_id INTEGER REFERENCES incoming_referral (id),
    kind TEXT NOT NULL CHECK (
        kind IN ('order', 'amend', 'cancel', 'started', 'images', 'report', 'appended', 'decline')),
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'needs_attention', 'dropped', 'unsupported')),
    uncertain INTEGER NOT NULL DEFAULT 0 CHECK (uncertain IN (0, 1)),  -- 1: the bus may have it
    attempts INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    delivered_at TEXT,
    sent BLOB,  -- the last body, zlib; forgotten after a while
    order_revision INTEGER,  -- of the order as last sent; of an unsent amendment: the amended one
    CHECK ((order_id IS NULL) + (incoming_id IS NULL) = 1),
    CHECK ((incoming_id IS NOT NULL) = (kind = 'decline'))
) STRICT;
INSERT INTO "outbox" VALUES(1,1,NULL,'order','pending',0,0,'','2026-11-24T06:47:00+00:00',NULL,NULL,NULL);
INSERT INTO "outbox" VALUES(2,1,NULL,'images','pending',0,0,'','2026-11-24T06:47:00+00:00',NULL,NULL,NULL);
CREATE TABLE "outbox_attempt" (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    seq INTEGER NOT NULL REFERENCES "outbox" (seq),
    at TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    answer TEXT NOT NULL
) STRICT;
CREATE TABLE over_read (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    version INTEGER NOT NULL CHECK (version >= 1),  -- of the report: that was asked about, then that was read
    asked_by TEXT NOT NULL,  -- login
    asked_by_title TEXT NOT NULL,
    asked_of TEXT NOT NULL,  -- login; '': any doctor
    asked_of_title TEXT NOT NULL,
    question TEXT NOT NULL,
    asked_at TEXT NOT NULL,
    outcome TEXT NOT NULL DEFAULT '' CHECK (outcome IN ('', 'agrees', 'differs', 'declined', 'withdrawn')),
    description TEXT NOT NULL DEFAULT '',
    conclusion TEXT NOT NULL DEFAULT '',
    recommendations TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',  -- why it was declined or withdrawn
    ended_by TEXT NOT NULL DEFAULT '',  -- login
    ended_by_title TEXT NOT NULL DEFAULT '',
    ended_at TEXT,
    heeded_at TEXT,  -- who asked has seen the answer
    CHECK ((outcome = '') = (ended_at IS NULL)),
    CHECK (outcome <> 'differs' OR conclusion <> '')
) STRICT;
CREATE TABLE patient (
    id INTEGER PRIMARY KEY,
    patient_id TEXT NOT NULL UNIQUE CHECK (length(patient_id) BETWEEN 1 AND 64),  -- Patient ID (0010,0020)
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
    weight REAL CHECK (weight > 0),  -- kg
    height REAL CHECK (height > 0),  -- cm
    allergies TEXT NOT NULL DEFAULT '',
    pregnancy TEXT NOT NULL DEFAULT '',
    revision INTEGER NOT NULL DEFAULT 1,
    changed_at TEXT NOT NULL
, merged_into INTEGER REFERENCES patient (id), birth_year INTEGER CHECK (birth_year BETWEEN 1800 AND 9999), mother TEXT NOT NULL DEFAULT '', insurer TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO "patient" VALUES(1,'000001','Кузнецова','Марина','Петровна','кузнецова марина петровна','марина','1961-03-12','F','11223344595','7800000012345671','',NULL,NULL,'','',1,'2026-11-24T06:47:00+00:00',NULL,NULL,'','');
CREATE TABLE patient_details (
    patient_id INTEGER PRIMARY KEY REFERENCES patient (id),
    address TEXT NOT NULL DEFAULT '',
    passport TEXT NOT NULL DEFAULT '',
    consent_on TEXT NOT NULL DEFAULT '',  -- day on which the patient agreed that the region is told; '': not asked
    consent_withdrawn_on TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE patient_difference (  -- pairs of cards that a person has said are two people
    one_id INTEGER NOT NULL REFERENCES patient (id),
    other_id INTEGER NOT NULL REFERENCES patient (id),
    actor TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (one_id, other_id),
    CHECK (one_id < other_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE patient_former_name (
    id INTEGER PRIMARY KEY,
    patient_id INTEGER NOT NULL REFERENCES patient (id),  -- the card that bore it; a merged one leads to another
    family TEXT NOT NULL,
    given TEXT NOT NULL,
    middle TEXT NOT NULL,
    name_key TEXT NOT NULL CHECK (name_key <> ''),  -- folded
    same_person INTEGER NOT NULL CHECK (same_person IN (0, 1)),  -- 0: by the correction it became another person's
    at TEXT NOT NULL,
    UNIQUE (patient_id, name_key)
) STRICT;
CREATE TABLE patient_former_number (  -- numbers that a correction has put out of force, and that were the patient's
    patient_id INTEGER NOT NULL REFERENCES patient (id),
    kind TEXT NOT NULL CHECK (kind IN ('snils', 'policy')),
    number TEXT NOT NULL CHECK (number <> ''),
    until TEXT NOT NULL,  -- day of the correction
    actor TEXT NOT NULL,
    PRIMARY KEY (patient_id, kind, number)
) STRICT, WITHOUT ROWID;
PRAGMA writable_schema=ON;
CREATE TABLE patient_merge (  -- the trail: what each merge did, so that it can be undone
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    surviving_id INTEGER NOT NULL REFERENCES patient (id),
    merged_id INTEGER NOT NULL REFERENCES patient (id),
    at TEXT NOT NULL,
    actor TEXT NOT NULL,
    chosen TEXT NOT NULL,  -- JSON: fields that were taken from the merged card
    changed TEXT NOT NULL,  -- JSON: field of the surviving card -> [before, after]
    card TEXT NOT NULL,  -- JSON: the merged card's row as it was
    moved TEXT NOT NULL,  -- JSON: orders, external studies, contradictions and passthrough attributes
    former_snils TEXT NOT NULL DEFAULT '',  -- a number of either card that is no longer in force
    former_policy TEXT NOT NULL DEFAULT '',
    undone_at TEXT,
    undone_by TEXT NOT NULL DEFAULT '',
    CHECK (surviving_id <> merged_id)
) STRICT;
CREATE TABLE performed_dose (
    performed_step_id INTEGER NOT NULL REFERENCES performed_step (id) ON DELETE CASCADE,
    keyword TEXT NOT NULL,
    position INTEGER NOT NULL,  -- 0: of the whole step
    value REAL NOT NULL,
    unit TEXT NOT NULL,
    PRIMARY KEY (performed_step_id, keyword, position)
) STRICT, WITHOUT ROWID;
INSERT INTO "performed_dose" VALUES(1,'EntranceDoseInmGy',0,0.4,'mGy');
CREATE TABLE performed_series (
    performed_step_id INTEGER NOT NULL REFERENCES performed_step (id) ON DELETE CASCADE,
    series_instance_uid TEXT NOT NULL,
    description TEXT NOT NULL,
    protocol TEXT NOT NULL,
    operator TEXT NOT NULL,
    images INTEGER NOT NULL,
    PRIMARY KEY (performed_step_id, series_instance_uid)
) STRICT, WITHOUT ROWID;
INSERT INTO "performed_series" VALUES(1,'1.2.3.4.5','Колено','','',2);
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
    patient_name TEXT NOT NULL,  -- PN, as the device sent it; so are the next three
    patient_id TEXT NOT NULL,
    patient_birth_date TEXT NOT NULL DEFAULT '',  -- DA
    patient_sex TEXT NOT NULL DEFAULT '',  -- CS
    operator TEXT NOT NULL DEFAULT '',
    discontinuation_code TEXT NOT NULL DEFAULT '',
    discontinuation_meaning TEXT NOT NULL DEFAULT '',
    images INTEGER NOT NULL DEFAULT 0,
    provisional INTEGER NOT NULL DEFAULT 0 CHECK (provisional IN (0, 1)),  -- 1: ended in its device's place
    source TEXT NOT NULL DEFAULT 'modality' CHECK (source IN ('modality', 'manual', 'archive')),
    attributes TEXT NOT NULL,  -- DICOM JSON: N-CREATE with every N-SET merged into it
    created_at TEXT NOT NULL,
    changed_at TEXT NOT NULL
) STRICT;
INSERT INTO "performed_step" VALUES(1,'1.2.3.4','XRAY_14','','COMPLETED','2026-11-24T09:47:00','','','DX','Кузнецова^Марина','','19610312','','','','',2,0,'modality','{}','2026-11-24T06:47:00+00:00','2026-11-24T06:47:00+00:00');
CREATE TABLE performed_step_link (  -- what was done for what was scheduled
    performed_step_id INTEGER NOT NULL REFERENCES performed_step (id),
    scheduled_step_id INTEGER NOT NULL REFERENCES scheduled_step (id),
    linked_by TEXT NOT NULL,
    conflict TEXT NOT NULL DEFAULT '',  -- what contradicts the patient, until a person has looked
    at TEXT NOT NULL,
    PRIMARY KEY (performed_step_id, scheduled_step_id)
) STRICT, WITHOUT ROWID;
INSERT INTO "performed_step_link" VALUES(1,1,'XRAY_14','','2026-11-24T06:47:00+00:00');
CREATE TABLE performed_step_message (  -- every message as it came, whatever became of it
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sop_instance_uid TEXT NOT NULL,
    operation TEXT NOT NULL CHECK (operation IN ('N-CREATE', 'N-SET')),
    ae_title TEXT NOT NULL,
    outcome TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT '',  -- Performed Procedure Step Status (0040,0252), as the device sent it
    digest TEXT NOT NULL,
    attributes TEXT NOT NULL,  -- DICOM JSON
    at TEXT NOT NULL
) STRICT;
INSERT INTO "performed_step_message" VALUES(1,'1.2.3.4','N-CREATE','XRAY_14','accepted','','1','{}','2026-11-24T06:47:00+00:00');
INSERT INTO "performed_step_message" VALUES(2,'1.2.3.4','N-SET','XRAY_14','accepted','','2','{}','2026-11-24T06:47:00+00:00');
CREATE TABLE performed_step_reference (  -- Scheduled Step Attributes Sequence (0040,0270), which no N-SET may change
    performed_step_id INTEGER NOT NULL REFERENCES performed_step (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    study_instance_uid TEXT NOT NULL,
    accession_number TEXT NOT NULL,
    requested_procedure_id TEXT NOT NULL,
    sps_id TEXT NOT NULL,
    referenced_study_uids TEXT NOT NULL DEFAULT '[]',  -- JSON
    PRIMARY KEY (performed_step_id, position)
) STRICT, WITHOUT ROWID;
INSERT INTO "performed_step_reference" VALUES(1,0,'1.2.643.5.1.13.13.12.2.99.20261124064700.2993471466','K2611-0001','','','["1.2.3"]');
CREATE TABLE procedure_type (
    code TEXT PRIMARY KEY,
    name TEXT NOT NULL CHECK (name <> ''),
    modality TEXT NOT NULL,
    minutes INTEGER NOT NULL CHECK (minutes > 0),
    local INTEGER NOT NULL CHECK (local IN (0, 1)),  -- 1: a code of ours, not of the official dictionary
    body_site TEXT NOT NULL DEFAULT '',
    position INTEGER NOT NULL,
    hidden INTEGER NOT NULL DEFAULT 0 CHECK (hidden IN (0, 1))  -- 1: kept for the orders that have it
) STRICT, WITHOUT ROWID;
INSERT INTO "procedure_type" VALUES('WLB-CHEST2','Рентгенография органов грудной клетки, 2 проекции','DX',15,1,'',2,0);
INSERT INTO "procedure_type" VALUES('WLB-CT-CHEST','Компьютерная томография органов грудной клетки','CT',20,1,'',11,0);
INSERT INTO "procedure_type" VALUES('WLB-CT-HEAD','Компьютерная томография головного мозга','CT',20,1,'',10,0);
INSERT INTO "procedure_type" VALUES('WLB-FLG1','Флюорография, прямая проекция','DX',10,1,'',0,0);
INSERT INTO "procedure_type" VALUES('WLB-FLG2','Флюорография, 2 проекции','DX',10,1,'',1,0);
INSERT INTO "procedure_type" VALUES('WLB-FOOT','Рентгенография стопы','DX',15,1,'',8,0);
INSERT INTO "procedure_type" VALUES('WLB-HAND','Рентгенография кисти','DX',15,1,'',6,0);
INSERT INTO "procedure_type" VALUES('WLB-KNEE','Рентгенография коленного сустава','DX',15,1,'',7,0);
INSERT INTO "procedure_type" VALUES('WLB-MMG4','Маммография обзорная, 4 проекции','MG',20,1,'',9,0);
INSERT INTO "procedure_type" VALUES('WLB-SINUS','Рентгенография придаточных пазух носа','DX',15,1,'',3,0);
INSERT INTO "procedure_type" VALUES('WLB-SPINE-C','Рентгенография шейного отдела позвоночника','DX',15,1,'',4,0);
INSERT INTO "procedure_type" VALUES('WLB-SPINE-L','Рентгенография поясничного отдела позвоночника','DX',15,1,'',5,0);
INSERT INTO "procedure_type" VALUES('WLB-US-ABD','УЗИ органов брюшной полости','US',20,1,'',12,0);
INSERT INTO "procedure_type" VALUES('WLB-US-THYR','УЗИ щитовидной железы','US',15,1,'',13,0);
CREATE TABLE reading_deferral (
    order_id INTEGER PRIMARY KEY REFERENCES orders (id),
    reader TEXT NOT NULL,  -- login
    reader_title TEXT NOT NULL,
    reason TEXT NOT NULL CHECK (reason <> ''),
    at TEXT NOT NULL
) STRICT;
CREATE TABLE reading_lease (
    order_id INTEGER NOT NULL REFERENCES orders (id),
    purpose TEXT NOT NULL CHECK (purpose IN ('report', 'over_read')),
    reader TEXT NOT NULL,  -- login
    reader_title TEXT NOT NULL,
    since TEXT NOT NULL,
    until TEXT NOT NULL,
    PRIMARY KEY (order_id, purpose)
) STRICT, WITHOUT ROWID;
CREATE TABLE reading_needed (
    order_id INTEGER PRIMARY KEY REFERENCES orders (id),
    reads INTEGER NOT NULL CHECK (reads IN (1, 2)),
    reason TEXT NOT NULL CHECK (reason <> '')
) STRICT;
CREATE TABLE received_object (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sop_instance_uid TEXT NOT NULL UNIQUE CHECK (length(sop_instance_uid) BETWEEN 1 AND 64),
    sop_class_uid TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('dose', 'report', 'document')),
    title TEXT NOT NULL,  -- as the device has it
    study_instance_uid TEXT NOT NULL,
    accession_number TEXT NOT NULL,
    patient_name TEXT NOT NULL,  -- PN, as the device sent it; so are the next three
    patient_id TEXT NOT NULL,
    patient_birth_date TEXT NOT NULL,  -- DA
    patient_sex TEXT NOT NULL,  -- CS
    ae_title TEXT NOT NULL,
    received_at TEXT NOT NULL,
    implicit INTEGER NOT NULL CHECK (implicit IN (0, 1)),  -- 1: the dataset is Implicit VR Little Endian, 0: Explicit
    dataset BLOB NOT NULL,
    digest TEXT NOT NULL,  -- of what it says, in whichever transfer syntax
    problem TEXT NOT NULL DEFAULT '',  -- why its dose could not be read
    order_id INTEGER REFERENCES orders (id),
    held TEXT NOT NULL DEFAULT '' CHECK (held IN ('', 'no_order', 'several_orders', 'other_patient')),
    CHECK ((order_id IS NULL) = (held <> ''))
) STRICT;
CREATE TABLE received_object_unlinked (
    received_id INTEGER NOT NULL REFERENCES received_object (id) ON DELETE CASCADE,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    PRIMARY KEY (received_id, order_id)
) STRICT, WITHOUT ROWID;
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
CREATE TABLE report (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    reading INTEGER NOT NULL DEFAULT 1 CHECK (reading > 0),
    state TEXT NOT NULL CHECK (state IN ('draft', 'signed')),
    description TEXT NOT NULL,
    conclusion TEXT NOT NULL,
    recommendations TEXT NOT NULL,
    effective_dose REAL CHECK (effective_dose >= 0),  -- mSv
    author TEXT NOT NULL,  -- login
    author_family TEXT NOT NULL,
    author_given TEXT NOT NULL,
    author_middle TEXT NOT NULL,
    author_snils TEXT NOT NULL DEFAULT '',
    author_position TEXT NOT NULL DEFAULT '',
    saved_at TEXT NOT NULL,
    signed_at TEXT,
    revision INTEGER NOT NULL DEFAULT 1, form TEXT NOT NULL DEFAULT '' CHECK (form = '' OR json_valid(form)),
    UNIQUE (order_id, reading)
) STRICT;
INSERT INTO "report" VALUES(1,1,1,'draft','','Гонартроз','',NULL,'','','','','','','2026-11-24T06:47:00+00:00',NULL,1,'');
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
CREATE TABLE report_template (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    procedure_code TEXT NOT NULL,
    owner TEXT NOT NULL DEFAULT '',  -- login; '': the clinic's
    name TEXT NOT NULL CHECK (name <> ''),
    finding TEXT NOT NULL DEFAULT '' CHECK (finding IN ('', 'norm', 'known', 'recall', 'technical')),
    description TEXT NOT NULL,
    conclusion TEXT NOT NULL,
    recommendations TEXT NOT NULL,
    revision INTEGER NOT NULL DEFAULT 1,
    UNIQUE (procedure_code, owner, name)
) STRICT;
CREATE TABLE report_version (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    version INTEGER NOT NULL CHECK (version > 1),
    change TEXT NOT NULL CHECK (change IN ('addition', 'correction', 'withdrawal')),
    reason TEXT NOT NULL CHECK (reason <> ''),  -- what was added, what was corrected, why it was withdrawn
    description TEXT NOT NULL,  -- the texts as they read since
    conclusion TEXT NOT NULL,
    recommendations TEXT NOT NULL,
    effective_dose REAL CHECK (effective_dose >= 0),  -- mSv
    author TEXT NOT NULL,  -- login
    author_family TEXT NOT NULL,
    author_given TEXT NOT NULL,
    author_middle TEXT NOT NULL,
    author_snils TEXT NOT NULL,
    author_position TEXT NOT NULL,
    signed_at TEXT NOT NULL, form TEXT NOT NULL DEFAULT '' CHECK (form = '' OR json_valid(form)),
    UNIQUE (order_id, version)
) STRICT;
CREATE TABLE scheduled_step (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    sps_id TEXT NOT NULL UNIQUE CHECK (length(sps_id) BETWEEN 1 AND 16),  -- Scheduled Procedure Step ID (0040,0009)
    start TEXT NOT NULL CHECK (length(start) = 19),
    state TEXT NOT NULL CHECK (
        state IN ('SCHEDULED', 'STARTED', 'COMPLETED', 'DISCONTINUED', 'CANCELLED', 'REFERRED')),
    state_since TEXT NOT NULL
, attributes TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO "scheduled_step" VALUES(1,1,'SPS1','2026-11-24T09:47:00','COMPLETED','2026-11-24T06:47:00+00:00','');
CREATE TABLE scheduled_step_station (
    step_id INTEGER NOT NULL REFERENCES scheduled_step (id) ON DELETE CASCADE,
    ae_title TEXT NOT NULL CHECK (length(ae_title) BETWEEN 1 AND 16),
    position INTEGER NOT NULL,
    PRIMARY KEY (step_id, ae_title)
) STRICT, WITHOUT ROWID;
INSERT INTO "scheduled_step_station" VALUES(1,'XRAY_14',0);
CREATE TABLE session (
    token TEXT PRIMARY KEY,  -- hash
    account_id INTEGER NOT NULL REFERENCES account (id),
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    address TEXT NOT NULL
) STRICT, WITHOUT ROWID;
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
CREATE TABLE study_read (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    images INTEGER NOT NULL,  -- the revision of the images that it is about; it counts for these only
    patient_id INTEGER NOT NULL,  -- the card that they were of
    reader TEXT NOT NULL,  -- login
    reader_family TEXT NOT NULL,
    reader_given TEXT NOT NULL,
    reader_middle TEXT NOT NULL,
    reader_snils TEXT NOT NULL,
    reader_position TEXT NOT NULL,
    arbitrates INTEGER NOT NULL CHECK (arbitrates IN (0, 1)),
    opinion TEXT NOT NULL,  -- JSON: broker.domain.studies.reading.Opinion; '' in a draft without one
    description TEXT NOT NULL,
    conclusion TEXT NOT NULL,
    recommendations TEXT NOT NULL,
    effective_dose REAL CHECK (effective_dose >= 0),  -- mSv
    given_at TEXT,  -- NULL: a draft
    stands_at TEXT,  -- until then its reader may take it back
    settled INTEGER NOT NULL DEFAULT 0 CHECK (settled IN (0, 1)),  -- 1: it stands, and nothing changes it any more
    revision INTEGER NOT NULL DEFAULT 1,
    CHECK ((given_at IS NULL) = (stands_at IS NULL)),
    CHECK (given_at IS NULL OR opinion <> ''),
    UNIQUE (order_id, images, patient_id, reader)
) STRICT;
CREATE TABLE typed_dose (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    millisieverts REAL CHECK (millisieverts >= 0),  -- NULL: what was typed before counts no more
    typed_by TEXT NOT NULL,
    typed_at TEXT NOT NULL
) STRICT;
CREATE TABLE undecided_order (
    order_id INTEGER PRIMARY KEY REFERENCES orders (id),
    one_id INTEGER NOT NULL REFERENCES patient (id),  -- the card that the order stayed with
    other_id INTEGER NOT NULL REFERENCES patient (id),  -- the card that it may be of instead
    at TEXT NOT NULL,
    CHECK (one_id <> other_id)
) STRICT;
CREATE TABLE untitled_caller (
    address TEXT PRIMARY KEY,
    at TEXT NOT NULL,
    summary TEXT NOT NULL  -- as that of a device's contact that came to nothing
) STRICT, WITHOUT ROWID;
CREATE TABLE worklist_change (
    revision INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER  -- NULL: any order's responses may have changed
) STRICT;
INSERT INTO "worklist_change" VALUES(1,NULL);
INSERT INTO "worklist_change" VALUES(2,NULL);
INSERT INTO "worklist_change" VALUES(3,NULL);
INSERT INTO "worklist_change" VALUES(4,1);
INSERT INTO "worklist_change" VALUES(5,1);
INSERT INTO "worklist_change" VALUES(6,1);
INSERT INTO "worklist_change" VALUES(7,1);
INSERT INTO "worklist_change" VALUES(8,1);
INSERT INTO "worklist_change" VALUES(9,1);
INSERT INTO "worklist_change" VALUES(10,1);
INSERT INTO "worklist_change" VALUES(11,1);
CREATE TABLE worklist_delivery (  -- when a device first got a step on its list
    step_id INTEGER NOT NULL REFERENCES scheduled_step (id) ON DELETE CASCADE,
    ae_title TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (step_id, ae_title)
) STRICT, WITHOUT ROWID;
CREATE TABLE worklist_file (  -- items that a script of the clinic writes as files
    path TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    order_id INTEGER REFERENCES orders (id),
    problem TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL DEFAULT 'present' CHECK (state IN ('present', 'gone', 'withdrawn')),
    at TEXT NOT NULL
, step_id INTEGER REFERENCES scheduled_step (id)) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");
CREATE INDEX patient_name ON patient (name_key);
CREATE INDEX patient_birth_date ON patient (birth_date);
CREATE INDEX directory_name ON directory (kind, name_key);
CREATE INDEX orders_patient ON orders (patient_id);
CREATE INDEX orders_referred ON orders (id) WHERE state = 'referred';
CREATE INDEX orders_external ON orders (state_since) WHERE owner <> '';
CREATE INDEX orders_unreported ON orders (state_since, modality)
    WHERE state = 'completed' AND reported = 0 AND owner = '';
CREATE INDEX scheduled_step_order ON scheduled_step (order_id);
CREATE INDEX scheduled_step_start ON scheduled_step (start);
CREATE INDEX scheduled_step_open ON scheduled_step (start) WHERE state IN ('SCHEDULED', 'STARTED');
CREATE INDEX scheduled_step_closed ON scheduled_step (state_since) WHERE state = 'COMPLETED';
CREATE INDEX scheduled_step_station_ae_title ON scheduled_step_station (ae_title);
CREATE INDEX worklist_file_order ON worklist_file (order_id);
CREATE INDEX performed_step_created_at ON performed_step (created_at);
CREATE INDEX performed_step_running ON performed_step (id) WHERE state = 'IN PROGRESS';
CREATE INDEX performed_step_link_scheduled ON performed_step_link (scheduled_step_id);
CREATE INDEX performed_step_link_conflict ON performed_step_link (performed_step_id) WHERE conflict <> '';
CREATE INDEX performed_step_message_uid ON performed_step_message (sop_instance_uid);
CREATE INDEX performed_step_message_orphan ON performed_step_message (at) WHERE outcome IN ('unknown', 'refused');
CREATE TRIGGER report_signed_is_final BEFORE UPDATE ON report WHEN old.state = 'signed'
BEGIN SELECT RAISE(ABORT, 'a signed report is final'); END;
CREATE INDEX bus_reference_task ON bus_reference (value) WHERE name = 'task';
CREATE INDEX incoming_referral_open ON incoming_referral (received_at) WHERE state IN ('waiting', 'needs_attention');
CREATE INDEX incoming_item_at ON incoming_item (at);
CREATE INDEX incoming_item_open ON incoming_item (at) WHERE state <> 'taken';
CREATE INDEX incoming_item_cancelled ON incoming_item (order_id)
    WHERE kind = 'cancel' AND acknowledged = 0 AND order_id IS NOT NULL;
CREATE INDEX external_study_patient ON external_study (patient_id, studied_on);
CREATE INDEX external_study_order ON external_study (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX client_key_resource ON client_key (client, kind, id);
CREATE INDEX audit_order ON audit (order_id, seq);
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail only grows'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail only grows'); END;
CREATE TRIGGER worklist_change_forget AFTER INSERT ON worklist_change WHEN new.revision % 1000 = 0
BEGIN DELETE FROM worklist_change WHERE revision <= new.revision - 10000; END;
CREATE TRIGGER orders_insert_new AFTER INSERT ON orders
BEGIN INSERT INTO worklist_change (order_id) VALUES (new.id); END;
CREATE TRIGGER orders_update_new AFTER UPDATE ON orders
BEGIN INSERT INTO worklist_change (order_id) VALUES (new.id); END;
CREATE TRIGGER orders_delete_old AFTER DELETE ON orders
BEGIN INSERT INTO worklist_change (order_id) VALUES (old.id); END;
CREATE TRIGGER scheduled_step_insert_new AFTER INSERT ON scheduled_step
BEGIN INSERT INTO worklist_change (order_id) VALUES (new.order_id); END;
CREATE TRIGGER scheduled_step_update_new AFTER UPDATE ON scheduled_step
BEGIN INSERT INTO worklist_change (order_id) VALUES (new.order_id); END;
CREATE TRIGGER scheduled_step_delete_old AFTER DELETE ON scheduled_step
BEGIN INSERT INTO worklist_change (order_id) VALUES (old.order_id); END;
CREATE TRIGGER scheduled_step_station_insert_new AFTER INSERT ON scheduled_step_station
BEGIN INSERT INTO worklist_change (order_id) SELECT s.order_id FROM scheduled_step s WHERE s.id = new.step_id; END;
CREATE TRIGGER scheduled_step_station_update_new AFTER UPDATE ON scheduled_step_station
BEGIN INSERT INTO worklist_change (order_id) SELECT s.order_id FROM scheduled_step s WHERE s.id = new.step_id; END;
CREATE TRIGGER scheduled_step_station_update_old AFTER UPDATE ON scheduled_step_station
BEGIN INSERT INTO worklist_change (order_id) SELECT s.order_id FROM scheduled_step s WHERE s.id = old.step_id; END;
CREATE TRIGGER scheduled_step_station_delete_old AFTER DELETE ON scheduled_step_station
BEGIN INSERT INTO worklist_change (order_id) SELECT s.order_id FROM scheduled_step s WHERE s.id = old.step_id; END;
CREATE TRIGGER performed_step_link_insert_new AFTER INSERT ON performed_step_link
BEGIN
    INSERT INTO worklist_change (order_id)
        SELECT s.order_id FROM scheduled_step s WHERE s.id = new.scheduled_step_id;
END;
CREATE TRIGGER performed_step_link_update_new AFTER UPDATE ON performed_step_link
BEGIN
    INSERT INTO worklist_change (order_id)
        SELECT s.order_id FROM scheduled_step s WHERE s.id = new.scheduled_step_id;
END;
CREATE TRIGGER performed_step_link_delete_old AFTER DELETE ON performed_step_link
BEGIN
    INSERT INTO worklist_change (order_id)
        SELECT s.order_id FROM scheduled_step s WHERE s.id = old.scheduled_step_id;
END;
CREATE TRIGGER patient_insert_new AFTER INSERT ON patient
BEGIN INSERT INTO worklist_change (order_id) SELECT id FROM orders WHERE patient_id = new.id; END;
CREATE TRIGGER patient_update_new AFTER UPDATE ON patient
BEGIN INSERT INTO worklist_change (order_id) SELECT id FROM orders WHERE patient_id = new.id; END;
CREATE TRIGGER patient_delete_old AFTER DELETE ON patient
BEGIN INSERT INTO worklist_change (order_id) SELECT id FROM orders WHERE patient_id = old.id; END;
CREATE TRIGGER performed_step_insert_new AFTER INSERT ON performed_step
BEGIN
    INSERT INTO worklist_change (order_id)
        SELECT s.order_id FROM performed_step_link l JOIN scheduled_step s ON s.id = l.scheduled_step_id
        WHERE l.performed_step_id = new.id;
END;
CREATE TRIGGER performed_step_update_new AFTER UPDATE OF ae_title, station_ae_title ON performed_step
BEGIN
    INSERT INTO worklist_change (order_id)
        SELECT s.order_id FROM performed_step_link l JOIN scheduled_step s ON s.id = l.scheduled_step_id
        WHERE l.performed_step_id = new.id;
END;
CREATE TRIGGER performed_step_delete_old AFTER DELETE ON performed_step
BEGIN
    INSERT INTO worklist_change (order_id)
        SELECT s.order_id FROM performed_step_link l JOIN scheduled_step s ON s.id = l.scheduled_step_id
        WHERE l.performed_step_id = old.id;
END;
CREATE TRIGGER device_insert_new AFTER INSERT ON device
BEGIN
    INSERT INTO counter (name, value) VALUES ('devices', 1)
        ON CONFLICT (name) DO UPDATE SET value = value + 1;
    INSERT INTO worklist_change (order_id) VALUES (NULL);
END;
CREATE TRIGGER device_update_new AFTER UPDATE ON device
BEGIN
    INSERT INTO counter (name, value) VALUES ('devices', 1)
        ON CONFLICT (name) DO UPDATE SET value = value + 1;
    INSERT INTO worklist_change (order_id) VALUES (NULL);
END;
CREATE TRIGGER device_delete_old AFTER DELETE ON device
BEGIN
    INSERT INTO counter (name, value) VALUES ('devices', 1)
        ON CONFLICT (name) DO UPDATE SET value = value + 1;
    INSERT INTO worklist_change (order_id) VALUES (NULL);
END;
CREATE INDEX archive_study_missing ON archive_study (asked_at) WHERE images = 0 AND waived_by = '';
CREATE INDEX patient_merged ON patient (merged_into) WHERE merged_into IS NOT NULL;
CREATE TRIGGER patient_merged_numbers BEFORE UPDATE ON patient
WHEN new.merged_into IS NOT NULL AND (new.snils IS NOT NULL OR new.policy IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'a merged card has no numbers'); END;
CREATE TRIGGER orders_insert_merged BEFORE INSERT ON orders
WHEN (SELECT merged_into FROM patient WHERE id = new.patient_id) IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'no order belongs to a merged card'); END;
CREATE TRIGGER orders_update_merged BEFORE UPDATE OF patient_id ON orders
WHEN (SELECT merged_into FROM patient WHERE id = new.patient_id) IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'no order belongs to a merged card'); END;
CREATE UNIQUE INDEX patient_merge_open ON patient_merge (merged_id) WHERE undone_at IS NULL;
CREATE INDEX patient_merge_surviving ON patient_merge (surviving_id);
CREATE INDEX patient_merge_snils ON patient_merge (former_snils) WHERE undone_at IS NULL AND former_snils <> '';
CREATE INDEX patient_merge_policy ON patient_merge (former_policy) WHERE undone_at IS NULL AND former_policy <> '';
CREATE INDEX patient_difference_other ON patient_difference (other_id);
CREATE INDEX patient_card ON patient (replace(replace(upper(patient_id), '-', ''), ' ', ''));
CREATE INDEX patient_phone ON patient (substr(replace(replace(replace(replace(replace(replace(
    phone, ' ', ''), '-', ''), '(', ''), ')', ''), '+', ''), '.', ''), -10)) WHERE phone <> '';
CREATE INDEX performed_step_reference_study ON performed_step_reference (study_instance_uid)
    WHERE study_instance_uid <> '';
CREATE INDEX archive_unreferred_day ON archive_unreferred (studied_on);
CREATE INDEX outbox_open ON outbox (order_id, incoming_id, seq) WHERE state IN ('pending', 'needs_attention');
CREATE INDEX outbox_order ON outbox (order_id, seq);
CREATE INDEX outbox_incoming ON outbox (incoming_id, seq) WHERE incoming_id IS NOT NULL;
CREATE INDEX outbox_attempt_seq ON outbox_attempt (seq);
CREATE INDEX import_refusal_open ON import_refusal (id) WHERE dismissed_at IS NULL;
CREATE INDEX patient_former_number_number ON patient_former_number (number);
CREATE VIEW patient_words AS
    SELECT id, name_key || ' ' || coalesce(birth_year, substr(birth_date, 1, 4)) AS words FROM patient;
CREATE TRIGGER patient_search_insert AFTER INSERT ON patient
BEGIN
    INSERT INTO patient_search (rowid, words)
        VALUES (new.id, new.name_key || ' ' || coalesce(new.birth_year, substr(new.birth_date, 1, 4)));
END;
CREATE TRIGGER patient_search_update AFTER UPDATE OF name_key, birth_date, birth_year ON patient
BEGIN
    INSERT INTO patient_search (patient_search, rowid, words)
        VALUES ('delete', old.id, old.name_key || ' ' || coalesce(old.birth_year, substr(old.birth_date, 1, 4)));
    INSERT INTO patient_search (rowid, words)
        VALUES (new.id, new.name_key || ' ' || coalesce(new.birth_year, substr(new.birth_date, 1, 4)));
END;
CREATE TRIGGER patient_search_delete AFTER DELETE ON patient
BEGIN
    INSERT INTO patient_search (patient_search, rowid, words)
        VALUES ('delete', old.id, old.name_key || ' ' || coalesce(old.birth_year, substr(old.birth_date, 1, 4)));
END;
CREATE INDEX archive_discrepancy_open ON archive_discrepancy (id) WHERE state = 'open';
CREATE INDEX archive_discrepancy_study ON archive_discrepancy (study_instance_uid);
CREATE INDEX region_patient_bus ON region_patient (bus_id) WHERE bus_id <> '';
CREATE INDEX similar_import_open ON similar_import (id) WHERE settled_at IS NULL;
CREATE INDEX similar_import_other ON similar_import (other_id);
CREATE TRIGGER patient_former_search_insert AFTER INSERT ON patient_former_name
BEGIN
    INSERT INTO patient_former_search (rowid, name_key) VALUES (new.id, new.name_key);
END;
CREATE TRIGGER patient_former_search_update AFTER UPDATE OF name_key ON patient_former_name
BEGIN
    INSERT INTO patient_former_search (patient_former_search, rowid, name_key) VALUES ('delete', old.id, old.name_key);
    INSERT INTO patient_former_search (rowid, name_key) VALUES (new.id, new.name_key);
END;
CREATE TRIGGER patient_former_search_delete AFTER DELETE ON patient_former_name
BEGIN
    INSERT INTO patient_former_search (patient_former_search, rowid, name_key) VALUES ('delete', old.id, old.name_key);
END;
CREATE INDEX orders_accession ON orders (replace(replace(upper(accession_number), '-', ''), ' ', ''), patient_id);
CREATE INDEX orders_bus_accession
    ON orders (replace(replace(upper(bus_accession_number), '-', ''), ' ', ''), patient_id);
CREATE INDEX orders_request_number ON orders (request_number) WHERE request_number <> '';
CREATE TRIGGER report_version_is_final BEFORE UPDATE ON report_version
BEGIN SELECT RAISE(ABORT, 'a signed report is final'); END;
CREATE TRIGGER report_version_stays BEFORE DELETE ON report_version
BEGIN SELECT RAISE(ABORT, 'a signed report is final'); END;
CREATE INDEX archive_study_fewer ON archive_study (order_id) WHERE fewer_than IS NOT NULL;
CREATE INDEX received_object_order ON received_object (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX received_object_held ON received_object (id) WHERE held <> '';
CREATE INDEX study_read_held ON study_read (stands_at) WHERE given_at IS NOT NULL AND settled = 0;
CREATE TRIGGER study_read_is_final BEFORE UPDATE ON study_read WHEN old.settled = 1
BEGIN SELECT RAISE(ABORT, 'a read that stands is final'); END;
CREATE TRIGGER study_read_stays BEFORE DELETE ON study_read WHEN old.given_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a read that was given stays'); END;
CREATE UNIQUE INDEX report_template_finding ON report_template (procedure_code, owner, finding) WHERE finding <> '';
CREATE INDEX archive_report_pending ON archive_report (next_at) WHERE state = 'pending';
CREATE INDEX typed_dose_order ON typed_dose (order_id, id);
CREATE INDEX report_attachment_order ON report_attachment (order_id);
CREATE TRIGGER report_attachment_is_final BEFORE UPDATE ON report_attachment
BEGIN SELECT RAISE(ABORT, 'what is attached to a signed report is final'); END;
CREATE TRIGGER report_attachment_stays BEFORE DELETE ON report_attachment
BEGIN SELECT RAISE(ABORT, 'what is attached to a signed report is final'); END;
CREATE INDEX over_read_order ON over_read (order_id);
CREATE UNIQUE INDEX over_read_open ON over_read (order_id) WHERE ended_at IS NULL;
CREATE TRIGGER over_read_is_final
BEFORE UPDATE OF order_id, version, outcome, description, conclusion, recommendations, ended_by, ended_at ON over_read
WHEN old.ended_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'what was answered is final'); END;
CREATE TRIGGER over_read_stays BEFORE DELETE ON over_read
BEGIN SELECT RAISE(ABORT, 'what was asked stays'); END;
CREATE TRIGGER joint_decision_is_final BEFORE UPDATE ON joint_decision WHEN old.confirmed_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'what both have decided is final'); END;
CREATE TRIGGER joint_decision_stays BEFORE DELETE ON joint_decision WHEN old.confirmed_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'what both have decided is final'); END;
CREATE INDEX avoided_repeat_at ON avoided_repeat (at);
PRAGMA writable_schema=OFF;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('outbox',2);
INSERT INTO "sqlite_sequence" VALUES('outbox_attempt',0);
INSERT INTO "sqlite_sequence" VALUES('archive_discrepancy',0);
INSERT INTO "sqlite_sequence" VALUES('worklist_change',11);
INSERT INTO "sqlite_sequence" VALUES('orders',1);
INSERT INTO "sqlite_sequence" VALUES('scheduled_step',1);
INSERT INTO "sqlite_sequence" VALUES('audit',3);
INSERT INTO "sqlite_sequence" VALUES('performed_step_message',2);
INSERT INTO "sqlite_sequence" VALUES('performed_step',1);
INSERT INTO "sqlite_sequence" VALUES('account',1);
INSERT INTO "sqlite_sequence" VALUES('report',1);
COMMIT;
CREATE VIRTUAL TABLE patient_search USING fts5 (
    words, content = 'patient_words', content_rowid = 'id', detail = none, columnsize = 0,
    prefix = '1 2 3 4 5 6 7 8', tokenize = 'unicode61 remove_diacritics 0'
);
INSERT INTO patient_search (patient_search) VALUES ('rebuild');
CREATE VIRTUAL TABLE patient_former_search USING fts5 (
    name_key, content = 'patient_former_name', content_rowid = 'id', detail = none, columnsize = 0,
    prefix = '1 2 3 4 5 6 7 8', tokenize = 'unicode61 remove_diacritics 0'
);
INSERT INTO patient_former_search (patient_former_search) VALUES ('rebuild');
