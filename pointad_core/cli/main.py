"""The command `pointad`: picks the subcommand, and says in one line what went wrong.

A subcommand is a module of this folder with `add_arguments(parser)` and `run(arguments) -> int`, whose docstring is its
help. It is imported when it is chosen, and imports what is heavy when it runs.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

from pointad_core.errors import InputError

COMMANDS = {
    "predict": "heat maps of scans of one's own",
    "calibrate": "a threshold from good scans, for a yes or no",
    "train": "prompts learnt on scans of one's own",
    "export": "scores as files that other evaluations read",
}
"""Subcommands by name, and what the list of them says."""

EPILOG = """\
example:
  pointad predict part.ply        a heat map of one scan: open results/predictions/part/part.html

pointad COMMAND --help says more. Exit codes: 0 all right, 1 something failed, 2 wrong usage, 130 stopped by Ctrl-C.
"""


STOPPED = "stopped by Ctrl-C"
INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell has it."""


class _Version(argparse.Action):
    """Prints the version, which is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"pointad {version('pointad_core')}")
        parser.exit()


def make_parser(chosen: str | None) -> argparse.ArgumentParser:
    """The parser of all subcommands, of which the chosen one alone knows its arguments."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "pointad", description="Find defects on 3-D scans.", epilog=EPILOG, formatter_class=raw, allow_abbrev=False
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and end")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        module = import_module(f"pointad_core.cli.{name}") if name == chosen else None
        description = module.__doc__ if module else None
        # Descriptions hold a percent sign now and then, which argparse would expand.
        command = commands.add_parser(
            name, help=text, description=(description or "").replace("%", "%%"), formatter_class=raw, allow_abbrev=False
        )
        if module:
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


def command() -> NoReturn:
    """The process `pointad`: runs its command line and ends."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A scan's name may have signs that a terminal of another encoding than UTF-8 cannot show.
            stream.reconfigure(errors="backslashreplace")
    code = main()
    if code == INTERRUPTED:
        # Open3D, stopped while it is imported, ends with a report of its own and another exit code.
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    interrupted = []

    def interrupt(*_: object) -> None:
        interrupted.append(True)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        arguments = make_parser(next((word for word in given if not word.startswith("-")), None)).parse_args(given)
        code = int(arguments.run(arguments))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _fail(STOPPED, INTERRUPTED)
    except BrokenPipeError:
        # What is still to be written would fail again, when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _fail("whoever read the output has closed it", 1)
    except InputError as error:
        return _fail(str(error), 1)
    except OSError as error:
        return _fail(describe(error), 1)
    except MemoryError as error:
        return _fail(f"not enough memory ({error})" if str(error) else "not enough memory", 1)
    except Exception:
        # A library that is interrupted while it is being imported says that it cannot be.
        if interrupted:
            return _fail(STOPPED, INTERRUPTED)
        raise
    finally:
        signal.signal(signal.SIGINT, before)


def _open_closed_streams() -> None:
    """Send what goes to a stream that was closed before the start nowhere: its number would be the next file's."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115


def describe(error: OSError) -> str:
    """What the system refused, the file first."""
    reason = error.strerror or str(error)
    if error.errno == errno.EACCES:
        reason = "no permission"
    if error.errno == errno.EEXIST:  # of folders for results, which may be there
        reason = "is there already, and no folder"
    return f"{error.filename}: {reason}" if error.filename else reason


def _fail(message: str, code: int) -> int:
    from pointad_core.storage.jobs import printable

    print(f"pointad: {printable(message)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    command()
