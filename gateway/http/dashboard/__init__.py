"""``/dashboard``: what the reports answer, as pages. Nothing here knows a rule about money or cold.

``routes`` is small and is imported at the start; all else is when the first page is asked for.
"""
