"""The transcripts as a library: found by their words, and corrected by a person.

Guarantees: pure functions, but for the index and for what its callers hand it; no model library is imported, and no
connection opened but by `summary`, which says so. Nothing here knows of the journal: the daemon and the command line
bring both together.

Whoever shows transcripts uses these:

- `index.Index`: `search` and `list_entries`, kept up to date by `refresh`. `supervisor.indexing` opens it
  (`open_index`) and lists what is to be in it (`list_documents`);
- `corrections`: `edit_words`, `rename_speaker`, `move_turn` and `accept_passage` make edits of what a person did,
  `correct` shows the transcript after them. `supervisor.correcting.make_correction` and `supervisor.requests.Correct`
  leave them for the daemon, `supervisor.requests.Undo` takes the last save back, and `read_transcript` reads what is
  published at present;
- `spellings`: `write_always` adds a line to the profile of a folder.
"""
