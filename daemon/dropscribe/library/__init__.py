"""The transcripts as a library: found by their words, and corrected by a person.

Guarantees: pure functions, but for the index and for what its callers hand it; no model library is imported, and no
connection opened but by `summary`, which says so. Nothing here knows of the journal: the daemon and the command line
bring both together.
"""
