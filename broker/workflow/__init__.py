"""Use cases: functions of a transaction, run by `Store.write`; each checks, changes, audits and queues."""
