"""The durable record: an append-only journal first, database rows after."""
