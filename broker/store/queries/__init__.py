"""The read side for screens and commands: plain rows, put together from several tables. Nothing here writes.

`schedule` visits of a day, `board` what belongs to no order, `order_card` one order, `patient_cards` one patient,
`exchange_state`, `inbox` the bus, `reading` what waits for a report, `studies` what came of orders and where the
archive differs, `lookups` and `directory_search` while a person types, `patients` who somebody is and was,
`device_registry`, `access`, `desk`.
"""
