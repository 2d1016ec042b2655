"""LUT4 per product of each encoding: gate, sign and parallel counter, synthesised with Yosys for iCE40.

The figures are ``LUT_PER_PRODUCT`` of ``bitprop.training.resource``.  Needs ``yosys`` on PATH.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from _common import markdown

from bitprop.ops import verilog_path
from bitprop.training.resource import LUT_PER_PRODUCT

CODES = {"unipolar": 0, "bipolar": 1, "sign_magnitude": 2}


def luts(yosys: str, encoding: str, inputs: int) -> int:
    """LUT4 of ``inputs`` products and their counter; half of the signs are negative."""
    negative = f"{{{inputs // 2}{{2'b01}}}}" if encoding == "sign_magnitude" else f"{{{inputs}{{1'b0}}}}"
    bits = inputs.bit_length() + 2
    top = f"""module top(input wire [{inputs - 1}:0] x, w, output wire signed [{bits - 1}:0] c);
wire [{inputs - 1}:0] product, negative = {negative};
bitprop_multiply #(.INPUTS({inputs}), .ENCODING({CODES[encoding]})) multiply
    (.x_bits(x), .w_bits(w), .negative(negative), .product_bits(product));
bitprop_count #(.INPUTS({inputs}), .ENCODING({CODES[encoding]}), .WIDTH({bits})) count
    (.product_bits(product), .negative(negative), .contribution(c));
endmodule
"""
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "top.v").write_text(top, encoding="utf-8")
        for key in ("multiply", "count"):
            shutil.copyfile(verilog_path(key), Path(scratch) / f"{key}.v")
        script = "read_verilog -sv multiply.v count.v top.v; synth_ice40 -top top; stat"
        done = subprocess.run(
            [yosys, "-p", script], cwd=scratch, capture_output=True, text=True, timeout=600, check=True
        )
    found = re.findall(r"SB_LUT4\s+(\d+)", done.stdout)
    return int(found[-1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=64, help="products, an even number")
    arguments = parser.parse_args()
    yosys = shutil.which("yosys")
    if yosys is None:
        sys.exit("expected yosys on PATH, found none; install it (Debian: apt install yosys)")
    rows = []
    for encoding, stored in LUT_PER_PRODUCT.items():
        count = luts(yosys, encoding, arguments.inputs)
        rows.append([encoding, str(count), f"{count / arguments.inputs:.4f}", f"{stored:.4f}"])
    print(markdown(["encoding", "LUT4", "per product", "stored"], rows))


if __name__ == "__main__":
    main()
