"""Every file of a family is registered under its stem and imported by name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import bitprop.ops
from bitprop._registry import Registry
from bitprop.errors import RegistryError
from bitprop.ops import OPS, SOURCES

FOLDER = Path(bitprop.ops.__file__).parent


def imported_stems(text: str, package: str) -> set[str]:
    """Stems that ``from package import a, b`` or ``from package.a import …`` bring in."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module == package:
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(package + "."):
            found.add(str(node.module).removeprefix(package + "."))
    return found


def public_stems(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}


def test_every_operation_file_is_imported_and_registered_under_its_stem() -> None:
    stems = public_stems(FOLDER)
    text = (FOLDER / "__init__.py").read_text(encoding="utf-8")
    assert stems == imported_stems(text, "bitprop.ops") - {"_spec"}
    assert stems == set(OPS)
    for key in OPS:
        assert OPS[key].key == key


def test_every_verilog_file_belongs_to_an_operation() -> None:
    hardware = {key for key in OPS if OPS[key].module is not None}
    assert {path.stem for path in FOLDER.glob("*.v")} == hardware
    for key in hardware:
        assert OPS[key].module == f"bitprop_{key}"
        assert OPS[key].exportable
    assert {key for key in OPS if not OPS[key].exportable} == {"bernoulli"}


def test_every_source_is_an_operation() -> None:
    assert set(SOURCES) == {"lfsr", "sobol", "halton", "counter", "bernoulli"}
    assert set(SOURCES) < set(OPS)


def test_a_file_nobody_imports_is_noticed() -> None:
    assert imported_stems("from bitprop.ops import lfsr\nfrom bitprop.ops.sobol import X", "bitprop.ops") == {
        "lfsr",
        "sobol",
    }
    assert imported_stems("import bitprop.ops.lfsr", "bitprop.ops") == set()


def test_all_lists_what_exists() -> None:
    assert sorted(bitprop.ops.__all__) == sorted(set(bitprop.ops.__all__))
    assert all(hasattr(bitprop.ops, name) for name in bitprop.ops.__all__)


def test_registry_refuses_duplicates_and_unknown_names() -> None:
    registry: Registry[int] = Registry("colour")
    assert registry.add("red", 1) == 1
    assert registry.register("blue")(2) == 2
    assert (registry["red"], registry.names(), len(registry), list(registry)) == (
        1,
        ("red", "blue"),
        2,
        ["red", "blue"],
    )
    assert "red" in registry
    assert "green" not in registry
    with pytest.raises(RegistryError, match="colour 'red' is registered twice; choose another key"):
        registry.add("red", 3)
    with pytest.raises(RegistryError, match="expected a known colour, got 'green'; use one of: red, blue"):
        registry["green"]
    with pytest.raises(KeyError, match="one of: red, blue"):
        registry[["red"]]  # type: ignore[index]
    assert registry["red"] == 1
    with pytest.raises(RegistryError, match="use one of: none"):
        Registry[int]("shape")["x"]
