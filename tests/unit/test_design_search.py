"""The search within a budget: what it tries, in which order, when it stops, and what it writes."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bitprop import design_search
from bitprop.budget import BudgetConstraint, DesignPoint
from bitprop.data import Dataset, load_dataset
from bitprop.design_search import Attempt, Design, attempt, neighbours, search_design
from bitprop.errors import ArtifactError, BitpropWarning, ConfigError, InfeasibleError
from bitprop.graph.architecture import folded
from bitprop.training.config import BudgetConfig, RunConfig, load_config, parse_config
from bitprop.training.loop import build_network
from helpers.command_line import CONFIG, blobs_csv, refused, run

BUDGET = "[budget]\nlut = 900\nlatency_us = 2.0\nclock_mhz = 25\n"
NAMES = ("sign_magnitude", "bipolar")


def configuration(**budget: float) -> RunConfig:
    return parse_config(
        {
            "network": {"hidden": [5], "lengths": [[2, 4, 8], [2, 4]], "encodings": list(NAMES)},
            "training": {"warmup_epochs": 1, "joint_epochs": 1, "finish_epochs": 3},
            "budget": {"clock_mhz": 25.0, **budget},
        }
    )


def digits() -> Dataset:
    return load_dataset("digits")


def design(first: int, second: int, *encodings: str) -> Design:
    return Design((first, second), (encodings[0], encodings[-1]), (0.1, -0.1))


def table(loss: Callable[[Design], float], tried: list[Design], start: Design) -> Callable[..., list[Attempt]]:
    """Trainings that cost nothing: a proposal ends with ``start``, a design has the loss of a formula."""

    def train_all(configs: Sequence[RunConfig]) -> list[Attempt]:
        found = []
        for config in configs:
            if config.network.is_fixed:
                chosen = Design(
                    tuple(length for (length,) in config.network.lengths_per_layer()),
                    tuple(encoding for (encoding,) in config.network.encodings_per_layer()),
                    tuple(low for low, _ in config.network.correlations_per_layer()),
                )
                tried.append(chosen)
            else:
                chosen = start
            point = DesignPoint(chosen.lengths, chosen.encodings, (None, None), dict.fromkeys(USE, 1.0), 0.0)
            found.append(Attempt(chosen, point, loss(chosen) if config.network.is_fixed else None, None))
        return found

    return train_all


USE = ("lut", "bram", "dsp", "fmax_mhz", "cycles", "latency_us")


def test_the_neighbours_are_one_step_away_and_allowed() -> None:
    network = configuration().network
    everything = {
        ((first, second), (one, other)) for first in (2, 4, 8) for second in (2, 4) for one in NAMES for other in NAMES
    }
    here = design(4, 2, "bipolar", "sign_magnitude")
    expected = [
        design(8, 2, "bipolar", "sign_magnitude"),
        design(4, 4, "bipolar", "sign_magnitude"),
        design(4, 2, "sign_magnitude", "sign_magnitude"),
        design(4, 2, "bipolar", "bipolar"),
        design(2, 4, "bipolar", "sign_magnitude"),
        design(2, 2, "sign_magnitude", "sign_magnitude"),
        design(2, 2, "bipolar", "bipolar"),
        design(2, 2, "bipolar", "sign_magnitude"),
    ]
    assert neighbours(here, network, everything) == expected
    assert neighbours(here, network, everything - {((8, 2), here.encodings)}) == expected[1:]
    assert neighbours(here, network, set()) == []


def test_the_best_design_is_reached_over_steps_of_every_kind() -> None:
    goal = design(8, 4, "sign_magnitude", "bipolar")

    def loss(one: Design) -> float:
        far = sum(abs(a - b) for a, b in zip(one.lengths, goal.lengths, strict=True))
        return far + 10 * sum(a != b for a, b in zip(one.encodings, goal.encodings, strict=True))

    tried: list[Design] = []
    start = design(2, 2, "bipolar", "sign_magnitude")
    config = configuration(lut=100_000)
    result = search_design(config, digits(), trials=18, finalists=1, run=table(loss, tried, start))
    assert result.best.design == goal
    assert tried[0] == start
    assert len(tried) == len(set(tried)) == len(result.tried) == 18
    assert result.config == goal.fix(config)
    assert result.config.training.finish_epochs == 4
    assert len(result.proposals) == 2
    assert result.finalists == ()
    assert result.trainings == 20


def test_it_leaves_a_design_that_no_neighbour_betters() -> None:
    start, goal = design(2, 2, "bipolar", "bipolar"), design(8, 4, "sign_magnitude", "sign_magnitude")
    losses = {start: 1.0, goal: 0.0}
    config = configuration(lut=100_000)
    tried: list[Design] = []
    free = table(lambda one: losses.get(one, 2.0), tried, start)
    result = search_design(config, digits(), trials=100, finalists=1, run=free)
    assert result.best.design == goal
    assert len(tried) == 24
    few = search_design(config, digits(), trials=6, run=table(lambda one: losses.get(one, 2.0), [], start))
    assert few.best.design == start


def test_what_did_badly_wherever_it_was_tried_comes_last() -> None:
    good, bad = "sign_magnitude", "bipolar"

    def loss(one: Design) -> float:
        return sum(one.lengths) + 100 * (bad in one.encodings)

    tried: list[Design] = []
    config = configuration(lut=100_000)
    start = design(8, 4, good, good)
    result = search_design(config, digits(), trials=100, finalists=1, run=table(loss, tried, start))
    assert result.best.design == design(2, 2, good, good)
    assert len({(one.lengths, one.encodings) for one in tried}) == len(tried) == 24
    # at first nothing is known of either encoding; then shorter streams, the last of the steps, come before more of it
    assert [bad in one.encodings for one in tried[:7]] == [False, *[True] * 4, False, False]


def test_a_combination_that_was_tried_is_not_tried_with_other_correlations() -> None:
    starts = iter((design(2, 2, *NAMES), replace(design(4, 2, *NAMES), correlations=(0.2, 0.2))))
    tried: list[Design] = []
    inner = table(lambda one: 1 / sum(one.lengths), tried, design(2, 2, *NAMES))

    def train_all(configs: Sequence[RunConfig]) -> list[Attempt]:
        found = inner(configs)
        return [
            entry if config.network.is_fixed else replace(entry, design=next(starts))
            for entry, config in zip(found, configs, strict=True)
        ]

    search_design(configuration(lut=100_000), digits(), trials=100, finalists=1, run=train_all)
    assert len({(one.lengths, one.encodings) for one in tried}) == len(tried) == 24


def test_it_stops_in_time_and_never_leaves_the_budget() -> None:
    config = configuration(lut=900, latency_us=4.0)
    assert config.budget is not None
    constraint = BudgetConstraint(build_network(config, digits()), config.budget)
    allowed = {(point.lengths, point.encodings) for point in constraint.feasible}
    assert 1 < len(allowed) < 24
    start = Design(*min(allowed), (0.0, 0.0))
    for trials in (1, 3, 100):
        tried: list[Design] = []
        free = table(lambda one: -sum(one.lengths), tried, start)
        search_design(config, digits(), trials=trials, finalists=1, run=free)
        assert len(tried) <= trials
        assert {(one.lengths, one.encodings) for one in tried} <= allowed
    assert len(tried) > 3


def test_finalists_are_trained_in_full_and_the_best_on_average_is_found() -> None:
    config = configuration(lut=100_000)
    quick, steady, lucky = (design(*lengths, *NAMES) for lengths in ((8, 4), (4, 4), (2, 4)))
    short = {quick: 0.1, steady: 0.2, lucky: 0.3}
    full = {quick: [0.9, 0.9], steady: [0.5, 0.5], lucky: [0.1, 1.2]}
    seen: list[tuple[Design, RunConfig]] = []
    tried: list[Design] = []
    inner = table(lambda one: short.get(one, 2.0), tried, quick)

    def train_all(configs: Sequence[RunConfig]) -> list[Attempt]:
        found = []
        for one in configs:
            (entry,) = inner([one])
            if one.network.is_fixed and one.training.epochs == config.training.epochs:
                number = sum(entry.design == design for design, _ in seen)
                seen.append((entry.design, one))
                entry = replace(entry, validation_loss=full[entry.design][number])
            found.append(entry)
        return found

    result = search_design(config, digits(), trials=24, epochs=2, finalists=3, repeats=2, run=train_all)
    assert [one for one, _ in seen] == [quick, quick, steady, steady, lucky, lucky]
    assert result.best.design == steady
    assert result.best.validation_loss == 0.2
    assert result.config == steady.fix(config) == seen[2][1]
    assert [[entry.validation_loss for entry in trainings] for trainings in result.finalists] == list(full.values())
    seeds = [one.seed for _, one in seen]
    assert seeds[0] == config.seed != seeds[1]
    assert seeds == seeds[:2] * 3
    assert result.trainings == 2 + len(result.tried) + 6
    assert len(result.to_dict()["finalists"]) == 3


def test_a_short_training_is_shaped_like_a_full_one() -> None:
    config = configuration()
    one = design(4, 2, *NAMES)
    for warmup, joint, finish, epochs, expected in (
        (7, 6, 17, 15, (4, 11)),  # 3.5 is rounded to the even 4
        (0, 1, 5, 3, (0, 3)),
        (9, 1, 0, 2, (1, 1)),
        (1, 1, 3, None, (1, 4)),
    ):
        phases = {"warmup_epochs": warmup, "joint_epochs": joint, "finish_epochs": finish}
        fixed = one.fix(config.model_copy(update={"training": config.training.model_copy(update=phases)}), epochs)
        training = fixed.training
        assert (training.warmup_epochs, training.joint_epochs, training.finish_epochs) == (expected[0], 0, expected[1])


def test_what_it_cannot_work_with_is_refused() -> None:
    config, data = configuration(lut=100_000), digits()
    for broken in (
        config.model_copy(update={"budget": None}),
        config.model_copy(update={"training": config.training.model_copy(update={"joint_epochs": 0})}),
        config.model_copy(update={"data": config.data.model_copy(update={"validation_share": 0.0})}),
    ):
        with pytest.raises(ConfigError, match="expected"):
            search_design(broken, data)
    with pytest.raises(ConfigError, match="budget"):
        attempt(config.model_copy(update={"budget": None}), data)
    with pytest.raises(InfeasibleError, match="nearest"):
        search_design(configuration(lut=20, latency_us=0.1), data)
    with pytest.raises(ConfigError, match="validation samples"):
        search_design(config, data, run=table(lambda _: None, [], design(2, 2, *NAMES)))  # type: ignore[arg-type, return-value]


def test_one_encoding_for_each_layer() -> None:
    fields = {"network": {"hidden": [5], "encodings": [["bipolar"], ["unipolar", "sign_magnitude"]]}}
    config = parse_config(fields)
    layers = build_network(config, digits()).sc_layers()
    assert [layer.design.encodings for layer in layers] == [("bipolar",), ("unipolar", "sign_magnitude")]
    assert parse_config({"network": config.network.model_dump()}).network == config.network
    with pytest.raises(ConfigError, match="encodings for 2 layers, got 1"):
        parse_config({"network": {"hidden": [5], "encodings": [["bipolar"]]}})


def test_the_command_writes_a_configuration_that_trains_and_the_same_one_again(tmp_path: Path) -> None:
    (tmp_path / "blobs.csv").write_text(blobs_csv(), encoding="utf-8")
    source = tmp_path / "blobs.toml"
    source.write_text(CONFIG + BUDGET, encoding="utf-8")
    written = [tmp_path / "one.toml", tmp_path / "two.toml"]
    for target in written:
        options = ("--trials", "3", "--epochs", "1", "--proposals", "1", "--finalists", "2", "--repeats", "2")
        result = run("search", str(source), "--output", str(target), *options)
        assert result.exit_code == 0, result.output
        assert "best of 3 designs, 8 trainings" in result.stdout
    assert written[0].read_bytes() == written[1].read_bytes()
    found = load_config(written[0])
    assert found.network.is_fixed
    assert (found.training.joint_epochs, found.training.finish_epochs) == (0, 2)
    assert run("train", str(written[0]), "--output", str(tmp_path / "run")).exit_code == 0
    source.write_text(CONFIG, encoding="utf-8")
    assert "[budget]" in refused("search", str(source), "--output", str(tmp_path / "three.toml"))
    assert not (tmp_path / "three.toml").exists()


class _Trainings:
    """:func:`bitprop.design_search.attempt`, counted, and interrupted instead of the one with a given number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stop: int | None = None) -> None:
        self.count, self._stop = 0, stop
        monkeypatch.setattr(design_search, "attempt", self)

    def __call__(self, config: RunConfig, data: Dataset) -> Attempt:
        if self.count == self._stop:
            raise KeyboardInterrupt
        self.count += 1
        return attempt(config, data)


def test_an_interrupted_search_goes_on_with_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "blobs.csv").write_text(blobs_csv(), encoding="utf-8")
    source = tmp_path / "blobs.toml"
    source.write_text(CONFIG + BUDGET, encoding="utf-8")

    def search(name: str, *, stop: int | None = None, trials: int = 4) -> tuple[int, int, str]:
        trainings = _Trainings(monkeypatch, stop)
        options = ("--trials", str(trials), "--epochs", "1", "--proposals", "2", "--finalists", "1", "--json")
        result = run("search", str(source), "--output", str(tmp_path / name), *options)
        return result.exit_code, trainings.count, result.stdout

    straight = search("straight.toml")
    assert straight[:2] == (0, 6)

    target, folder = tmp_path / "stopped.toml", tmp_path / "stopped.toml.trials"
    assert search(target.name, stop=1)[:2] == (130, 1)
    assert search(target.name, stop=3)[:2] == (130, 3)
    assert not target.exists()
    files = sorted(folder.iterdir())
    assert len(files) == 4
    damaged, cut = files[0], files[1]
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    cut.write_bytes(cut.read_bytes()[:40])
    assert search(target.name) == (0, 4, straight[2])
    assert target.read_bytes() == (tmp_path / "straight.toml").read_bytes()

    target.unlink()
    assert search(target.name) == (0, 0, straight[2])
    assert target.read_bytes() == (tmp_path / "straight.toml").read_bytes()
    code, count, more = search(target.name, trials=5)
    assert (code, count) == (0, 1)
    assert json.loads(more)["tried"][:4] == json.loads(straight[2])["tried"]


def test_a_training_is_taken_up_with_every_digit_and_only_where_nothing_has_changed(tmp_path: Path) -> None:
    config, data = configuration(lut=100_000), digits()
    start = Design((2, 2), ("bipolar", "sign_magnitude"), (0.1 + 0.2, -1 / 3))
    tried: list[Design] = []
    free = table(lambda one: 1 / (3 + sum(one.lengths)), tried, start)

    def train_all(configs: Sequence[RunConfig]) -> list[Attempt]:
        use = {**dict.fromkeys(USE, 1 / 3), "cycles": 7}
        folds = (folded(4, 2, length=2), None)
        return [
            replace(one, point=replace(one.point, folds=folds, use=use, violation=0.1 + 0.2), validation_accuracy=2 / 3)
            for one in free(configs)
        ]

    def search(config: RunConfig, data: Dataset) -> design_search.SearchResult:
        tried.clear()
        return search_design(config, data, trials=5, finalists=1, run=train_all, folder=tmp_path / "trials")

    first = search(config, data)
    assert len(tried) == 5
    assert search(config, data) == first
    assert not tried
    search(config.model_copy(update={"seed": 1}), data)
    assert len(tried) == 5
    search(config, replace(data, train_x=data.train_x[::-1].copy()))
    assert len(tried) == 5
    dearer = config.model_copy(update={"budget": BudgetConfig(lut=90_000, clock_mhz=25.0)})
    search(dearer, data)
    assert len(tried) == 5


def test_a_training_that_cannot_be_kept_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    tried: list[Design] = []
    free = table(lambda one: 1.0 * sum(one.lengths), tried, design(2, 2, *NAMES))
    config = configuration(lut=100_000)
    expected = search_design(config, digits(), trials=3, finalists=1, run=free)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(BitpropWarning, match="trials: No space left on device; free some space there, or choose"):
        found = search_design(config, digits(), trials=3, finalists=1, run=free, folder=tmp_path / "trials")
    assert found == expected


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    tried: list[Design] = []
    free = table(lambda _: 1.0, tried, design(2, 2, *NAMES))
    with pytest.raises(ArtifactError, match="choose another one"):
        search_design(configuration(lut=100_000), digits(), run=free, folder=tmp_path / "file" / "trials")
    assert not tried
