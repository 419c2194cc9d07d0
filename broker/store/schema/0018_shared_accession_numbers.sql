-- Several orders of one Imaging Service Request, and several steps of one order.

-- The accession number that devices and the archive know where it is another order's, too; '' if it is the order's own.
ALTER TABLE orders ADD COLUMN request_number TEXT NOT NULL DEFAULT '' CHECK (length(request_number) <= 16);
CREATE INDEX orders_request_number ON orders (request_number) WHERE request_number <> '';

-- Passthrough attributes of this step where the order has several; '' if the order's apply.
ALTER TABLE scheduled_step ADD COLUMN attributes TEXT NOT NULL DEFAULT '';

-- Which step of the order the file is about.
ALTER TABLE worklist_file ADD COLUMN step_id INTEGER REFERENCES scheduled_step (id);
UPDATE worklist_file SET step_id = (SELECT min(id) FROM scheduled_step WHERE order_id = worklist_file.order_id)
    WHERE order_id IS NOT NULL;
