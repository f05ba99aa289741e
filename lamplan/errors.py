"""Errors that a user can act on: each message says what was found, where, what was expected and what to do."""


class LamplanError(Exception):
    """Base of every error that lamplan raises on purpose. The command line prints it and exits with status 2."""


class InputError(LamplanError, ValueError):
    """An argument has the wrong shape, type or value."""


class DataError(LamplanError):
    """A video or a robot log cannot be used as it is."""


class CheckpointError(LamplanError):
    """A checkpoint is missing, damaged or of another version."""
