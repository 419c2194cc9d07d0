"""The schema as frozen SQL files, and how a database gets from an older one to the newest."""
