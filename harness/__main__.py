"""``python -m harness``: run the command line; user errors are sentences, anything else keeps its traceback."""

from __future__ import annotations

import errno
import os
import sys


def main() -> int:
    """Run the command line and return the exit code of DESIGN: 0, 1, 2, 3, 4, 5 or 130."""
    # Small matrices gain nothing from several threads, and sums then do not depend on their number. Torch has its own.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from harness.cli import app

    try:
        code = app(standalone_mode=False)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: what was complete is kept; run the same command to go on\n")
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone, e.g. head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        foreseen = _report(error)
        if foreseen is None:
            raise
        return foreseen
    return code if isinstance(code, int) else 0


def _report(error: Exception) -> int | None:
    """Write the error for people and return its exit code; None if nobody foresaw it."""
    if getattr(error, "user_sentence", False):
        sys.stderr.write(f"error: {error}\n")
        return int(getattr(error, "exit_code", 1))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
        sys.stderr.write(f"error: {error.filename or 'the results folder'} cannot be written: {error.strerror}; ")
        sys.stderr.write("free some space or choose another folder with --out (what was complete is kept)\n")
        return 1
    usage = getattr(error, "format_message", None)  # typer's own errors: wrong options, missing arguments
    if type(error).__name__ == "NoArgsIsHelpError":  # the help has been shown
        return 2
    if usage is not None:
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else "python -m harness"
        sys.stderr.write(f"usage error: {usage()}  (see: {where} --help)\n")
        return int(getattr(error, "exit_code", 2))
    return 130 if type(error).__name__ == "Abort" else None


if __name__ == "__main__":
    sys.exit(main())
