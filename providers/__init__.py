"""A library of provider adapters; imports nothing from the gateway."""
