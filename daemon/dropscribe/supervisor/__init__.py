"""The daemon: one thread owns all state and decides; it imports no model library."""
