"""Rows folded into sums by time, kept beside them."""
