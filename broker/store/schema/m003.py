"""Tables of the third step: what has changed, for those who keep what they have read or written of it.

Triggers write it down, so that no way to change these tables can be forgotten, another program's included.
"""

_DEVICES = "INSERT INTO counter (name, value) VALUES ('devices', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1"
_CHANGED = "INSERT INTO worklist_change (order_id) "
_OF_STEP = "SELECT s.order_id FROM scheduled_step s WHERE s.id = "
_OF_PERFORMED = (
    "SELECT s.order_id FROM performed_step_link l JOIN scheduled_step s ON s.id = l.scheduled_step_id"
    " WHERE l.performed_step_id = "
)
# What worklist answers are made of: event and table -> what is written down, once with the new row, once with the old.
_WATCHED = {
    "orders": _CHANGED + "VALUES ({row}.id)",
    "scheduled_step": _CHANGED + "VALUES ({row}.order_id)",
    "scheduled_step_station": _CHANGED + _OF_STEP + "{row}.step_id",
    "performed_step_link": _CHANGED + _OF_STEP + "{row}.scheduled_step_id",
    "patient": _CHANGED + "SELECT id FROM orders WHERE patient_id = {row}.id",
    "performed_step": _CHANGED + _OF_PERFORMED + "{row}.id",
    "device": f"{_DEVICES}; {_CHANGED}VALUES (NULL)",
}
# Of a performed step an answer tells nothing but who performs it.
_EVENTS = (("INSERT", "new"), ("UPDATE", "new"), ("UPDATE", "old"), ("DELETE", "old"))
_ONLY = {("performed_step", "UPDATE"): " OF ae_title, station_ae_title"}


def _triggers() -> str:
    return ";;".join(
        f"CREATE TRIGGER {table}_{event.lower()}_{row} AFTER {event}{_ONLY.get((table, event), '')} ON {table}"
        f" BEGIN {what.format(row=row)}; END"
        for table, what in _WATCHED.items()
        for event, row in _EVENTS
        # What is the same before and after need not be told twice: these rows never move to another order.
        if (event, row) != ("UPDATE", "old") or table == "scheduled_step_station"
    )


SQL = f"""
CREATE TABLE worklist_change (
    revision INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id INTEGER  -- NULL: any order's answers may be others now
) STRICT
;;
CREATE TRIGGER worklist_change_forgotten AFTER INSERT ON worklist_change WHEN new.revision % 1000 = 0
BEGIN
    DELETE FROM worklist_change WHERE revision <= new.revision - 10000;
END
;;
{_triggers()}
"""
