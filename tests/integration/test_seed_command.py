"""The documented command, word for word, in an empty folder: its files, their fields, their bytes, their audit."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bitprop.graph.spec import SCHEMA_VERSION
from bitprop.handoff.audit import audit_folder
from bitprop.handoff.simulate import simulate_folder
from helpers.handoffs import kept_evidence

ROOT = Path(__file__).resolve().parents[2]
COMMAND = """
PYTHONPATH=src python tools/stochastic_backprop_benchmark.py \\
  --output benchmarks/results/stochastic_backprop_benchmark.json \\
  --export-manifest benchmarks/results/stochastic_backprop_export_manifest.json \\
  --estimator-regression-manifest benchmarks/results/stochastic_backprop_estimator_regression_manifest.json \\
  --handoff-dir benchmarks/results/stochastic_backprop_handoff \\
  --bitstream-length 256 \\
  --steps 32 \\
  --learning-rate 0.4
"""
EVIDENCE_SET = (
    "stochastic_backprop_benchmark.json",
    "stochastic_backprop_export_manifest.json",
    "stochastic_backprop_estimator_regression_manifest.json",
    "stochastic_backprop_handoff/scnir_document.json",
    "stochastic_backprop_handoff/scnir_source_manifest.json",
    "stochastic_backprop_handoff/stochastic_backprop_trained_design.v",
    "stochastic_backprop_handoff/stochastic_backprop_trained_design_parity.json",
    "stochastic_backprop_handoff/stochastic_backprop_handoff_audit.json",
)


def run_command(folder: Path) -> subprocess.CompletedProcess[str]:
    """Type the command into a shell, in a folder where ``src``, ``tools`` and ``python`` are this package's."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    for name in ("src", "tools"):
        (folder / name).symlink_to(ROOT / name)
    # a virtual environment's python finds its packages beside the name it is called by
    packages = os.pathsep.join(path for path in sys.path if path.endswith("site-packages"))
    script = (
        COMMAND.replace("PYTHONPATH=src ", f"PYTHONPATH={shlex.quote(f'src{os.pathsep}{packages}')} ")
        if packages
        else COMMAND
    )
    environment = {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(  # noqa: S602 - the documented text itself
        script,
        shell=True,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[[str], str]) -> Path:
    require_tool("iverilog")
    folder = tmp_path_factory.mktemp("first run")
    result = run_command(folder)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "handoff audit: valid" in result.stderr
    assert all((folder / line).is_file() for line in result.stdout.splitlines()), "standard output lists the files"
    return folder / "benchmarks" / "results"


def load(run: Path, name: str) -> dict[str, Any]:
    fields = json.loads((run / name).read_text(encoding="utf-8"))
    assert isinstance(fields, dict)
    return fields


def test_the_evidence_set_is_complete(run: Path) -> None:
    assert [name for name in EVIDENCE_SET if not (run / name).is_file()] == []
    assert sorted(path.name for path in run.iterdir()) == sorted({name.split("/")[0] for name in EVIDENCE_SET})


def test_a_second_run_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    assert run_command(second).returncode == 0
    results = second / "benchmarks" / "results"
    first_files = {path.relative_to(run): path.read_bytes() for path in run.rglob("*") if path.is_file()}
    second_files = {path.relative_to(results): path.read_bytes() for path in results.rglob("*") if path.is_file()}
    assert first_files.keys() == second_files.keys()
    assert [str(path) for path in first_files if first_files[path] != second_files[path]] == []


@pytest.mark.parametrize("name", [name for name in EVIDENCE_SET if name.endswith(".json")])
def test_every_artefact_states_its_boundary(run: Path, name: str) -> None:
    fields = load(run, name)
    assert fields["evidence_boundary"] == "local_simulation_and_executable_hdl_parity"
    assert fields["hardware_measurement_claimed"] is False
    assert fields["schema"].startswith("bitprop.")
    assert fields["schema_version"] == (SCHEMA_VERSION if name.endswith("scnir_document.json") else "1.0")


def test_nothing_of_this_machine_is_recorded(run: Path) -> None:
    for path in run.rglob("*"):
        if path.is_file():
            content = path.read_text(encoding="utf-8")
            assert str(run) not in content
            assert str(ROOT) not in content
            assert not re.search(r"\b20\d\d-\d\d-\d\d", content), f"{path.name} holds a date"


def test_the_selections_agree(run: Path) -> None:
    benchmark, manifest = load(run, EVIDENCE_SET[0]), load(run, EVIDENCE_SET[1])
    assert benchmark["joint_design"]["enabled"] is True
    assert manifest["joint_design"]["enabled"] is True
    for key in ("selected_bitstream_length", "selected_encoding", "correlation"):
        assert benchmark["joint_design"][key] == manifest["joint_design"][key] == benchmark[key] == manifest[key]
    config = manifest["selected_config"]
    assert config["bitstream_length"] == manifest["selected_bitstream_length"]


def test_every_design_variable_moves_and_matters(run: Path) -> None:
    benchmark = load(run, EVIDENCE_SET[0])
    initial, trained = benchmark["initial"], benchmark["trained"]
    assert benchmark["loss_reduction"]["relative"] > 0.9
    assert initial["expected_bitstream_length"] - trained["expected_bitstream_length"] > 50
    assert (
        trained["encoding_probabilities"]["sign_magnitude"]
        > 0.99
        > 0.5
        > initial["encoding_probabilities"]["sign_magnitude"]
    )
    assert trained["continuous_correlation"] > 0.4 > initial["continuous_correlation"] == 0.0
    # neither the shortest nor the longest candidate wins
    lengths = benchmark["task"]["design_space"]["bitstream_lengths"]
    assert benchmark["selected_bitstream_length"] in lengths[1:-1]
    for name, ablation in benchmark["ablations"].items():
        assert ablation["objective_excess"] > 0.02, name
        assert ablation["discrete_objective_excess"] > 0.02, name
    # the exported integers beat the best linear layer in floating point, which is where training started
    assert trained["exported_task_loss"] < 0.6 * benchmark["task"]["linear_fit_loss"]
    assert trained["held_out_exported_task_loss"] < 0.6 * benchmark["task"]["linear_fit_loss"]


def test_streams_and_constraints_are_there(run: Path) -> None:
    source = load(run, EVIDENCE_SET[4])
    document = load(run, EVIDENCE_SET[3])
    assert {stream["role"] for stream in source["streams"]} == {"activation", "weight", "correlation"}
    for stream in source["streams"]:
        assert stream["source"] == document["layers"][0][f"{stream['role']}_source"]
        assert stream["bitstream_length"] == document["layers"][0]["length"]
        assert len(stream["first_numbers"]) == 8
        assert "polynomial" in stream
    (constraint,) = source["correlation_constraints"]
    low, high = constraint["allowed"]
    assert low <= constraint["correlation"] <= high
    assert constraint["correlation_raw"] == document["layers"][0]["correlation_raw"]


def test_the_estimator_regression_passes(run: Path) -> None:
    fields = load(run, EVIDENCE_SET[2])
    assert fields["status"] == "pass"
    for name in (
        "all_variances_finite_nonnegative",
        "pathwise_variance_zero",
        "score_function_longest_below_shortest",
    ):
        assert fields["acceptance"][name] is True
    assert {"pathwise_relaxation", "straight_through", "score_function"} <= set(fields["estimators"])
    variance = load(run, EVIDENCE_SET[0])["estimator_variance"]["variance"]
    assert set(variance["pathwise_relaxation"].values()) == {0.0}
    assert variance["score_function"]["256"] < variance["score_function"]["32"]


def test_the_handoff_audit_is_valid(run: Path) -> None:
    fields = load(run, EVIDENCE_SET[7])
    assert fields["status"] == "valid"
    assert {check["status"] for check in fields["checks"]} == {"pass"}


def test_the_trained_design_runs_in_icarus(run: Path, tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    """Compile with plain iverilog, run with vvp; everything compared comes from the parity file."""
    parity = load(run, EVIDENCE_SET[6])
    design = run / EVIDENCE_SET[5]
    ports, wires, prints = [], [], []
    for name, port in parity["outputs"].items():
        sign = "signed " if port["signed"] else ""
        wires.append(f"wire {sign}[{port['width'] - 1}:0] {name};")
        ports.append(f".{name}({name})")
        prints.append(f'$display("{name}=%0d", {name});')
    bench = tmp_path / "bench.v"
    bench.write_text(
        f"module bench; {' '.join(wires)} {parity['module']} dut({', '.join(ports)});"
        f" initial begin #1; {' '.join(prints)} end endmodule\n",
        encoding="utf-8",
    )
    program = tmp_path / "design.vvp"
    subprocess.run([require_tool("iverilog"), "-o", program, design, bench], check=True, timeout=60)
    printed = subprocess.run(
        [require_tool("vvp"), program], check=True, timeout=60, capture_output=True, text=True
    ).stdout
    found = dict(line.split("=") for line in printed.splitlines())
    assert {name: int(value) for name, value in found.items()} == parity["expected"]
    benchmark = load(run, EVIDENCE_SET[0])
    assert parity["expected"]["selected_bitstream_length"] == benchmark["selected_bitstream_length"]
    assert parity["expected"]["correlation_q16"] == round(benchmark["correlation"] * 65536)
    assert parity["expected"]["expected_length_q16"] == round(
        benchmark["joint_design"]["expected_bitstream_length"] * 65536
    )
    assert parity["expected"]["encoding_flag"] == parity["encoding_flags"][benchmark["selected_encoding"]]


def test_the_audit_passes(run: Path) -> None:
    with kept_evidence():
        for part in ("", "stochastic_backprop_handoff"):
            result = audit_folder(run / part)
            assert result.passed, result.to_text()
            assert result.to_dict()["status"] == "pass"
            assert "pass" in result.to_text().splitlines()[-1]


def test_the_whole_network_has_parity(run: Path) -> None:
    result = simulate_folder(run / "stochastic_backprop_handoff", simulators=["icarus"], samples=8)
    assert result.status == "pass"
    assert result.samples >= 8


# --- wrong arguments ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_tool", ROOT / "tools" / "stochastic_backprop_benchmark.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def options(folder: Path, **changed: str) -> list[str]:
    values = {
        "output": str(folder / "b.json"),
        "export-manifest": str(folder / "e.json"),
        "estimator-regression-manifest": str(folder / "r.json"),
        "handoff-dir": str(folder / "handoff"),
        "bitstream-length": "64",
        "steps": "1",
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    return [word for name, value in values.items() for word in (f"--{name}", value)]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"bitstream_length": "100"}, "multiple of 8"),
        ({"bitstream_length": "many"}, "invalid int"),
        ({"steps": "0"}, "steps"),
        ({"learning_rate": "nan"}, "learning rate"),
        ({"learning_rate": "10", "steps": "32"}, "diverged"),
        ({"momentum": "1"}, "unrecognized"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_wrong_arguments_end_with_code_2(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, str], said: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        tool.main(options(tmp_path, **changed))
    assert caught.value.code == 2
    assert said in capsys.readouterr().err
    assert not any(path.is_file() for path in tmp_path.rglob("*")), "nothing is left behind"


def test_paths_that_collide_end_with_code_2(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for changed in ({"output": str(tmp_path / "e.json")}, {"output": str(tmp_path / "handoff" / "b.json")}):
        with pytest.raises(SystemExit) as caught:
            tool.main(options(tmp_path, **changed))
        assert caught.value.code == 2
    assert "different outputs" in capsys.readouterr().err


def test_paths_that_cannot_be_written_end_with_code_1(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine", encoding="utf-8")
    for changed in (
        {"output": str(tmp_path / "file" / "b.json")},
        {"handoff_dir": str(tmp_path / "file")},
        {"handoff_dir": str(tmp_path / "full")},
        {"output": str(tmp_path / "full")},
    ):
        assert tool.main(options(tmp_path, **changed)) == 1
        assert "error: " in capsys.readouterr().err
    assert (tmp_path / "full" / "thesis.txt").read_text(encoding="utf-8") == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full"]


def test_without_icarus_nothing_is_called_valid(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BITPROP_IVERILOG", str(tmp_path / "absent"))
    assert tool.main(options(tmp_path)) == 1
    assert "parity was not run" in capsys.readouterr().err
    audit = json.loads((tmp_path / "handoff" / "stochastic_backprop_handoff_audit.json").read_text(encoding="utf-8"))
    assert audit["status"] == "invalid"
    assert not audit_folder(tmp_path).passed
