"""``python -m bitprop``."""

from __future__ import annotations

from bitprop.cli import main

if __name__ == "__main__":
    main()
