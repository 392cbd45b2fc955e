"""PostgreSQL: the embedded server, connection pools and the migration runner."""
