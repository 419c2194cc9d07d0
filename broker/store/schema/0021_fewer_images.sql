-- Studies of which the archive holds fewer images than when a doctor has looked at them for the signed report.

ALTER TABLE archive_study ADD COLUMN fewer_than INTEGER CHECK (fewer_than > 0);  -- so many there were; NULL: not fewer
CREATE INDEX archive_study_fewer ON archive_study (order_id) WHERE fewer_than IS NOT NULL;
