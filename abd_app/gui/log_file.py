"""The log of the window's process: a rotating file, with what no handler has caught."""

from __future__ import annotations

import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType

_MAX_BYTES = 1_000_000
_BACKUPS = 3


def start_log(path: Path) -> logging.Handler | None:
    """Logs the package to ``path``; ``None`` if the file cannot be written (the app runs without a log then)."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(path, maxBytes=_MAX_BYTES, backupCount=_BACKUPS, encoding="utf-8", delay=False)
    except OSError:
        return None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("abd_app")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    sys.excepthook = _log_uncaught
    return handler


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("abd_app").error("not caught", exc_info=(kind, error, trace))
    sys.__excepthook__(kind, error, trace)
