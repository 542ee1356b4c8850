"""Whether the record is sound, and a copy of it."""
