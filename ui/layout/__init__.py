"""The frame around every page: menu, alarms, the signed-in person."""
