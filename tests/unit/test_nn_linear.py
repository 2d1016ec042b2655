"""The layer: gradients of every mode, the design variables, the mixture and its choice."""

from __future__ import annotations

import copy

import pytest
import torch

from bitprop.errors import ConfigError, RangeError, ShapeError
from bitprop.nn import SCLinear, SCNetwork
from bitprop.training.sc_estimators.expectation import dense_mean, dense_variance, product_mean, product_variance

ENCODINGS = ("sign_magnitude", "bipolar", "unipolar")


def layer(**changes: object) -> SCLinear:
    arguments: dict[str, object] = {
        "slope": "relaxed",
        "activation": "logits",
        "lengths": (4, 8, 16),
        "encodings": ENCODINGS,
        "correlation_range": (-0.3, 0.5),
    }
    return SCLinear(5, 3, **{**arguments, **changes}).double()  # type: ignore[arg-type]


def inputs(seed: int, rows: int = 7) -> torch.Tensor:
    return torch.rand(rows, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("correlation", [0.0, 0.3, -0.4, 1.0, -1.0])
def test_dense_forms_are_sums_of_product_forms(encoding: str, correlation: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(4, 6, generator=generator, dtype=torch.float64) * 2 - 1
    w = torch.rand(3, 6, generator=generator, dtype=torch.float64) * 2 - 1
    for c in (correlation, torch.tensor(correlation, dtype=torch.float64)):
        mean = product_mean(x[:, None], w[None], encoding, c).sum(-1)
        variance = product_variance(x[:, None], w[None], encoding, c).sum(-1)
        assert torch.allclose(dense_mean(x, w, encoding, c), mean, rtol=0, atol=1e-12)
        assert torch.allclose(dense_variance(x, w, encoding, c), variance, rtol=0, atol=1e-12)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_dense_mean_gradients(encoding: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(3, 4, generator=generator, dtype=torch.float64) * 2 - 1).requires_grad_()
    w = (torch.rand(2, 4, generator=generator, dtype=torch.float64) * 2 - 1).requires_grad_()
    for value in (0.3, -0.4):
        c = torch.tensor(value, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x, w, c: dense_mean(x, w, encoding, c), (x, w, c))
    # at exactly zero the slope in c is the mean of the one-sided ones
    c = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(dense_mean(x, w, encoding, c).sum(), c)
    x, w = x.detach(), w.detach()
    step = 1e-6
    values = [dense_mean(x, w, encoding, torch.tensor(d, dtype=torch.float64)).sum() for d in (step, -step)]
    assert float(slope) == pytest.approx(float(values[0] - values[1]) / (2 * step), rel=1e-6)


def test_blocks_do_not_change_the_correlated_sum(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    from bitprop.training.sc_estimators import expectation

    generator = torch.Generator().manual_seed(seed)
    x, w = torch.rand(4, 6, generator=generator), torch.rand(9, 6, generator=generator)
    whole = dense_mean(x, w, "bipolar", 0.5)
    monkeypatch.setattr(expectation, "_BLOCK_ELEMENTS", 50)
    assert torch.allclose(dense_mean(x, w, "bipolar", 0.5), whole)


def test_relaxed_mode_passes_gradcheck(seed: int) -> None:
    module = layer()
    module.mode = "relaxed"
    x = inputs(seed).requires_grad_()
    parameters = [module.weight, module.log_gain, module.design.encoding_logits, module.design.correlation_logit]
    for parameter in parameters:
        parameter.data.add_(0.01)

    def forward(x: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return module(x)

    assert torch.autograd.gradcheck(forward, (x, *parameters))


def test_bit_true_mixture_has_exact_gradients_in_the_choice(seed: int) -> None:
    """Weights are rounded, so only the logits of lengths and encodings have finite differences; those must agree."""
    module = layer(correlation_range=(0.25, 0.25))
    generator = torch.Generator().manual_seed(seed)
    for logits in (module.design.length_logits, module.design.encoding_logits):
        logits.data = torch.rand(len(logits), generator=generator, dtype=torch.float64)
    x = inputs(seed)

    def forward(*_: torch.Tensor) -> torch.Tensor:
        return module(x)

    logits = (module.design.length_logits, module.design.encoding_logits)
    assert torch.autograd.gradcheck(forward, logits)
    loss = (module(x) ** 2).sum()
    loss.backward()
    for parameter in (*logits, module.weight, module.bias, module.log_gain):
        assert parameter.grad is not None
        assert bool((parameter.grad != 0).any())


def test_correlation_slope_is_the_expectation_over_the_third_source(seed: int) -> None:
    """Averaged over every selector value, the bit-true output is linear in |c| with the slope that is used."""
    module = layer(lengths=(8,), encodings=("sign_magnitude",), correlation_range=(-0.5, 1.0))
    x = inputs(seed)
    output = module(x)
    (slope,) = torch.autograd.grad(output.sum(), module.design.correlation_logit)
    x_raw, w_raw = module.value_integers(x), module.weight_integers()
    from bitprop.nn.bit_true import encode, stream_sum

    r, s, _ = module.numbers(8)
    k_x, k_w = encode(x_raw, "sign_magnitude", 8), encode(w_raw, "sign_magnitude", 8)
    difference = stream_sum(k_x, k_w, r, r, "sign_magnitude") - stream_sum(k_x, k_w, r, s, "sign_magnitude")
    chain = 0.75 * (1 - torch.tanh(module.design.correlation_logit.detach()) ** 2)
    expected = module.gain.detach() * difference.double().sum() / 8 * chain
    assert float(slope) == pytest.approx(float(expected), rel=1e-9)


def test_straight_through_gradient_is_the_relaxed_one(seed: int) -> None:
    hard = layer(lengths=(8,), encodings=("sign_magnitude",), correlation_range=(0.0, 0.0))
    soft = copy.deepcopy(hard)
    soft.mode = "relaxed"
    x = inputs(seed)
    for module in (hard, soft):
        module(x).sum().backward()
    assert torch.allclose(hard.weight.grad, soft.weight.grad, rtol=0, atol=1e-12)
    assert torch.allclose(hard.bias.grad, soft.bias.grad, rtol=0, atol=1e-12)


def test_sampled_mode_is_unbiased_and_needs_a_generator(seed: int) -> None:
    module = layer(lengths=(16,), encodings=("sign_magnitude",), correlation_range=(0.3, 0.3))
    with torch.no_grad():
        # on the grid of thresholds, so that rounding adds no bias of its own
        module.weight.copy_((module.weight * 256).round() / 256)
    x = (inputs(seed) * 256).round() / 256
    module.mode = "sampled"
    with pytest.raises(RangeError, match="Generator"):
        module(x)
    generator = torch.Generator().manual_seed(seed)
    before = torch.get_rng_state()
    draws = torch.stack([module(x, generator).detach() for _ in range(600)])
    assert torch.equal(before, torch.get_rng_state())
    module.mode = "relaxed"
    with torch.no_grad():
        module.design.correlation_range = (77 / 256, 77 / 256)  # the quantised correlation
        expected = module(x)
    error = draws.mean(0) - expected
    deviation = draws.std(0) / len(draws) ** 0.5
    # 21 outputs, two-sided normal quantile at a family false-alarm rate of 1e-4
    assert float((error.abs() / deviation).max()) < 4.6


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("correlation", [0.0, 0.5, -0.5])
def test_an_aligned_layer_relaxes_to_the_overlap_of_its_streams(encoding: str, correlation: float, seed: int) -> None:
    """The relaxed mode is what 4096 cycles of the layer's own aligned streams count."""
    modes = {}
    for mode in ("relaxed", "bit_true"):
        module = layer(
            lengths=(4096,),
            encodings=(encoding,),
            correlation_range=(correlation, correlation),
            layout="aligned",
            precision_bits=12,
        )
        module.mode = mode  # type: ignore[assignment]
        modes[mode] = module(inputs(seed)).detach()
    # five products, each within the offset of 1/32 that keeps aligned activations sensitive to faint values
    scale = 2 if encoding == "bipolar" else 1
    bound = float(layer().gain.detach()) * 5 * scale * (1 / 32 + 1 / 1024)
    assert float((modes["relaxed"] - modes["bit_true"]).abs().max()) < bound
    independent = layer(lengths=(4096,), encodings=(encoding,), correlation_range=(0.0, 0.0))
    independent.mode = "relaxed"
    assert not torch.allclose(independent(inputs(seed)), modes["relaxed"], atol=0.02)


def test_sampled_aligned_streams_overlap(seed: int) -> None:
    module = layer(lengths=(2048,), encodings=("sign_magnitude",), correlation_range=(0.0, 0.0), layout="aligned")
    x = inputs(seed)
    module.mode = "sampled"
    drawn = module(x, torch.Generator().manual_seed(seed)).detach()
    module.mode = "relaxed"
    assert float((drawn - module(x).detach()).abs().max()) < 0.35


def test_commit_freezes_the_argmax_and_its_correlation(seed: int) -> None:
    module = layer()
    module.design.length_logits.data[1] = 2.0
    module.design.encoding_logits.data[1] = 1.0
    module.design.correlation_logit.data.fill_(0.5)
    choice = module.design.commit()
    assert (choice.length, choice.encoding) == (8, "bipolar")
    assert choice.correlation_raw == round(float(0.1 + 0.4 * torch.tanh(torch.tensor(0.5))) * 256)
    assert module.design.length_probabilities().tolist() == [0, 1, 0]
    assert not any(parameter.requires_grad for parameter in module.design.parameters())
    single = layer(lengths=(8,), encodings=("bipolar",), correlation_range=(choice.correlation, choice.correlation))
    single.load_state_dict({k: v for k, v in module.state_dict().items() if not k.startswith("design.")}, strict=False)
    x = inputs(seed)
    assert torch.equal(module(x), single(x))


def test_equal_logits_choose_the_first_candidate() -> None:
    choice = layer().design.choice()
    assert (choice.length, choice.encoding) == (4, "sign_magnitude")


def test_expected_length_weights_products() -> None:
    network = SCNetwork((10, 4, 2), lengths=((2, 6), (64,)))
    assert float(network.expected_mean_length().detach()) == pytest.approx((40 * 4 + 8 * 64) / 48)
    assert network.mean_length() == pytest.approx((40 * 2 + 8 * 64) / 48)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"lengths": ()}, RangeError, "at least one"),
        ({"lengths": (8, 8)}, RangeError, "increasing"),
        ({"lengths": (0,)}, RangeError, "stream length"),
        ({"lengths": (2.5,)}, RangeError, "integer"),
        ({"encodings": ("ternary",)}, RangeError, "unipolar"),
        ({"encodings": ("bipolar", "bipolar")}, RangeError, "distinct"),
        ({"correlation_range": (0.5, -0.5)}, RangeError, "smallest"),
        ({"correlation_range": (-2.0, 0.0)}, RangeError, "-1"),
        ({"generator": "mersenne"}, RangeError, "sobol"),
        ({"activation": "relu"}, RangeError, "clamp01"),
        ({"precision_bits": 2}, RangeError, "3"),
        ({"scale_bits": 1}, RangeError, "2"),
    ],
)
def test_bad_arguments(changes: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        layer(**changes)


def test_bad_inputs_and_modes() -> None:
    module = layer()
    with pytest.raises(ShapeError, match=r"\[B, 5\]"):
        module(torch.zeros(2, 4, dtype=torch.float64))
    module.mode = "analogue"  # type: ignore[assignment]
    with pytest.raises(RangeError, match="bit_true"):
        module(torch.zeros(2, 5, dtype=torch.float64))
    network = SCNetwork((4, 3, 2))
    with pytest.raises(ShapeError, match="int64"):
        network.forward_raw(torch.zeros(1, 4))
    with pytest.raises(ShapeError, match=r"\[B, 4\]"):
        network(torch.zeros(1, 5))
    with pytest.raises(ConfigError, match="2 layers"):
        SCNetwork((4, 3, 2), lengths=((1, 2),))
    with pytest.raises(ConfigError, match="at least one layer"):
        SCNetwork((4,))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), "1"])
def test_bad_temperatures(temperature: object) -> None:
    with pytest.raises(RangeError, match="temperature"):
        SCNetwork((4, 3, 2)).set_temperature(temperature)  # type: ignore[arg-type]


@pytest.mark.parametrize(("signed", "values"), [(False, [-1, 0]), (False, [0, 257]), (True, [-257, 0])])
def test_value_integers_outside_the_input_range_are_refused(signed: bool, values: list[int]) -> None:
    network = SCNetwork((2, 3, 2), signed_input=signed)
    with pytest.raises(RangeError, match="input_integers"):
        network.forward_raw(torch.tensor([values]))


@pytest.mark.parametrize("mode", ["relaxed", "bit_true"])
def test_an_empty_batch_gives_an_empty_answer(mode: str) -> None:
    network = SCNetwork((4, 3, 2), encodings=("bipolar",))
    network.set_mode(mode)  # type: ignore[arg-type]
    assert network(torch.zeros(0, 4)).shape == (0, 2)
    assert network.predict(torch.zeros(0, 4)).shape == (0,)


def test_inputs_that_are_not_finite_are_refused() -> None:
    network = SCNetwork((2, 3, 2))
    for value in (float("nan"), float("inf")):
        for call in (network, network.predict, network.input_integers):
            with pytest.raises(RangeError, match="finite"):
                call(torch.tensor([[0.5, value]]))
