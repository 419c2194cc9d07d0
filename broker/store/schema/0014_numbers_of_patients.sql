-- A number of an order leads to its patient without the order being read: beside the words of a name all numbers that
-- begin as typed are looked up.

DROP INDEX orders_accession;
DROP INDEX orders_bus_accession;
CREATE INDEX orders_accession ON orders (replace(replace(upper(accession_number), '-', ''), ' ', ''), patient_id);
CREATE INDEX orders_bus_accession
    ON orders (replace(replace(upper(bus_accession_number), '-', ''), ' ', ''), patient_id);
