"""The books against the provider's word: lookups of single jobs, and whole bills."""
