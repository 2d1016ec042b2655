"""Statements about Norse's encoders and receptive fields, and what measures them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from bitprop.verification.peers._probes import Probe, worst_pair

__all__ = ["input_probes"]


# -- encoders --------------------------------------------------------------------------------------------------------


def encoded_currents(nt: Any, what: str) -> tuple[float, float]:
    """The docstring's example, currents of 2, 4, 8, 16 for two steps: the first tensor it shows, or the spikes."""
    found = nt.functional.encode.constant_current_lif_encode(torch.as_tensor([2, 4, 8, 16]), 2)
    first = [[0.2, 0.4, 0.8, 0.0], [0.38, 0.76, 0.0, 0.0]]
    spikes = [[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]]
    return worst_pair(torch.tensor(first if what == "first" else spikes), found)


def populations(nt: Any) -> tuple[float, float]:
    """The docstring's example: 0, 0.5 and 1 as three numbers each."""
    table = torch.tensor([[1.0, 0.8825, 0.6065], [0.8825, 1.0, 0.8825], [0.6065, 0.8825, 1.0]])
    return worst_pair(table, nt.functional.encode.population_encode(torch.as_tensor([0, 0.5, 1]), 3))


def sample_scales(nt: Any) -> tuple[float, float]:
    """Numbers that three samples become, with a scale for each of them: nine; NaN where it raises."""
    try:
        found = nt.functional.encode.population_encode(torch.ones(3), 3, scale=torch.tensor([1.0, 2.0, 3.0]))
    except RuntimeError:
        return 9.0, math.nan
    return 9.0, float(found.numel())


def kernel_inputs(nt: Any) -> tuple[float, float]:
    """How many inputs a kernel is called with: 'the center value ... and the actual data value'."""
    given = []

    def kernel(*inputs: Tensor) -> Tensor:
        given.append(len(inputs))
        return inputs[0]

    nt.functional.encode.population_encode(torch.ones(3), 3, kernel=kernel)
    return 2.0, float(given[0])


def distance(nt: Any) -> tuple[float, float]:
    """Euclidean distance of 0 and 3."""
    return 3.0, float(nt.functional.encode.euclidean_distance(torch.zeros(()), torch.full((), 3.0)))


def radial_basis(nt: Any, sigma: float) -> tuple[float, float]:
    """exp(-|x - x'|^2 / (2 sigma^2)) of squared distances from 0 to 9."""
    squares = torch.linspace(0.0, 9.0, 7, dtype=torch.float64)
    return worst_pair(torch.exp(-squares / (2 * sigma**2)), nt.functional.encode.gaussian_rbf(squares, sigma))


def rate(nt: Any, name: str, value: float) -> tuple[float, float]:
    """Mean of 200,000 draws: the value times f_max dt, f_max = 100 Hz, dt = 1 ms."""
    encode = nt.functional.encode
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if name.endswith("step"):
            found = getattr(encode, name)(torch.full((200000,), value), f_max=100.0)
        else:
            found = getattr(encode, name)(torch.full((1000,), value), 200)
    return 0.1 * value, float(found.mean())


def drawn_values(nt: Any, name: str, value: float) -> tuple[float, float]:
    """How many draws are something else than no spike, or a spike with the sign of the value: none."""
    encode = nt.functional.encode
    with torch.random.fork_rng(devices=[]):
        found = getattr(encode, name)(torch.full((1000,), value), *(() if name.endswith("step") else (10,)))
    return 0.0, float(((found != 0) & (found != math.copysign(1.0, value))).sum())


def drawn_again(nt: Any, name: str) -> tuple[float, float]:
    """Draws with generators of one seed, where they differ most."""
    encode, steps = nt.functional.encode, () if name.endswith("step") else (10,)
    x = torch.linspace(0.0, 1.0, 50)
    first, second = (getattr(encode, name)(x, *steps, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    return worst_pair(first, second)


def latencies(nt: Any) -> tuple[float, float]:
    """The docstring's example: of (0, 1, 1) and (1, 1, 1), the first spike of each is kept."""
    found = nt.functional.encode.spike_latency_encode(torch.as_tensor([[0, 1, 1], [1, 1, 1]]))
    return worst_pair(torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]), found.float())


def first_spikes(nt: Any) -> tuple[float, float]:
    """Spikes of a constant current encoder without all but the first, and of the latency encoder."""
    encode, currents = nt.functional.encode, torch.tensor([0.5, 1.5, 4.0, 20.0])
    spikes = encode.constant_current_lif_encode(currents, 30)
    first = spikes * (spikes.cumsum(0) == 1)
    return worst_pair(first, encode.spike_latency_lif_encode(currents, 30))


def encoder_module(nt: Any, name: str, function: str, arguments: tuple[int, ...]) -> tuple[float, float]:
    """A module and its function, drawn from one seed, where they differ most."""
    encode, x, results = nt.functional.encode, torch.linspace(0.0, 1.0, 20), []
    for call in (getattr(nt.module.encode, name)(*arguments), lambda x: getattr(encode, function)(x, *arguments)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            results.append(call(x))
    return worst_pair(results[1], results[0])


# -- receptive fields ------------------------------------------------------------------------------------------------


def gaussian(nt: Any) -> tuple[float, float]:
    """The density of the normal distribution with a covariance matrix, over -4 .. 4."""
    covariance, x = torch.tensor([[2.0, 0.5], [0.5, 1.0]]), torch.linspace(-4.0, 4.0, 9)
    grid = torch.stack([x.repeat(9, 1), x[:, None].repeat(1, 9)], dim=-1)
    squares = (grid @ torch.linalg.inv(covariance) * grid).sum(-1)
    documented = torch.exp(-squares / 2) / (2 * math.pi * torch.linalg.det(covariance).sqrt())
    return worst_pair(documented, nt.functional.receptive_field.gaussian_kernel(9, covariance, domain=4))


def variance(nt: Any) -> tuple[float, float]:
    """Entry of the covariance matrix of two variances, 2 and 1, at an angle of 0: 2."""
    return 2.0, float(nt.functional.receptive_field.covariance_matrix(2.0, 1.0, 0.0)[0, 0])


def field_bits(nt: Any, name: str) -> tuple[float, float]:
    """Bits of what is made of float64; NaN where it raises."""
    fields, two = nt.functional.receptive_field, torch.full((), 2.0, dtype=torch.float64)
    try:
        if name == "gaussian_kernel":
            found = fields.gaussian_kernel(5, torch.eye(2, dtype=torch.float64))
        else:
            found = fields.covariance_matrix(two, two, two)
    except RuntimeError:
        return 64.0, math.nan
    return 64.0, float(torch.finfo(found.dtype).bits)


def field_size(nt: Any, dx: int, angle: float) -> tuple[float, float]:
    """Norm of an elongated field's derivative at an angle of 0, and rotated, which leaves the norm as it is."""
    found = []
    for turn in (0.0, angle):
        parameters = torch.tensor(4.0), torch.tensor(turn), torch.tensor(2.0)
        field = nt.functional.receptive_field.spatial_receptive_field(*parameters, 121, dx, 0, domain=16)
        found.append(1000.0 * float(field.norm()))
    return found[0], found[1]


def field_default(nt: Any, what: str) -> tuple[float, float]:
    """Peak of a field with the documented default, and without giving it: NaN where it raises."""
    fields, one = nt.functional.receptive_field, torch.ones(())
    given = {"scale": 2.5 * one, "angle": 0.0 * one, "ratio": one, "size": 17, "domain": 8}
    documented = fields.spatial_receptive_field(**given)
    del given[what]
    try:
        computed = fields.spatial_receptive_field(**given)
    except TypeError:
        return float(documented.max()), math.nan
    return float(documented.max()), float(computed.max())


def largest_scale(nt: Any) -> tuple[float, float]:
    """Last of three temporal scales up to max_scale = 4: tau_K = tau_max."""
    return 4.0, float(nt.functional.receptive_field.temporal_scale_distribution(3, 1.0, 4.0)[-1])


def parameter_rows(nt: Any, ratios: tuple[float, ...]) -> tuple[float, float]:
    """Rows of the cartesian product of two scales, three angles, the ratios and four derivatives."""
    scales, angles = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0, 2.0])
    found = nt.functional.receptive_field.spatial_parameters(scales, angles, torch.tensor(ratios), 1)
    return 2.0 * 3.0 * len(ratios) * 4.0, float(found.unique(dim=0).shape[0])


def field_channels(nt: Any, aggregate: bool) -> tuple[float, float]:
    """Output channels of one field for two input channels, aggregated across channels or not; NaN where it raises."""
    field = torch.tensor([[1.0, 1.0, 1.0, 0.0, 0.0]])
    try:
        module = nt.SpatialReceptiveField2d(2, 9, field, aggregate=aggregate)
        return 1.0 if aggregate else 2.0, float(module(torch.ones(1, 2, 9, 9)).shape[1])
    except AttributeError:
        return 1.0 if aggregate else 2.0, math.nan


def field_gradient(nt: Any, name: str, passes: int) -> tuple[float, float]:
    """Gradient of the first parameter after some passes over one image without a step: that many times the first's."""
    scales, angles, ratios = torch.tensor([1.0, 2.0]), torch.tensor([0.3]), torch.tensor([0.5])
    image = torch.linspace(0.0, 1.0, 81).view(1, 1, 9, 9) ** 2
    if name == "SpatialReceptiveField2d":
        module = nt.SpatialReceptiveField2d(1, 9, torch.tensor([[1.0, 0.3, 0.5, 0.0, 0.0]]))
    else:
        module = getattr(nt, name)(1, 9, scales, angles, ratios, [(0, 0)])
    gradients: list[float] = []
    for _ in range(passes):
        try:
            module(image).sum().backward()
        except RuntimeError:  # the graph of the first pass was kept for the second
            return passes * gradients[0], math.nan
        gradients.append(float(next(module.parameters()).grad.flatten()[0]))
    return passes * gradients[0], gradients[-1]


def field_step(nt: Any, name: str) -> tuple[float, float]:
    """Output after parameters moved in a step of training, and of a module made with the moved parameters."""
    image = torch.linspace(0.0, 1.0, 81).view(1, 1, 9, 9) ** 2
    scales, angles, ratios = torch.tensor([1.0, 2.0]), torch.tensor([0.3]), torch.tensor([0.5])
    if name == "SpatialReceptiveField2d":
        module = nt.SpatialReceptiveField2d(1, 9, torch.tensor([[1.0, 0.3, 0.5, 0.0, 0.0]]))
    else:
        module = getattr(nt, name)(1, 9, scales, angles, ratios, [(0, 0)])
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    module(image).sum().backward()
    optimizer.step()
    if name == "SpatialReceptiveField2d":
        fresh = nt.SpatialReceptiveField2d(1, 9, module.rf_parameters.detach().clone())
    elif name == "SampledSpatialReceptiveField2d":
        moved = [value.detach().clone() for value in (module.scales, module.angles, module.ratios)]
        fresh = nt.SampledSpatialReceptiveField2d(1, 9, *moved, [(0, 0)])
    else:
        rows = torch.stack([module.scales, module.angles, module.ratios, *torch.zeros(2, 2)], 1).detach()
        fresh = nt.SpatialReceptiveField2d(1, 9, rows, optimize_fields=False)
    return worst_pair(fresh(image), module(image))


def temporal_constant(nt: Any) -> tuple[float, float]:
    """Potential after a step of 1 ms and an input of 1, with a hardcoded time constant of 10 ms: dt / tau."""
    field = nt.TemporalReceptiveField((1,), 1, time_constants=torch.full((1, 1), 0.01))
    return 0.1, float(field(torch.ones(1))[0].detach())


def temporal_base(nt: Any) -> tuple[float, float]:
    """Time constants with max_scale set and c = 1.2, and with another c, which is ignored."""
    first, second = (nt.TemporalReceptiveField((1,), 3, max_scale=9.0, c=c).time_constants for c in (1.2, 1.9))
    return worst_pair(first, second)


# -- statements ------------------------------------------------------------------------------------------------------


def input_probes() -> Iterator[Probe]:
    """Encoders, then receptive fields."""
    yield from _encoders()
    yield from _draws()
    yield from _kernels()
    yield from _fields()


def _probe(
    key: str,
    subject: str,
    kind: str,
    says: str,
    found: str,
    measure: Callable[..., tuple[float, float]],
    *arguments: Any,
    tolerance: float = 1e-5,
) -> Probe:
    return Probe(f"norse.{key}", subject, kind, says, found, measure, arguments, (worst_pair,), tolerance)


def _encoders() -> Iterator[Probe]:
    place = "functional.encode."
    yield _probe(
        "constant_current_lif_encode.example", place + "constant_current_lif_encode", "documentation",
        "the example shows a tuple: '# State in terms of membrane voltage' 0.2, 0.4, 0.8, 0.0 .., then the spikes",
        "the spikes alone are returned, as 'Returns' says", encoded_currents, "first",
    )  # fmt: skip
    yield _probe(
        "constant_current_lif_encode.spikes", place + "constant_current_lif_encode", "forward",
        "'A tensor with an extra dimension of size seq_length containing spikes (1) or no spikes (0)'", "it differs",
        encoded_currents, "spikes",
    )  # fmt: skip
    subject = place + "population_encode"
    yield _probe(
        "population_encode.example", subject, "forward", "the example's table", "it differs",
        populations, tolerance=1e-4,
    )  # fmt: skip
    yield _probe(
        "population_encode.scale", subject, "forward",
        "scale: 'Can also be set for each individual sample'",
        "a scale of more than one value raises RuntimeError: its truth value is asked for", sample_scales,
    )  # fmt: skip
    yield _probe(
        "population_encode.kernel", subject, "documentation",
        "kernel: 'A function that takes two inputs and returns a tensor'",
        "it is called with one input, the distances", kernel_inputs,
    )  # fmt: skip
    yield _probe(
        "euclidean_distance.square", place + "euclidean_distance", "documentation",
        "'Simple euclidean distance metric'", "the squared distance is returned", distance,
    )  # fmt: skip
    for sigma in (1.0, 0.5):
        yield _probe(
            "gaussian_rbf.kernel", place + "gaussian_rbf", "forward",
            "K(x, x') = exp(-||x - x'||^2 / (2 sigma^2))", "it differs", radial_basis, sigma,
        )  # fmt: skip
    yield _probe(
        "spike_latency_encode.example", place + "spike_latency_encode", "forward",
        "'For all neurons, remove all but the first spike'", "it differs", latencies,
    )  # fmt: skip
    yield _probe(
        "spike_latency_lif_encode.first", place + "spike_latency_lif_encode", "forward",
        "'Encodes an input value by the time the first spike occurs. Similar to the ConstantCurrentLIFEncoder'",
        "it differs", first_spikes,
    )  # fmt: skip


def _draws() -> Iterator[Probe]:
    for name in ("poisson_encode", "poisson_encode_step", "signed_poisson_encode", "signed_poisson_encode_step"):
        subject = f"functional.encode.{name}"
        for value in (0.3, 1.0, -0.5) if name.startswith("signed") else (0.3, 1.0):
            yield _probe(
                f"{name}.rate", subject, "forward", "f_max: 'Maximal frequency (in Hertz) which will be emitted'",
                "the rate is another one", rate, name, value, tolerance=4e-3,
            )  # fmt: skip
            yield _probe(
                f"{name}.values", subject, "forward", "binary values, or values in {-1, 0, 1}", "there are others",
                drawn_values, name, value,
            )  # fmt: skip
        yield _probe(
            f"{name}.generator", subject, "forward", "generator: 'Generator for pseudorandom numbers'",
            "it is not used", drawn_again, name,
        )  # fmt: skip
    for module, function, arguments in (
        ("PoissonEncoder", "poisson_encode", (6,)),
        ("PoissonEncoderStep", "poisson_encode_step", ()),
        ("SignedPoissonEncoder", "signed_poisson_encode", (6,)),
        ("SignedPoissonEncoderStep", "signed_poisson_encode_step", ()),
        ("ConstantCurrentLIFEncoder", "constant_current_lif_encode", (6,)),
        ("SpikeLatencyLIFEncoder", "spike_latency_lif_encode", (6,)),
        ("PopulationEncoder", "population_encode", (6,)),
    ):
        yield _probe(
            f"{module}.function", f"module.encode.{module}", "forward", f"what {function} does", "it differs",
            encoder_module, module, function, arguments,
        )  # fmt: skip


def _kernels() -> Iterator[Probe]:
    place = "functional.receptive_field."
    yield _probe(
        "gaussian_kernel.density", place + "gaussian_kernel", "forward",
        "'2d gaussian kernel' of 'A 2x2 covariance matrix'", "it differs", gaussian,
    )  # fmt: skip
    yield _probe(
        "covariance_matrix.variance", place + "covariance_matrix", "documentation",
        "'a 2-dimensional covariance matrix given two variances and an angle for the major axis'",
        "sigma1 and sigma2 are squared: they are standard deviations", variance,
    )  # fmt: skip
    for name in ("gaussian_kernel", "covariance_matrix"):
        yield _probe(
            "receptive_field.dtype", place + name, "dtype",
            "c, sigma1, sigma2, phi: tensors; nothing is said of a fixed dtype",
            "covariance_matrix fills a float32 matrix whatever it is given; gaussian_kernel raises RuntimeError for "
            "a covariance in float64", field_bits, name,
        )  # fmt: skip
    for dx in (0, 1):
        for angle in (math.pi / 4, math.pi / 2):
            yield _probe(
                "spatial_receptive_field.angle", place + "spatial_receptive_field", "forward",
                "angle: 'The rotation of the kernel in radians', and of its derivatives, taken 'at a given angle'",
                "the field turns from the second dimension to the first, the direction of its derivative from the "
                "first to the second: the derivative is across the major axis at 0 and along it at pi / 4",
                field_size, dx, angle, tolerance=0.02,
            )  # fmt: skip
    for what, default in (("domain", "'Defaults to 8 (sampling -8 to 8)'"), ("scale", "'Defaults to 2.5'")):
        yield _probe(
            f"spatial_receptive_field.{what}", place + "spatial_receptive_field", "documentation",
            f"{what}: {default}",
            "the default is 10" if what == "domain" else "there is no default: TypeError", field_default, what,
        )  # fmt: skip
    yield _probe(
        "temporal_scale_distribution.scale", place + "temporal_scale_distribution", "documentation",
        "tau_k = c^(2 (k - K)) tau_max; max_scale: 'The maximum scale'",
        "the square root of tau_k is returned: the scales for max_scale = 4 end at 2", largest_scale,
    )  # fmt: skip
    for ratios in ((0.5, 2.0), (0.5, 1.0)):
        yield _probe(
            "spatial_parameters.product", place + "spatial_parameters", "forward",
            "'scales, angles, ratios and derivatives as cartesian products'", "it differs", parameter_rows, ratios,
        )  # fmt: skip


def _fields() -> Iterator[Probe]:
    for aggregate in (True, False):
        yield _probe(
            "SpatialReceptiveField2d.aggregate", "SpatialReceptiveField2d", "forward",
            "aggregate: 'If True, the receptive fields will be aggregated across channels'",
            "aggregate=False reads self.fields, which is never set: AttributeError", field_channels, aggregate,
        )  # fmt: skip
    for name in (
        "SpatialReceptiveField2d",
        "SampledSpatialReceptiveField2d",
        "ParameterizedSpatialReceptiveField2d",
    ):
        for passes in (1, 2):
            yield _probe(
                "receptive_field.accumulation", name, "gradient",
                "'the rf_parameters will be optimized during training', or scales, angles and ratios",
                "the kernels, and their graph, are kept until the parameters change: a second backward pass before "
                "the optimiser's step, as in accumulating gradients, raises RuntimeError",
                field_gradient, name, passes,
            )  # fmt: skip
        yield _probe(
            f"{name}.step", name, "forward", "the fields are updated as their parameters are trained",
            "they stay", field_step, name,
        )  # fmt: skip
    yield _probe(
        "TemporalReceptiveField.time_constants", "TemporalReceptiveField", "documentation",
        "time_constants: 'Hardcoded time constants'",
        "they are used as inverse time constants: tau_mem_inv", temporal_constant,
    )  # fmt: skip
    yield _probe(
        "TemporalReceptiveField.c", "TemporalReceptiveField", "forward",
        "c: 'Ignored if max_scale is set'", "it is not", temporal_base,
    )  # fmt: skip
