"""The one hierarchy of errors a user can meet.

Each message is one line that says what is wrong and what to do. The command line turns the class
into an exit code (`exit_code`); everything else that escapes is a bug and shows as one.
"""


class QuantlabError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = 1


class ValidationFailed(QuantlabError):
    """Input that breaks a contract: a schema, a key grammar, a value rule, a strategy."""


class NotFound(QuantlabError):
    """Something named does not exist: an artifact, an experiment, a projection, a file."""

    exit_code = 3


class Conflict(QuantlabError):
    """The state moved on, or forbids the step: a lost compare-and-swap, a refused transition."""


class IntegrityError(QuantlabError):
    """Stored bytes do not match their recorded hash or size, or a row has lost its file."""

    exit_code = 4


class LostFile(IntegrityError):
    """A row has lost its file: the bytes are not damaged, they are not there."""


class StoreUnavailable(QuantlabError):
    """The lake cannot be used: missing folder, no permission, disk full, newer manifest."""
