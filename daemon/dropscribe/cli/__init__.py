"""The command line: arguments, messages and exit codes. Everything it does is done by the other packages."""
