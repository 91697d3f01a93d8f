"""The pages and the endpoint of `dropscribe serve`: a process of its own beside the daemon.

Guarantees: the journal is only read, as the command line does, and what a person asks of the daemon is
left as a request, so that this process may be killed at any time; nobody gets in without the token
(`door`); no file outside inbox, outbox and archive is read, and none is written but into the inbox,
under a temporary name until it is whole; what is said in a recording is in no log.
"""
