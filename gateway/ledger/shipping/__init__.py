"""From the journal to the database, the log, metrics and traces: a process of its own."""
