"""Traces of requests from files: public ones, or your own, whatever they call their columns."""
