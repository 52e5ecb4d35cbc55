"""`python -m tests.fuzz`: so many cases, or one of them again."""

from __future__ import annotations

import sys

from tests.fuzz.cli import main

sys.exit(main(sys.argv[1:]))
