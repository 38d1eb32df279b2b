"""ABD App: make untrusted image classifiers safe to use."""

from __future__ import annotations

__version__ = "0.1.0"
