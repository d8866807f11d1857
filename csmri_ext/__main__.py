"""``python -m csmri_ext COMMAND ...``, as ``csmri COMMAND ...``."""

from __future__ import annotations

import sys

from csmri_ext.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
