"""Where prices come from: rows that were fetched, packages that know token prices, live sources.

A room of its own because it reads files, imports packages and asks servers: ``accounting`` is pure,
and adapters know no prices. Nothing here runs while a request does: rows are read at the start, and
``gateway prices fetch`` asks the sources.
"""
