"""A module imports only from lower floors; two wings meet in ``lower``; only one of them knows torch.

Read from the source text: imports inside functions and under ``TYPE_CHECKING`` count.  Every module has a floor; a
new one without fails here and is given one in ``FLOORS``.
"""

from __future__ import annotations

import ast
import functools
import graphlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

INTEGER, LEARNING, BOTH = "integer wing", "learning wing", "both wings"


@dataclass(frozen=True)
class Place:
    """Where modules live: ``step`` orders places inside a floor; those of one step and floor may be ``peers``."""

    floor: int
    step: int
    wing: str
    prefixes: tuple[str, ...]
    peers: bool = False

    @property
    def rank(self) -> tuple[int, int]:
        return self.floor, self.step


# "a.b" is that module, "a.b.*" the package and all below it; the longest prefix decides
FLOORS = (
    Place(0, 0, BOTH, ("bitprop", "bitprop.errors")),
    Place(0, 1, BOTH, ("bitprop._registry", "bitprop._checks", "bitprop.presets.*")),
    Place(0, 2, BOTH, ("bitprop.baseline",)),
    Place(0, 2, BOTH, ("bitprop.formats", "bitprop.seeds", "bitprop.artifacts")),
    Place(0, 3, BOTH, ("bitprop._lock",)),
    Place(0, 3, BOTH, ("bitprop.data", "bitprop.layer_quantities")),
    Place(0, 4, BOTH, ("bitprop.synthetic", "bitprop.cost")),
    Place(1, 0, BOTH, ("bitprop.ops.*",)),
    Place(1, 0, BOTH, ("bitprop.kernels.*",)),
    Place(1, 1, BOTH, ("bitprop.streams",)),
    Place(2, 0, INTEGER, ("bitprop.graph.*",)),
    Place(2, 1, INTEGER, ("bitprop.hdl.*",)),
    Place(2, 1, INTEGER, ("bitprop.toolchain.*",)),
    Place(2, 1, INTEGER, ("bitprop.baseline.document",)),
    Place(2, 2, INTEGER, ("bitprop.baseline.emitter",)),
    Place(
        2,
        0,
        LEARNING,
        ("bitprop.training", "bitprop.training.resource", "bitprop.training.checkpoint", "bitprop.surrogate.*"),
    ),
    Place(2, 1, LEARNING, ("bitprop.training.sc_estimators.*",)),
    Place(2, 2, LEARNING, ("bitprop.nn.*",)),
    Place(2, 2, LEARNING, ("bitprop.baseline.quantised",)),
    Place(
        2,
        3,
        LEARNING,
        (
            "bitprop.training.stochastic_backprop",
            "bitprop.training.loop",
            "bitprop.training.outcome",
            "bitprop.training.config",
            "bitprop.training.costs",
            "bitprop.training.spiking",
        ),
        peers=True,
    ),
    Place(3, 0, BOTH, ("bitprop.lower.*", "bitprop.baseline.lower")),
    Place(
        4,
        0,
        BOTH,
        (
            "bitprop.verification.*",
            "bitprop.handoff.*",
            "bitprop.runs",
            "bitprop.budget",
            "bitprop.design_search",
            "bitprop.environment",
        ),
        peers=True,
    ),
    Place(
        5,
        0,
        BOTH,
        ("bitprop.cli.*", "bitprop.report.*", "bitprop.testing.*", "bitprop.demo.*", "bitprop.__main__", "tools.*"),
        peers=True,
    ),
)

TORCH = frozenset({"torch", "lightning_fabric", "lightning", "snntorch", "spikingjelly", "norse", "sinabs"})
# Delayed imports that close a cycle inside one package, each with its reason; the aim is none.
DELAYED = {
    # an estimator's target gradient is, unless it says otherwise, the oracle's exact sum
    ("bitprop.training.sc_estimators._estimator", "bitprop.training.sc_estimators.enumeration"),
}
LOW_THIRD_PARTY = {"bitprop.data": frozenset({"numpy", "sklearn"}), "bitprop.cost": frozenset({"numpy", "scipy"})}


def place_of(module: str) -> tuple[Place, str] | None:
    """The place of a module and the prefix that put it there."""
    found = [
        (place, prefix)
        for place in FLOORS
        for prefix in place.prefixes
        if module == prefix.removesuffix(".*") or (prefix.endswith(".*") and module.startswith(prefix[:-1]))
    ]
    return max(found, key=lambda item: len(item[1])) if found else None


@functools.cache
def imports_of(module: str, text: str, is_package: bool) -> tuple[str, ...]:
    """Every dotted name a module imports, ``from a import b`` as ``a.b``."""
    return tuple(_imports_of(module, text, is_package))


def _imports_of(module: str, text: str, is_package: bool) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".") if is_package else module.split(".")[:-1]
                parents = parents[: len(parents) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            yield from (
                arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
            )


def resolve(name: str, modules: Mapping[str, str]) -> str | None:
    """The module of this tree that a dotted name leads to, or ``None`` for somebody else's."""
    while name:
        if name in modules:
            return name
        name = name.rpartition(".")[0]
    return None


def violations(modules: Mapping[str, str], packages: frozenset[str] = frozenset()) -> list[str]:
    """What is wrong with the imports of these modules (dotted name to source text)."""
    wrong: list[str] = []
    for module, text in modules.items():
        here = place_of(module)
        if here is None:
            wrong.append(f"{module} has no floor; give it one in tests/test_floors.py")
            continue
        place, prefix = here
        for name in imports_of(module, text, module in packages):
            top = name.partition(".")[0]
            if top in TORCH and not (place.wing == LEARNING or place.floor >= 3):
                wrong.append(f"{module} imports {name}: this part of floor {place.floor} does without torch")
                continue
            target = resolve(name, modules)
            if target is None:
                allowed = LOW_THIRD_PARTY.get(module, frozenset({"numpy"}))
                if place.floor <= 1 and top not in sys.stdlib_module_names | allowed and top != "__future__":
                    wrong.append(f"{module} imports {name}: floors 0 and 1 use the standard library and NumPy")
                continue
            there = place_of(target)
            if there is None or target == module:
                continue  # reported where it stands
            other, other_prefix = there
            crossing = {place.wing, other.wing} == {INTEGER, LEARNING}
            neighbours = prefix == other_prefix or (place is other and place.peers)
            if crossing or not (neighbours or other.rank < place.rank):
                wrong.append(f"{module} (floor {place.rank}) imports {target} (floor {other.rank}, {other.wing})")
    return wrong


def read_tree() -> tuple[dict[str, str], frozenset[str]]:
    modules, packages = {}, set()
    files = [(path, ROOT / "src") for path in (ROOT / "src" / "bitprop").rglob("*.py")]
    files += [(path, ROOT) for path in (ROOT / "tools").rglob("*.py")]
    for path, base in sorted(files):
        parts = path.relative_to(base).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
            packages.add(".".join(parts))
        modules[".".join(parts)] = path.read_text(encoding="utf-8")
    return modules, frozenset(packages)


def test_no_module_imports_upwards() -> None:
    modules, packages = read_tree()
    assert len(modules) > 20
    assert violations(modules, packages) == []


def test_imports_have_no_cycle() -> None:
    modules, packages = read_tree()
    graph = {}
    for module, text in modules.items():
        targets = {resolve(name, modules) for name in imports_of(module, text, module in packages)}
        targets -= {None, module, "bitprop"} | {target for source, target in DELAYED if source == module}
        graph[module] = targets
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"imports in a cycle: {' < '.join(error.args[1])}")


def test_training_package_imports_nothing() -> None:
    tree = ast.parse((ROOT / "src" / "bitprop" / "training" / "__init__.py").read_text(encoding="utf-8"))
    imported = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [line for line in imported if line != "from __future__ import annotations"] == []


def loaded(code: str, *names: str) -> set[str]:
    """Which of the modules a new Python has loaded after the code."""
    script = f"import sys\n{code}\nprint(*(set({names!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    return set(done.stdout.split())


def test_integer_wing_does_not_load_torch() -> None:
    wing = "import bitprop.ops, bitprop.streams, bitprop.graph, bitprop.hdl, bitprop.toolchain"
    assert loaded(wing, "torch", "bitprop.ops") == {"bitprop.ops"}


def test_networks_and_their_verification_do_not_load_the_compiler() -> None:
    """It takes longer than all of PyTorch besides; training needs it, as PyTorch's optimisers do."""
    heavy = ("torch._dynamo", "sympy", "lightning_fabric", "scipy.stats", "scipy.optimize")
    code = """
import torch, bitprop.nn, bitprop.verification.suite, bitprop.training.loop
network = bitprop.nn.SCNetwork((4, 3, 2), lengths=(8, 16))
network(torch.rand(5, 4)).sum().backward()
network.forward_raw(torch.ones(5, 4, dtype=torch.int64))
spiking = bitprop.nn.SpikingNetwork((4, 3, 2))
spiking(torch.rand(6, 5, 4))[0].sum().backward()
"""
    assert loaded(code, *heavy, "bitprop.nn") == {"bitprop.nn"}


_BASE = {
    "bitprop.errors": "",
    "bitprop.ops": "",
    "bitprop.graph.spec": "",
    "bitprop.nn.linear": "",
    "bitprop.lower": "",
}


@pytest.mark.parametrize(
    ("module", "text", "words"),
    [
        ("bitprop.formats", "import bitprop.ops", "bitprop.ops (floor (1, 0)"),
        ("bitprop.formats", "def f():\n    from bitprop import ops", "bitprop.ops (floor (1, 0)"),
        ("bitprop.formats", "if TYPE_CHECKING:\n    from bitprop.ops import OPS", "bitprop.ops (floor (1, 0)"),
        ("bitprop.formats", "from .ops import OPS", "bitprop.ops (floor (1, 0)"),
        ("bitprop.formats", "import importlib\nimportlib.import_module('bitprop.ops')", "bitprop.ops (floor (1, 0)"),
        ("bitprop.formats", "import scipy", "standard library and NumPy"),
        ("bitprop.ops.fast", "import torch.nn", "does without torch"),
        ("bitprop.graph.spec2", "from torch import nn", "does without torch"),
        ("bitprop.graph.spec2", "from bitprop.nn import linear", "learning wing"),
        ("bitprop.nn.fast", "from bitprop.graph.spec import Document", "integer wing"),
        ("bitprop.nn.fast", "from bitprop.lower import lower", "bitprop.lower (floor (3, 0)"),
        ("bitprop.toolchain.ghdl", "from bitprop.hdl import emit", "bitprop.hdl (floor (2, 1)"),
        ("bitprop.training.sc_estimators.mine", "from bitprop.nn.linear import SCLinear", "bitprop.nn.linear"),
        ("bitprop.novelty", "", "has no floor"),
    ],
)
def test_planted_violations_are_found(module: str, text: str, words: str) -> None:
    found = violations({**_BASE, "bitprop.hdl": "", module: text})
    assert len(found) == 1
    assert words in found[0]


def test_legal_imports_are_not_reported() -> None:
    legal = {
        "bitprop.data": "import numpy\nimport sklearn.datasets\nimport json\nfrom bitprop.errors import DataError",
        "bitprop.graph.run": "from bitprop.graph.spec import Document\nfrom bitprop.ops import OPS",
        "bitprop.nn.network": "import torch\nfrom bitprop.nn.linear import SCLinear",
        "bitprop.verification.all": "import torch\nfrom bitprop import lower\nfrom bitprop.graph import spec",
    }
    assert violations({**_BASE, **legal}) == []
