-- What tells a database from before the first release: the table of migrations that the library of that time kept.
CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name" ON "_sqlite_migrations" ("migration_set", "name");
INSERT INTO "_sqlite_migrations" VALUES (1, 'worklist-broker', 'm001_initial', '2026-11-24 08:00:00.000000+00:00');
INSERT INTO "_sqlite_migrations" VALUES (2, 'worklist-broker', 'm002_both_ways', '2026-11-24 08:00:00.000000+00:00');
INSERT INTO "_sqlite_migrations" VALUES (3, 'worklist-broker', 'm003_changes', '2026-11-24 08:00:00.000000+00:00');
CREATE TABLE patient (id INTEGER PRIMARY KEY, family TEXT NOT NULL) STRICT;
INSERT INTO patient VALUES (1, 'Кузнецова');
