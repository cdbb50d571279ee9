"""Errors that a user can mend: each message says what was wrong, where, what was expected and what to do.

``UserError``
    ``ParamsError``    a value in ``params.yaml``
    ``ArtifactError``  a stage's output folder, or a table inside one
    ``InputError``     a file or folder from outside: DICOM, weights, a reader's table
"""


class UserError(ValueError):
    """An error caused by input; shown as one message, never as a traceback."""


class ParamsError(UserError):
    """A section of ``params.yaml`` is missing, misspelt or holds a wrong value."""


class ArtifactError(UserError):
    """A stage's output folder is missing, incomplete or not of the expected kind."""


class InputError(UserError):
    """A file or folder given by the user cannot be used."""
