"""One operation and its attempts, from the caller's wish to the books."""
