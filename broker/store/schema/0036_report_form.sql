-- What a report states besides its texts, as the form of its day has it (560н, form 34): JSON, '' if nothing.
ALTER TABLE report ADD COLUMN form TEXT NOT NULL DEFAULT '' CHECK (form = '' OR json_valid(form));
ALTER TABLE report_version ADD COLUMN form TEXT NOT NULL DEFAULT '' CHECK (form = '' OR json_valid(form));
