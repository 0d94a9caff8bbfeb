"""The verbs of the command line, one module each, imported when the verb runs.

A verb has ``configure(parser, words)``, which declares its options and imports nothing heavy, and ``run(arguments)``,
which does the work and returns an exit code or nothing.
"""
