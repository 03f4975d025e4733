"""What became of every file: rows in SQLite, claims in memory."""
