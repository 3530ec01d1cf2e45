"""The one exception for input that a user can mend."""


class InputError(ValueError):
    """A file, key or option is not what it must be.

    The message names the file or key, what was found there and what is allowed; it is all that a user
    needs to see, so the rules print it without a traceback.
    """
