"""``python -m neurosim_ep`` is the command ``neurosim-ep``."""

from __future__ import annotations

import sys

from neurosim_ep.cli import main

sys.exit(main())
