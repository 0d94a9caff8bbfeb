"""``python -m scantling``."""

from __future__ import annotations

import sys

from scantling.cli import main

if __name__ == "__main__":
    sys.exit(main())
