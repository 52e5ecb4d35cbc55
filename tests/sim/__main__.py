"""`python -m tests.sim`: one seed with its trace, or many of them."""

from __future__ import annotations

import sys

from tests.sim.cli import main

sys.exit(main(sys.argv[1:]))
