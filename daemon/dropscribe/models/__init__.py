"""Whisper models: what their names mean, which are on this machine, and how others get here.

- `catalogue`: names, repositories and layouts; standard library only, so that the supervisor may
  use it.
- `store`: `ModelStore`, which finds, downloads, verifies, lists and removes models. Everybody else
  starts here.
- `lookup`, `records`, `hub_cache`, `stored`: what is on the disk, and what is written down about
  it.
- `download`, `progress`: the hub.
- `starter`, `convert`, `quantise`, `builder`: models that are made here out of other files.

This module re-exports nothing: who imports `catalogue` gets no more than that.
"""
