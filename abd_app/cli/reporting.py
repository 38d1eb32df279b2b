"""How every command ends: a result on stdout, or one message on stderr and an exit code."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import typer

from abd_app import console
from abd_app.cli import processes
from abd_app.errors import AuditError, RunCancelledError, RunFailedError, foreseen

_SIGPIPE_EXIT_CODE = 141
"""What the shell gives to programs that a closed pipe ends."""


def take_every_name() -> None:
    """Has stdout and stderr spell out what their encoding lacks: a name is no reason to end without a result."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_json(value: dict[str, Any] | list[dict[str, Any]]) -> None:
    """Prints a result on stdout as indented JSON, in any encoding."""
    encoding = codecs.lookup(sys.stdout.encoding or "utf-8").name
    print(json.dumps(value, indent=2, ensure_ascii=not encoding.startswith("utf")))


@contextlib.contextmanager
def failures_reported() -> Iterator[None]:
    """Turns every failure into one message and an exit code."""
    try:
        yield
    except AuditError as error:
        if processes.speaks_of_failure():
            console.print_error(error)
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt:
        if processes.speaks_of_failure():
            print("abd-app: cancelled", file=sys.stderr)
        raise typer.Exit(RunCancelledError.exit_code) from None
    except typer.Exit:
        raise
    except BrokenPipeError:  # who reads what is printed has read enough, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(_SIGPIPE_EXIT_CODE) from None
    except Exception as error:
        told = foreseen(error) or RunFailedError(
            "Something unexpected went wrong.",
            why=" ".join(f"{type(error).__name__}: {error}".split()),
            remedy="See the traceback with abd-app --debug ..., and report it.",
        )
        if processes.speaks_of_failure():
            console.print_error(told)
        if os.environ.get("ABD_APP_DEBUG"):
            traceback.print_exc()
        raise typer.Exit(told.exit_code) from error
