"""The store in a database, SQLite or PostgreSQL. Needs the extra ``state``; loaded where a gateway keeps something."""
