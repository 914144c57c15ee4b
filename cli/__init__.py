"""The command line: a file a verb, each thin."""
