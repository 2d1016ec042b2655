"""bitprop: train networks that compute in bits, prove their gradients, hand them to hardware.

The integer wing (``bitprop.ops``, ``bitprop.graph``, ``bitprop.hdl``, ``bitprop.toolchain``) never imports
torch; import the part you need.
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
