"""The daemon: one loop that holds every piece of state and imports no model library."""
