"""The API as a document: ``/openapi.json``, which ``/docs`` shows.

``routes`` has what a handler's signature cannot say, ``codes`` every error, the other modules the
shapes of answers. Parameters and bodies come from the definitions that the parsers use. All of it
is imported when the document is asked for the first time, and by tests, which hold the answers of a
gateway that runs against it.
"""
