"""Files and folders that are damaged or of somebody else: one line and exit code 3, never a traceback."""

from __future__ import annotations

import gc
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bitprop.artifacts import read_json, sha256_file, write_json
from bitprop.handoff.checks import unrelated_problem
from bitprop.training.loop import CHECKPOINT
from helpers.command_line import blobs_csv, refused, run

# NumPy leaves it to the garbage collector to close a damaged archive; such a test collects before it ends
leaves_an_open_file = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


# --- what cannot be carried out -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere.toml"], "nowhere.toml"),
        (["train", "mnist"], "mnist"),
        (["train", "."], "TOML"),
        (["train", "c.toml/x"], "TOML"),
        (["train", "a" * 5000], "too long"),
        (["train", "run/model.safetensors"], "TOML"),
        (["train", "c.toml", "-o", "run"], "holds files"),
        (["train", "c.toml", "-o", "c.toml"], "file"),
        (["train", "c.toml", "-o", "c.toml/x"], "cannot write"),
        (["train", "c.toml", "-o", "c.toml/x", "--resume"], "none"),
        (["train", "c.toml", "-o", "/proc/x"], "cannot write"),
        (["train", "c.toml", "-o", "/proc/x", "--resume"], "none"),
        (["train", "c.toml", "-o", "a" * 5000], "too long"),
        (["train", "c.toml", "-o", "new", "--resume"], "none"),
        (["train", "c.toml", "-o", "run", "--resume", "--seed", "7"], "seed was 0 and is 7"),
        (["train", "c.toml", "-o", "run", "--resume", "--length-cost", "9"], "training.length_cost was 0.05"),
        (["train", "c.toml", "-o", "new", "--seed", "-1"], "seed"),
        (["train", "c.toml", "-o", "new", "--seed", "99999999999999999999"], "seed"),
        (["train", "c.toml", "-o", "new", "--length-cost", "nan"], "length_cost"),
        (["train", "c.toml", "-o", "new", "--length-cost", "-1"], "length_cost"),
        (["train", "c.toml", "-o", "new", "--data", "."], "digits"),
        (["train", "c.toml", "-o", "new", "--data", "nowhere.csv"], "nowhere.csv"),
        (["train", "c.toml", "-o", "new", "--data", "run.csv/x.csv"], "none"),
        (["train", "c.toml", "-o", "new", "--data", f"{'a' * 5000}.csv"], "too long"),
        (["train", "c.toml", "-o", "new", "--data", "\udcff.csv"], "none"),
        (["evaluate", "nowhere"], "none"),
        (["evaluate", "c.toml"], "none"),
        (["evaluate", "a" * 5000], "too long"),
        (["evaluate", "run", "--data", "digits"], "64"),
        (["evaluate", "run", "--data", "nowhere.npz"], "none"),
        (["export", "nowhere", "-o", "x"], "none"),
        (["export", "run", "-o", "run"], "other files"),
        (["export", "run", "-o", "."], "other files"),
        (["export", "run", "-o", "c.toml"], "file"),
        (["export", "run", "-o", "c.toml/x"], "cannot write"),
        (["export", "run", "-o", "/proc/x"], "cannot write"),
        (["export", "run", "-o", "/", "--bench", "cocotb"], "choose another folder"),
        (["export", "run", "-o", ".", "--bench", "cocotb"], "other files"),
        (["export", "run", "-o", "x", "--weights", "loadable"], "fold one"),
        (
            ["export", "run", "-o", "x", "--layer", "layer0:parallel", "--layer", "layer0:inputs=2"],
            "'layer0' more often",
        ),
        (["export", "run", "-o", "x", "--layer", ":parallel"], "got ''"),
        (["export", "run", "-o", "x", "--folds", "digits.toml"], "TOML"),
        (["export", "digits.json", "-o", "x"], "something else"),
        (["synth", "digits.json"], "something else"),
        (["synth", "handoff", "-o", "."], "add a file's name"),
        (["synth", "handoff", "-o", "c.toml/x.json"], "cannot write"),
        (["search", "budget.toml", "-o", "."], "add a file's name"),
        (["search", "budget.toml", "-o", "/"], "add a file's name"),
        (["search", "budget.toml", "-o", "run"], "add a file's name"),
        (["train", "digits.toml", "-o", "x"], "TOML"),
        (["train", "budget.toml", "-o", "x"], "nearest"),
        (["simulate", "nowhere"], "folder"),
        (["simulate", "c.toml"], "file"),
        (["simulate", "run"], "scnir_document.json"),
        (["simulate", "handoff", "-s", "modelsim"], "icarus, verilator"),
    ],
)
def test_a_command_that_cannot_be_carried_out_is_3(work: Path, arguments: list[str], message: str) -> None:
    (work / "budget.toml").write_text(f"{(work / 'c.toml').read_text()}[budget]\nlut = 1\n", encoding="utf-8")
    (work / "digits.json").write_text(f'{{"precision_bits": {"9" * 5000}}}', encoding="utf-8")
    (work / "digits.toml").write_text(f"seed = {'9' * 5000}\n", encoding="utf-8")
    before = sorted(path.as_posix() for path in work.rglob("*"))
    assert message in refused(*arguments)
    assert sorted(path.as_posix() for path in work.rglob("*")) == before


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def plain_zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("x.npy", b"not an array")
        archive.writestr("y.npy", b"")
    return stream.getvalue()


@leaves_an_open_file
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.csv", b""),
        ("d.csv", b"\n\n"),
        ("d.csv", b"a,b,label\n"),
        ("d.csv", b"1\n2\n"),
        ("d.csv", b"1,2,0\n1,2\n"),
        ("d.csv", b"1,2,0\n1,x,1\n"),
        ("d.csv", b"1,nan,0\n1,2,1\n" * 9),
        ("d.csv", b"1,1e999,0\n1,2,1\n" * 9),
        ("d.csv", b"1,2,0\n"),
        ("d.csv", b"1,2,0\n1,3,0\n" * 9),
        ("d.csv", b"0,0,0\n0,0,1\n" * 9),
        ("d.csv", b"1,2,0.5\n1,3,1\n" * 9),
        ("d.csv", b"1,2,-1\n1,3,1\n" * 9),
        ("d.csv", b"1,2,1e300\n1,3,1\n" * 9),
        ("d.csv", bytes(range(256)) * 4),
        ("d.csv", b"1,2,0\x00\n"),
        ("d.csv", b"\xff\xfe1\x00"),
        ("d.npz", b""),
        ("d.npz", b"PK\x03\x04 but no more"),
        ("d.npz", b"\x93NUMPY\x01\x00"),
        ("d.npz", npz(a=np.zeros(3))),
        ("d.npz", npz(x=np.zeros((4, 2)), y=np.zeros(5, dtype=int))),
        ("d.npz", npz(x=np.array(["a", "b"]), y=np.zeros(2, dtype=int))),
        ("d.npz", npz(x=np.full((9, 2), 1j), y=np.zeros(9, dtype=int))),
        ("d.npz", npz(x=np.array([{}, []], dtype=object), y=np.zeros(2, dtype=int))),
        ("d.npz", npz(x=np.ones((9, 2)), y=np.arange(9))[:-40]),
    ],
)
def test_hostile_data_is_3(work: Path, name: str, content: bytes) -> None:
    (work / name).write_bytes(content)
    refused("train", "c.toml", "-o", "new", "--data", name)
    assert not (work / "new").exists()
    refused("evaluate", "run", "--data", name)
    gc.collect()


@leaves_an_open_file
def test_an_archive_of_other_things_is_3(work: Path) -> None:
    (work / "d.npz").write_bytes(plain_zip())
    result = run("train", "c.toml", "-o", "new", "--data", "d.npz")
    assert (result.exit_code, result.stdout) == (3, "")
    gc.collect()


def test_a_data_file_whose_name_is_no_text(work: Path) -> None:
    """TOML holds Unicode only, so such a name cannot be recorded with the run."""
    name = os.fsdecode(b"d\xff.csv")
    (work / name).write_text(blobs_csv(), encoding="utf-8")
    assert "rename" in refused("train", "c.toml", "-o", "new", "--data", name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", None),
        ("name = ", "TOML"),
        ("\x00", "TOML"),
        ("[" * 3000, "TOML"),
        ("surprise = 1", "surprise"),
        ("seed = 1e400", "seed"),
        ("[network]\nhidden = []", None),
        ("[network]\nhidden = 3", "hidden"),
        ("[network]\nlengths = [[2], [4, 8], [16]]", "2 layers"),
        ("[network]\nlengths = [4, 4]", "increasing"),
        ("[data]\nsource = 7", "source"),
        ('[data]\nsource = "http://localhost/x.csv"', "found none"),
        ("[training]\nbatch_size = 0", "batch_size"),
        ("seed = true", "true or false"),
        ("[network]\nhidden = [true]", "true or false"),
        ("[network]\nlengths = [[2], [true]]", "true or false"),
        ("[budget]\nlut = true", "true or false"),
    ],
)
def test_hostile_configurations_are_3(work: Path, text: str, message: str | None) -> None:
    small = "" if "[training]" in text else "\n[training]\nwarmup_epochs = 0\njoint_epochs = 0\nfinish_epochs = 1\n"
    (work / "d.toml").write_text(text + small, encoding="utf-8")
    if message is None:  # not hostile at all: every field has a default
        assert run("train", "d.toml", "--data", "blobs.csv", "-o", "new").exit_code == 0
    else:
        assert message in refused("train", "d.toml", "-o", "new")
        assert not (work / "new").exists()


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(
            {
                "empty": b"",
                "cut": content[: len(content) // 2],
                "changed": content[:-9] + b"x" + content[-8:],
                "binary": bytes(range(256)),
                "list": b"[]",
                "object": b"{}",
            }[how]
        )


@pytest.mark.parametrize("how", ["missing", "folder", "empty", "cut", "changed", "binary", "list", "object"])
@pytest.mark.parametrize("name", ["config.toml", "model.safetensors", "summary.json"])
def test_damaged_runs_are_3(work: Path, name: str, how: str) -> None:
    damage(work / "run" / name, how)
    if (name, how) == ("summary.json", "changed"):  # not a field that anything depends on may have been hit
        assert run("evaluate", "run").exit_code in (0, 3)
        return
    refused("evaluate", "run")
    refused("export", "run", "-o", "other")
    assert not (work / "other").exists()


def mutated(content: bytes, generator: np.random.Generator) -> bytes:
    """A byte replaced, lost, repeated, or something unlikely put in."""
    place, kind = int(generator.integers(len(content))), int(generator.integers(4))
    head, tail = content[:place], content[place:]
    odd = (b"9" * 30, b"-", b"null", b"\x00", b"1e999", b"[[[[", b'"')[int(generator.integers(7))]
    return (
        head + bytes([int(generator.integers(256))]) + tail[1:],
        head + tail[3:],
        head + tail[:4] + tail,
        head + odd + tail,
    )[kind]


@pytest.mark.parametrize("name", ["config.toml", "model.safetensors", "blobs.csv"])
def test_random_damage_with_hashes_made_to_fit(work: Path, name: str, seed: int) -> None:
    generator = np.random.Generator(np.random.Philox(seed))
    file = work / name if name == "blobs.csv" else work / "run" / name
    content = file.read_bytes()
    for _ in range(40):
        if name == "model.safetensors":  # in the header, which says what the network is
            size = int.from_bytes(content[:8], "little")
            header = mutated(content[8 : 8 + size], generator)
            file.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + size :])
        else:
            file.write_bytes(mutated(content, generator))
        summary = read_json(work / "run" / "summary.json")
        summary["sha256"] = {part: sha256_file(work / "run" / part) for part in ("config.toml", "model.safetensors")}
        write_json(work / "run" / "summary.json", summary)
        result = run("evaluate", "run", "--data", "blobs.csv", "--json")
        assert result.exit_code in (0, 3), file.read_bytes()
        assert (result.stdout == "") == (result.exit_code == 3)
        assert "this is a defect" not in result.stderr, (result.stderr, file.read_bytes())


@pytest.mark.parametrize("how", ["folder", "empty", "cut", "binary", "list"])
def test_damaged_checkpoints_are_3(work: Path, how: str) -> None:
    model = (work / "run" / "model.safetensors").read_bytes()
    damage(work / "run" / CHECKPOINT, how)
    if how == "folder":  # no checkpoint: the run starts again, and cannot put its own there
        assert run("train", "c.toml", "-o", "run", "--resume").exit_code == 3
        return
    refused("train", "c.toml", "-o", "run", "--resume")
    assert (work / "run" / "model.safetensors").read_bytes() == model


@pytest.mark.parametrize("content", [[1, 2], {"version": 1}, "text", None, torch.zeros(3)])
def test_checkpoints_of_something_else_are_3(work: Path, content: object) -> None:
    torch.save(content, work / "run" / CHECKPOINT)
    result = run("train", "c.toml", "-o", "run", "--resume")
    assert result.exit_code == 3
    assert result.stderr.count("error:") == 1


@pytest.mark.parametrize("how", ["missing", "folder", "empty", "cut", "changed", "binary", "list", "object"])
@pytest.mark.parametrize("name", ["scnir_document.json", "vectors/inputs.txt", "rtl/files.f"])
def test_damaged_handoffs(work: Path, name: str, how: str, require_tool: Callable[[str], str]) -> None:
    require_tool("iverilog")
    damage(work / "handoff" / name, how)
    simulated = run("simulate", "handoff", "-s", "icarus", "--json")
    if (name, how) == ("vectors/inputs.txt", "cut"):  # fewer samples, as good as any; the audit misses them
        assert simulated.exit_code in (0, 3)
    else:
        assert simulated.exit_code == 3, simulated.output
        assert simulated.stdout == ""
    audited = run("audit", "handoff", "--json")
    assert audited.exit_code == 1
    assert json.loads(audited.stdout)["status"] == "fail"


def test_a_key_that_is_given_twice_is_named(work: Path) -> None:
    document = work / "handoff" / "scnir_document.json"
    text = document.read_text(encoding="utf-8")
    twice = text.replace('  "precision_bits": ', '  "precision_bits": 3,\n  "precision_bits": ', 1)
    assert twice != text
    document.write_text(twice, encoding="utf-8")
    for command in ("export", "simulate", "synth"):
        target = ("-o", "x") if command == "export" else ()
        assert "'precision_bits' twice" in refused(command, "handoff", *target)
    assert "'precision_bits' twice" in refused("export", str(document), "-o", "x")
    assert "'precision_bits' twice" in run("audit", "handoff", "--no-simulate").stdout
    summary = work / "run" / "summary.json"
    summary.write_text(summary.read_text(encoding="utf-8").replace("{", '{"epochs": 1,', 1), encoding="utf-8")
    assert "'epochs' twice" in refused("evaluate", "run")


def test_no_claim_hides_behind_a_key_that_is_given_twice() -> None:
    content = b'{"hardware_measurement_claimed": true, "hardware_measurement_claimed": false}'
    problem = unrelated_problem("beside.json", content)
    assert problem is not None
    assert "'hardware_measurement_claimed' twice" in problem


@pytest.mark.parametrize(
    "entry", ["/dev/zero", "/etc/passwd", "../vectors/inputs.txt", "-x.v", "a.v;b.v", "\0", "9" * 5000, "#.v"]
)
def test_a_file_list_that_leads_elsewhere_is_read_by_nobody(
    work: Path, entry: str, require_tool: Callable[[str], str]
) -> None:
    require_tool("iverilog")
    listed = work / "handoff" / "rtl" / "files.f"
    (listed.parent / "-x.v").write_text("", encoding="ascii")
    listed.write_text(f"{listed.read_text(encoding='ascii')}{entry}\n", encoding="ascii")
    assert "plain file names" in refused("simulate", "handoff", "-s", "icarus")
    assert "plain file names" in refused("synth", "handoff", "--no-cache")


@pytest.mark.parametrize("labels", [5, "abc", {}, True, 1.5, [{"a": 1}], 10**19, ["x"] * 4, [10**30] * 4, [True] * 4])
def test_labels_that_are_none_are_not_exported_again(work: Path, labels: object) -> None:
    expected = work / "handoff" / "vectors" / "expected.json"
    write_json(expected, {**read_json(expected), "labels": labels})
    assert "labels" in refused("export", "handoff", "-o", "again")
    assert not (work / "again").exists()


def test_an_audit_of_nothing_fails(work: Path) -> None:
    for place in ("nowhere", "c.toml", "run", "a" * 5000):
        result = run("audit", place, "--json")
        assert result.exit_code == 1
        assert json.loads(result.stdout)["status"] == "fail"
