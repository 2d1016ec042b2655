"""Independent seeds from one: every random choice has a named stream, and no global generator is touched."""

from __future__ import annotations

import hashlib

from bitprop._checks import check_integer

__all__ = ["derive_seed"]


def derive_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream called ``names`` below ``seed``.

    The value is the leading 63 bits of SHA-256 over the seed and the names, so streams with different names
    are unrelated and adding one changes no other.

    Raises:
        RangeError: ``seed`` is not an integer in 0 .. 2**63 - 1.

    Example:
        >>> derive_seed(0, "weights", 1) == derive_seed(0, "weights", 1)
        True
        >>> derive_seed(0, "weights", 1) == derive_seed(0, "weights", 2)
        False
    """
    seed = check_integer("seed", seed, 0, 2**63 - 1)
    text = "\x1f".join([str(seed), *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
