"""The ``gateway`` command: a module for each command, and what they share.

``options`` has what is typed, ``context`` what becomes of it, ``output`` how tables, JSON and CSV
are printed. Commands import what they need when they run, so that ``gateway --help`` is quick.
"""

from gateway.cli.commands import app, main

__all__ = ["app", "main"]
