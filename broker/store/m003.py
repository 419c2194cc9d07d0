"""Tables of the third step: how often the registry of devices has changed, for those who keep what they read of it."""

SQL = """
CREATE TRIGGER device_added AFTER INSERT ON device
BEGIN
    INSERT INTO counter (name, value) VALUES ('devices', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1;
END
;;
CREATE TRIGGER device_changed AFTER UPDATE ON device
BEGIN
    INSERT INTO counter (name, value) VALUES ('devices', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1;
END
;;
CREATE TRIGGER device_removed AFTER DELETE ON device
BEGIN
    INSERT INTO counter (name, value) VALUES ('devices', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1;
END
"""
