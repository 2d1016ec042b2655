"""The command: exit codes, faces, and every way of calling it wrongly."""

from __future__ import annotations

import importlib.metadata
import json
import re
import warnings
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from bitprop.cli.app import app

MODEL = """
import torch
from torch import nn
from torch.nn import functional
from bitprop.surrogate import make_surrogate
from bitprop.verification.claim import Claim

class Net(nn.Module):
    def __init__(self, scale=25.0, cut=False):
        super().__init__()
        self.fc = nn.Linear(4, 6)
        with torch.no_grad():
            self.fc.weight.copy_(torch.linspace(-1.0, 1.5, 24).reshape(6, 4))
        self.spike, self.cut = make_surrogate("fast_sigmoid", scale), cut
    def forward(self, x):
        u, total = torch.zeros(x.shape[1], 6), 0.0
        for x_t in x:
            u = 0.9 * u + self.fc(x_t)
            s = self.spike(u - 1.0)
            u = u - (s.detach() if self.cut else s)
            total = total + s
        return total

def data():
    x = torch.rand(6, 5, 4, generator=torch.Generator().manual_seed(0))
    return x, torch.tensor([0, 1, 2, 3, 4])

def build():
    return (Net(), *data(), functional.cross_entropy)

def wrong():
    x, y = data()
    claim = Claim(surrogate="fast_sigmoid", scale=25.0)
    return {"model": Net(24.0), "inputs": x, "targets": y, "loss": functional.cross_entropy, "claim": claim}

def detached():
    return (Net(cut=True), *data(), functional.cross_entropy)

def silent():
    net = Net()
    with torch.no_grad():
        net.fc.weight.zero_(), net.fc.bias.fill_(-1.0)
    return (net, *data(), functional.cross_entropy)

def no_parameters():
    return (nn.ReLU(), *data(), lambda o, y: o.sum())

def not_scalar():
    return (Net(), *data(), lambda o, y: o)

def nan():
    x, y = data()
    return (Net(), x * float("nan"), y, functional.cross_entropy)

def stateful():
    class Keeps(Net):
        def forward(self, x):
            self.count = getattr(self, "count", 0) + 1
            return super().forward(x) * self.count
    return (Keeps(), *data(), functional.cross_entropy)

def random():
    class Draws(Net):
        def forward(self, x):
            return super().forward(x) + torch.rand(1)
    return (Draws(), *data(), functional.cross_entropy)

def one_argument():
    return (nn.Linear(4, 2), data()[0], None, lambda output: output.square().sum())

def named_arguments():
    return (nn.Linear(4, 2), {"input": data()[0]}, None, lambda output: output.square().sum())

def gradients_off():
    torch.set_grad_enabled(False)
    return build()

def compiled_to_script():
    return (torch.jit.trace(nn.Linear(4, 2), data()[0]), data()[0], None, lambda output: output.square().sum())

def lazy():
    return (nn.LazyLinear(2), data()[0], None, lambda output: output.square().sum())

def missing():
    import no_such_framework

def raises():
    raise ValueError("by design")

def nothing():
    return None

text = "no function"
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "my_model.py"
    path.write_text(MODEL, encoding="utf-8")
    return path


def run(*arguments: str) -> tuple[int, str]:
    with warnings.catch_warnings(), torch.enable_grad():  # a file of a test turns gradients off; tracing is deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        result = CliRunner().invoke(app, ["verify", *arguments])
    assert "Traceback" not in result.output
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("name", "options", "code", "words"),
    [
        ("build", [], 0, "PASS"),
        ("build", ["--surrogate", "fast_sigmoid", "--scale", "25", "--reset", "attached"], 0, "reset attached"),
        ("build", ["--surrogate", "atan"], 1, "FAIL"),
        ("build", ["--surrogate", "fast_sigmoid", "--scale", "25.025"], 1, "ratio"),
        ("build", ["--reset", "detached"], 1, "its reset is attached"),
        ("wrong", [], 1, "FAIL"),
        ("wrong", ["--surrogate", "fast_sigmoid", "--scale", "24"], 0, "PASS"),
        ("detached", ["--reset", "detached"], 0, "PASS"),
        ("detached", ["--reset", "attached"], 1, "detaches a spike"),
        ("build", ["--suite", "full", "--surrogate", "fast_sigmoid", "--scale", "25"], 0, "smooth_taylor"),
        ("no_parameters", [], 2, "no trainable parameter"),
        ("silent", [], 2, "no neuron fires"),
        ("stateful", [], 1, "keeps state between calls"),
        ("random", [], 2, "draws random numbers"),
        ("not_scalar", [], 3, "expected the loss to be one floating-point number"),
        ("nan", [], 3, "expected finite inputs"),
        ("one_argument", [], 0, "finite_difference"),
        ("named_arguments", [], 0, "finite_difference"),
        ("gradients_off", ["--surrogate", "fast_sigmoid"], 0, "PASS"),
        ("compiled_to_script", [], 3, "got TorchScript"),
        ("lazy", [], 3, "got lazy ones"),
        ("missing", [], 3, "needs the package no_such_framework"),
        ("raises", [], 3, "raised ValueError: by design"),
        ("nothing", [], 3, "expected nothing()"),
        ("text", [], 3, "to be a function"),
        ("absent", [], 3, "it has: "),
        ("build", ["--suite", "slow"], 3, "quick, full"),
        ("build", ["--surrogate", "mine"], 3, "expected surrogate to be one of"),
        ("build", ["--scale", "3"], 3, "expected a surrogate beside scale"),
        ("build", ["--reset", "half"], 3, "expected reset to be one of"),
        ("build", ["--spike", "nowhere"], 3, "package.module:attribute"),
        ("build", ["--spike", "my_model:nowhere"], 3, "expected a spike function at my_model:nowhere"),
        ("build", ["--claim", "nowhere.toml"], 3, "expected a claim at nowhere.toml"),
    ],
)
def test_exit_codes(model: Path, name: str, options: list[str], code: int, words: str) -> None:
    exit_code, output = run(f"{model}:{name}", *options)
    assert exit_code == code, output
    assert words in output


@pytest.mark.parametrize(
    "target", ["nowhere.py:build", "nowhere", "model.txt:build", "my-model.py:build", ":build", "a.py:b c"]
)
def test_targets_that_are_none(target: str) -> None:
    code, output = run(target)
    assert code == 3
    assert "expected" in output


def test_a_file_that_does_not_parse(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("def build(:\n")
    code, output = run(f"{path}:build")
    assert code == 3
    assert "SyntaxError" in output


def test_claim_from_a_file(model: Path, tmp_path: Path) -> None:
    claim = tmp_path / "claim.toml"
    claim.write_text('surrogate = "fast_sigmoid"\nscale = 25.0\nreset = "attached"\n')
    assert run(f"{model}:build", "--claim", str(claim))[0] == 0
    claim.write_text('surrogate = "fast_sigmoid"\nscale = 25.0\nreset = "attached"\nresets = 3\n')
    code, output = run(f"{model}:build", "--claim", str(claim))
    assert code == 3
    assert "resets" in output
    claim.write_text('[[site]]\nmodule = "*"\nsurrogate = "atan"\n')
    assert run(f"{model}:build", "--claim", str(claim))[0] == 1


def test_json_and_html(model: Path, tmp_path: Path) -> None:
    json_file, page = tmp_path / "deep" / "report.json", tmp_path / "deep" / "report.html"
    code, output = run(
        f"{model}:build",
        "--suite",
        "full",
        "--surrogate",
        "fast_sigmoid",
        "--json",
        str(json_file),
        "--html",
        str(page),
    )
    assert code == 0, output
    report = json.loads(json_file.read_text())
    assert report["status"] == "PASS"
    assert report["schema_version"] == "1.0"
    assert {result["name"] for result in report["results"]} >= {"determinism", "tangent_replay", "detach_audit"}
    text = page.read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert "Computed against claimed" in text
    assert "<script" not in text
    code, output = run(f"{model}:build", "--json", "-")
    assert code == 0
    assert json.loads(output)["status"] == "PASS"


TRAINED = """
import torch
from torch import nn
from torch.nn import functional
from bitprop.nn.spiking import SpikingNetwork
from bitprop.synthetic import yin_yang
from bitprop.verification.claim import Claim

def snn(seed):
    return SpikingNetwork((4, 20, 3), steps=8, surrogate="atan", scale=2.0, seed=seed)

def ann(seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 20), nn.ReLU(), nn.Linear(20, 3))

def loss(output, y):
    return functional.cross_entropy(getattr(output, "logits", output), y)

def build():
    (x, y), test = (tuple(torch.from_numpy(a) for a in yin_yang(n, seed)) for n, seed in ((60, 0), (30, 1)))
    return {
        "model": snn(0), "inputs": x[:30], "targets": y[:30], "loss": loss,
        "claim": Claim(surrogate="atan", scale=2.0, reset="attached"),
        "loader": [(x[:30], y[:30]), (x[30:], y[30:])], "epochs": 2,
        "optimizer": lambda parameters: torch.optim.Adam(parameters, lr=5e-3),
        "snn_factory": snn, "ann_factory": ann, "test": test,
    }

def half():
    return {**build(), "ann_factory": None}

def no_loader():
    return {key: value for key, value in build().items() if key != "loader"}

def used_up():
    return {**build(), "loader": iter(build()["loader"])}

def no_epochs():
    return {**build(), "epochs": 0}
"""


def test_the_full_suite_trains_where_the_file_says_with_what(tmp_path: Path) -> None:
    (tmp_path / "trained.py").write_text(TRAINED, encoding="utf-8")
    target, page, json_file = f"{tmp_path}/trained.py:build", tmp_path / "page.html", tmp_path / "report.json"
    code, output = run(target, "--suite", "full", "--html", str(page), "--json", str(json_file))
    assert code == 0, output
    report = json.loads(json_file.read_text())
    names = {result["name"] for result in report["results"]}
    assert {"adjoint", "kernel_parity", "jvp_vjp", "smooth_taylor", "gradient_stability", "weight_stability"} <= names
    assert report["convergence"]["verdict"] in output
    assert "spiking less conventional accuracy" in output
    assert {"Loss", "Accuracy against synaptic operations"} <= set(
        re.findall(r"<h[23][^>]*>([^<]+)<", page.read_text())
    )
    assert "convergence" not in run(target)[1]  # the quick suite does not train


@pytest.mark.parametrize(
    ("name", "word"),
    [("half", "together"), ("no_loader", "loader"), ("used_up", "again and again"), ("no_epochs", "epochs")],
)
def test_what_the_training_lacks(tmp_path: Path, name: str, word: str) -> None:
    (tmp_path / "trained.py").write_text(TRAINED, encoding="utf-8")
    code, output = run(f"{tmp_path}/trained.py:{name}", "--suite", "full")
    assert code == 3
    assert word in output
    assert "Traceback" not in output


def test_output_that_cannot_be_written(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, output = run(f"{model}:build", "--json", str(tmp_path / "file" / "report.json"))
    assert code == 3
    assert "cannot write" in output
    code, output = run(f"{model}:build", "--json", "/dev/null")
    assert code == 3
    assert "found a device" in output
    assert not Path("/dev/null").is_file()
    one = str(tmp_path / "report")
    code, output = run(f"{model}:build", "--json", one, "--html", one)
    assert code == 2
    assert "expected two files" in output


# -- audits of frameworks --------------------------------------------------------------------------------------------


def test_an_audit_prints_its_findings_with_their_scripts(tmp_path: Path) -> None:
    pytest.importorskip("sinabs")
    code, output = run("--peer", "Sinabs", "--json", str(tmp_path / "audit.json"))
    assert code == 1
    kept = json.loads((tmp_path / "audit.json").read_text())
    assert kept["framework"] == "sinabs"
    assert kept["findings"]
    for finding in kept["findings"]:
        assert finding["key"] in output
        assert finding["reproducer"].splitlines()[0] in output
    assert "import sinabs" in output


def test_an_audit_writes_its_scripts(tmp_path: Path) -> None:
    pytest.importorskip("snntorch")
    code, output = run("--peer", "snntorch", "--reproducers", str(tmp_path / "found"), "--json", "-")
    assert code == 1
    names = {finding["key"] for finding in json.loads(output)["findings"]}
    assert {path.stem for path in (tmp_path / "found").glob("*.py")} == names
    (tmp_path / "file").write_text("")
    code, output = run("--peer", "snntorch", "--reproducers", str(tmp_path / "file" / "found"))
    assert code == 3
    assert "cannot write" in output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "neither"),
        (["a.py:build", "--peer", "norse"], 2, "both"),
        (["--peer", "norse", "--claim", "claim.toml"], 2, "--claim"),
        (["--peer", "norse", "--scale", "0"], 2, "--scale"),
        (["--peer", "norse", "--spike", "a:b"], 2, "--spike"),
        (["--peer", "norse", "--html", "page.html"], 2, "--html"),
        (["--peer", "norse", "--suite", "full"], 2, "--suite"),
        (["--peer", "norse", "--seed", "1"], 2, "--seed"),
        (["a.py:build", "--reproducers", "found"], 2, "--reproducers"),
        (["--peer", "brian2"], 3, "snntorch"),
        (["--peer", ""], 3, "expected a known framework"),
        (["--peer", "../norse"], 3, "expected a known framework"),
    ],
)
def test_audits_that_cannot_be(arguments: list[str], code: int, words: str) -> None:
    found, output = run(*arguments)
    assert found == code, output
    assert words in output


def test_a_missing_framework_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    code, output = run("--peer", "sinabs")
    assert code == 3
    assert "expected sinabs" in output
    assert "pip install sinabs" in output
