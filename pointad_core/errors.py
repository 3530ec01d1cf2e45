"""What a user is told: the one exception for input that a user can mend, and what libraries print."""

import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

logger = logging.getLogger(__name__)

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class InputError(ValueError):
    """A file, key or option is not what it must be.

    The message names the file or key, what was found there and what is allowed; it is all that a user
    needs to see, so the rules print it without a traceback.
    """


@contextmanager
def printed(what: object) -> Iterator[None]:
    """Send what a library prints meanwhile to the log, each line with what it is about.

    Open3D says on the terminal alone what it could not do, where a job's lines have no scan.
    """
    with redirect_stdout(io.StringIO()) as lines:
        try:
            yield
        finally:
            for line in _COLOUR.sub("", lines.getvalue()).splitlines():
                logger.warning("%s: %s", what, line)
