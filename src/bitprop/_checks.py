"""Argument checks with one message style: expected what, got what, do what."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TypeVar

from bitprop.errors import RangeError

__all__ = ["check_choice", "check_identifier", "check_integer", "check_real", "one_line", "shortened"]

_Choice = TypeVar("_Choice", bound=str)
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,62}")
# IEEE 1800-2017 reserved words that a lower-case identifier could collide with.
_RESERVED = frozenset(
    """accept_on alias always always_comb always_ff always_latch and assert assign assume automatic before begin
    bind bins binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle checker class clocking cmos
    config const constraint context continue cover covergroup coverpoint cross deassign default defparam design
    disable dist do edge else end endcase endchecker endclass endclocking endconfig endfunction endgenerate
    endgroup endinterface endmodule endpackage endprimitive endprogram endproperty endspecify endsequence
    endtable endtask enum event eventually expect export extends extern final first_match for force foreach
    forever fork forkjoin function generate genvar global highz0 highz1 if iff ifnone ignore_bins illegal_bins
    implements implies import incdir include initial inout input inside instance int integer interconnect
    interface intersect join join_any join_none large let liblist library local localparam logic longint
    macromodule matches medium modport module nand negedge nettype new nexttime nmos nor noshowcancelled not
    notif0 notif1 null or output package packed parameter pmos posedge primitive priority program property
    protected pull0 pull1 pulldown pullup pulsestyle_ondetect pulsestyle_onevent pure rand randc randcase
    randsequence rcmos real realtime ref reg reject_on release repeat restrict return rnmos rpmos rtran rtranif0
    rtranif1 s_always s_eventually s_nexttime s_until s_until_with scalared sequence shortint shortreal
    showcancelled signed small soft solve specify specparam static string strong strong0 strong1 struct super
    supply0 supply1 sync_accept_on sync_reject_on table tagged task this throughout time timeprecision timeunit
    tran tranif0 tranif1 tri tri0 tri1 triand trior trireg type typedef union unique unique0 unsigned until
    until_with untyped use uwire var vectored virtual void wait wait_order wand weak weak0 weak1 while wildcard
    wire with within wor xnor xor""".split()
)


def shortened(value: object) -> str:
    """``repr`` of a value, at most 60 characters of it, for a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def one_line(error: Exception) -> str:
    """The message of an error of another library's, its first two lines as one."""
    if type(error) is KeyError:
        return f"it lacks {error}"
    return " ".join(line.strip() for line in str(error).splitlines()[:2]) or type(error).__name__


def check_integer(name: str, value: object, low: int, high: int) -> int:
    """Return ``value`` as an ``int`` in ``low .. high`` inclusive.

    Raises:
        RangeError: not an integer (a bool is none), or out of range.
    """
    # numpy integers pass through __index__; bool does too, but a flag is not a number
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise RangeError(f"expected {name} to be an integer in {low} .. {high}, got {value!r}")
    number = int(value.__index__())
    if not low <= number <= high:
        raise RangeError(f"expected {name} in {low} .. {high}, got {number}; choose a value in that range")
    return number


def check_real(name: str, value: object, low: float, high: float) -> float:
    """Return ``value`` as a finite ``float`` in ``low .. high`` inclusive.

    Raises:
        RangeError: not a real number, NaN, infinite, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RangeError(f"expected {name} to be a real number in {low:g} .. {high:g}, got {value!r}")
    number = float(value)
    if not math.isfinite(number) or not low <= number <= high:
        raise RangeError(f"expected {name} in {low:g} .. {high:g}, got {number!r}; choose a value in that range")
    return number


def check_choice(name: str, value: object, choices: Sequence[_Choice]) -> _Choice:
    """Return the one of ``choices`` that ``value`` is.

    Raises:
        RangeError: it is none of them.
    """
    for choice in choices:
        if isinstance(value, str) and value == choice:
            return choice
    raise RangeError(f"expected {name} to be one of {', '.join(choices)}; got {value!r}")


def check_identifier(name: str, value: object) -> str:
    """Return ``value`` if it is safe as a Verilog identifier and as a file name.

    Accepted: a lower-case letter, then at most 62 lower-case letters, digits or underscores, and no word
    that IEEE 1800-2017 reserves.

    Raises:
        RangeError: it is not.
    """
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value) or value in _RESERVED:
        raise RangeError(
            f"expected {name} to be a lower-case identifier of at most 63 characters that Verilog does not "
            f"reserve, got {value!r}; use letters, digits and underscores, a letter first"
        )
    return value
