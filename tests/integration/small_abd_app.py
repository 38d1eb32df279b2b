"""The command ``abd-app`` with the small fixed parts of these tests: ``python -m tests.integration.small_abd_app``."""

from __future__ import annotations

from abd_app.__main__ import main
from tests.integration.conftest import small_fixed_parts

if __name__ == "__main__":
    with small_fixed_parts():
        main()
