"""``python -m baselines.compare [FILES...]``: the comparison of methods, as ``csmri compare``."""

from __future__ import annotations

import sys

from csmri_ext.commands.compare import main

if __name__ == "__main__":
    sys.exit(main(program="python -m baselines.compare"))
