"""The reference task: a layer trained in floating point, then tuned together with its stochastic design.

A teacher layer ``t = sum_i product(x_i, w_i) + b`` (12 inputs, 3 outputs) computes with *correlated sign-magnitude*
streams, SCC 0.7, in expectation: its products lean towards ``sign(x w) min(|x|, |w|)``, which no independent stream
and no linear layer gives.  The student starts where a conversion after the fact would leave it:

* weights and bias: the least-squares fit of a linear layer to the training set;
* length: the longest candidate is the favourite; encoding: unipolar is; correlation: 0.

Then ``stochastic_backprop_joint_objective`` (closed form) trains weights, bias, length logits, encoding logits and
correlation logit together by gradient descent with momentum::

    v <- 0.9 v + gradient,   parameter <- parameter - learning_rate v,   weights clamped to [-1, 1]

Every design variable has something to win: the encoding must represent negative values, the correlation removes what
a linear fit cannot, and the length trades the variance ``V / L`` against its cost, with an optimum between shortest
and longest.  Each *ablation* trains again with one of them held at its start; the others may compensate.

Data, teacher and start are drawn from a fixed seed in float64.  Linear-algebra libraries round the last digit
differently from processor to processor, and even from one memory address to the next; so one thread computes,
parameters are kept on a grid of ``2**-24`` after every step, and measured numbers are reported to nine digits.  Same
arguments then give the same bytes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bitprop._checks import check_integer, check_real
from bitprop.errors import RangeError
from bitprop.formats import quantise
from bitprop.graph.interpret import run
from bitprop.graph.spec import Document
from bitprop.handoff.dense import lower_dense
from bitprop.seeds import derive_seed
from bitprop.training.sc_estimators import DifferentiableSCConfig
from bitprop.training.sc_estimators.expectation import dense_mean
from bitprop.training.stochastic_backprop import (
    SCBackpropDesignSpace,
    SCJointObjectiveReport,
    SCTrainingObjectiveConfig,
    stochastic_backprop_joint_objective,
)

__all__ = [
    "ABLATIONS",
    "NETWORK_NAME",
    "TASK_VERSION",
    "ReferenceTask",
    "TaskArguments",
    "TrainedTask",
    "one_thread",
    "reference_task",
    "rounded",
    "train_reference_task",
]

TASK_VERSION = "1.0"
NETWORK_NAME = "stochastic_backprop_reference"
ABLATIONS: dict[str, tuple[str, ...]] = {
    "bitstream_length": ("length_logits",),
    "encoding": ("encoding_logits",),
    "correlation": ("correlation_logit",),
    "weights": ("weight", "bias"),
    "all_design_variables": ("length_logits", "encoding_logits", "correlation_logit"),
}
"""What each ablation holds at its start."""

_SEED = 7
_INPUTS, _OUTPUTS, _SAMPLES, _HELD_OUT = 12, 3, 32, 64
_ENCODINGS = ("unipolar", "sign_magnitude")
_CORRELATION_LIMIT = 0.8
_TEACHER_CORRELATION = 0.7
_MOMENTUM = 0.9
_OBJECTIVE = SCTrainingObjectiveConfig(
    length_cost_weight=0.15, correlation_cost_weight=0.01, encoding_cost_weight=0.1, resource_cost_weight=0.0
)
_GRID = float(1 << 24)
_DIGITS = 9
_DIVERGED = 1e3
_ONE_HOT_LOGIT = 400.0  # softmax gives exactly one and zeros

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TaskArguments:
    """What the caller chooses.

    Attributes:
        bitstream_length: longest candidate length, a multiple of 8 in 8 .. 65536; the candidates are an eighth, a
            quarter, a half and the whole of it.
        steps: gradient steps, 1 .. 10000.
        learning_rate: 1e-6 .. 10.

    Raises:
        RangeError: out of range.
    """

    bitstream_length: int = 256
    steps: int = 32
    learning_rate: float = 0.4

    def __post_init__(self) -> None:
        length = check_integer("the bitstream length", self.bitstream_length, 8, 1 << 16)
        if length % 8:
            raise RangeError(f"expected the bitstream length as a multiple of 8, got {length}; take {length // 8 * 8}")
        object.__setattr__(self, "bitstream_length", length)
        object.__setattr__(self, "steps", check_integer("the number of steps", self.steps, 1, 10_000))
        object.__setattr__(self, "learning_rate", check_real("the learning rate", self.learning_rate, 1e-6, 10.0))

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        return {
            "bitstream_length": self.bitstream_length,
            "steps": self.steps,
            "learning_rate": self.learning_rate,
        }


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One thread: sums in one order, and no pool to wake for matrices this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, slots=True)
class ReferenceTask:
    """Data, start and objective of the task.

    Attributes:
        arguments: what the caller chose.
        inputs: ``[32, 12]`` in [-1, 1].
        targets: ``[32, 3]``.
        held_out_inputs: ``[64, 12]``, never trained on.
        held_out_targets: ``[64, 3]``.
        start: initial parameters by name.
        linear_fit_loss: squared error of the linear layer the student starts from, in floating point.
    """

    arguments: TaskArguments
    inputs: Tensor
    targets: Tensor
    held_out_inputs: Tensor
    held_out_targets: Tensor
    start: dict[str, Tensor]
    linear_fit_loss: float

    @property
    def design_space(self) -> SCBackpropDesignSpace:
        """Candidate lengths, encodings and the range of the correlation."""
        longest = self.arguments.bitstream_length
        return SCBackpropDesignSpace(
            bitstream_lengths=(longest // 8, longest // 4, longest // 2, longest),
            encodings=_ENCODINGS,
            min_correlation=-_CORRELATION_LIMIT,
            max_correlation=_CORRELATION_LIMIT,
        )

    @property
    def base_config(self) -> DifferentiableSCConfig:
        """Number sources, seeds and estimator."""
        return DifferentiableSCConfig(
            bitstream_length=self.arguments.bitstream_length,
            encoding=_ENCODINGS[0],
            generator="sobol",
            estimator="pathwise_relaxation",
            input_seed=3,
            weight_seed=11,
        )

    def objective(self, parameters: dict[str, Tensor], *, held_out: bool = False) -> SCJointObjectiveReport:
        """The joint objective at these parameters."""
        return stochastic_backprop_joint_objective(
            self.held_out_inputs if held_out else self.inputs,
            self.held_out_targets if held_out else self.targets,
            weight=parameters["weight"],
            bias=parameters["bias"],
            length_logits=parameters["length_logits"],
            encoding_logits=parameters["encoding_logits"],
            correlation_logit=parameters["correlation_logit"],
            base_config=self.base_config,
            design_space=self.design_space,
            objective_config=_OBJECTIVE,
        )

    def discrete_objective(self, parameters: dict[str, Tensor]) -> float:
        """The objective of the exported design alone: all probability on the favourites."""
        with torch.no_grad():
            fixed = dict(parameters)
            for name in ("length_logits", "encoding_logits"):
                logits = parameters[name]
                fixed[name] = torch.zeros_like(logits)
                fixed[name][int(logits.argmax())] = _ONE_HOT_LOGIT
            return float(self.objective(fixed).breakdown.total)

    def to_dict(self) -> dict[str, Any]:
        """Settings as plain fields."""
        return {
            "task_version": TASK_VERSION,
            "description": "teacher-student regression; the teacher's products are correlated sign-magnitude streams",
            "in_features": _INPUTS,
            "out_features": _OUTPUTS,
            "training_samples": _SAMPLES,
            "held_out_samples": _HELD_OUT,
            "seed": _SEED,
            "teacher": {"encoding": "sign_magnitude", "correlation": _TEACHER_CORRELATION},
            "linear_fit_loss": rounded(self.linear_fit_loss),
            "optimizer": {"kind": "gradient descent with momentum", "momentum": _MOMENTUM},
            "design_space": self.design_space.to_dict(),
            "objective_config": _OBJECTIVE.to_dict(),
            "base_config": self.base_config.to_dict(),
            "start": _parameter_fields(self.start),
        }


def _parameter_fields(parameters: dict[str, Tensor]) -> dict[str, Any]:
    return {name: tensor.detach().tolist() for name, tensor in parameters.items()}


def _on_grid(tensor: Tensor) -> Tensor:
    return (tensor * _GRID).round() / _GRID


def rounded(value: Any) -> Any:
    """Plain values with every float to nine significant digits.

    Example:
        >>> rounded({"third": 1 / 3, "steps": 32})
        {'third': 0.333333333, 'steps': 32}
    """
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return value


def _uniform(low: float, high: float, shape: tuple[int, ...], name: str) -> Tensor:
    generator = torch.Generator().manual_seed(derive_seed(_SEED, "reference task", name))
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)


def reference_task(arguments: TaskArguments) -> ReferenceTask:
    """Draw data and teacher, fit the start."""
    shape = (_OUTPUTS, _INPUTS)
    signs = torch.where(_uniform(0.0, 1.0, shape, "teacher signs") < 0.5, -1.0, 1.0).double()
    teacher_weight = signs * _uniform(0.2, 0.5, shape, "teacher weights")
    teacher_bias = _uniform(-0.2, 0.2, (_OUTPUTS,), "teacher bias")
    correlation = torch.tensor(_TEACHER_CORRELATION, dtype=torch.float64)

    def draw(samples: int, name: str) -> tuple[Tensor, Tensor]:
        # on the grid of the hardware's value integers, so that no rounding of inputs enters the comparison
        inputs = (_uniform(-1.0, 1.0, (samples, _INPUTS), name) * 256).round() / 256
        return inputs, dense_mean(inputs, teacher_weight, "sign_magnitude", correlation) + teacher_bias

    inputs, targets = draw(_SAMPLES, "training inputs")
    held_out_inputs, held_out_targets = draw(_HELD_OUT, "held-out inputs")
    columns = torch.cat([inputs, torch.ones(_SAMPLES, 1, dtype=torch.float64)], dim=1)
    fit = torch.linalg.lstsq(columns, targets).solution
    fit = _on_grid(fit)
    weight, bias = fit[:-1].t().clamp(-1.0, 1.0).contiguous(), fit[-1].contiguous()
    start = {
        "weight": weight,
        "bias": bias,
        "length_logits": torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64),
        "encoding_logits": torch.tensor([1.0, 0.0], dtype=torch.float64),
        "correlation_logit": torch.tensor(0.0, dtype=torch.float64),
    }
    loss = float(((inputs @ weight.t() + bias - targets) ** 2).mean())
    return ReferenceTask(arguments, inputs, targets, held_out_inputs, held_out_targets, start, loss)


def _descend(
    task: ReferenceTask, frozen: tuple[str, ...], say: Progress | None
) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
    """Train; the parameters at the end and the curve of the objective."""
    parameters = {name: tensor.clone() for name, tensor in task.start.items()}
    moving = {name: tensor.requires_grad_(True) for name, tensor in parameters.items() if name not in frozen}
    velocity = {name: torch.zeros_like(tensor) for name, tensor in moving.items()}
    curve: list[dict[str, float]] = []
    for step in range(task.arguments.steps):
        report = task.objective(parameters)
        curve.append(_curve_point(report))
        _check_converges(curve)
        if say is not None and (step % 8 == 0 or step == task.arguments.steps - 1):
            point = curve[-1]
            say(
                f"step {step + 1}/{task.arguments.steps}: objective {point['total']:.4f}, task {point['task_loss']:.4f}"
                f", expected length {point['expected_bitstream_length']:.1f}, correlation {point['correlation']:+.3f}"
            )
        gradients = torch.autograd.grad(report.breakdown.total, list(moving.values()))
        with torch.no_grad():
            for (name, tensor), gradient in zip(moving.items(), gradients, strict=True):
                velocity[name] = _on_grid(_MOMENTUM * velocity[name] + gradient)
                tensor.copy_(_on_grid(tensor - task.arguments.learning_rate * velocity[name]))
            parameters["weight"].clamp_(-1.0, 1.0)
    result = {name: tensor.detach() for name, tensor in parameters.items()}
    curve.append(_curve_point(task.objective(result)))
    _check_converges(curve)
    return result, curve


def _check_converges(curve: list[dict[str, float]]) -> None:
    first, last = curve[0]["total"], curve[-1]["total"]
    if not last < _DIVERGED * (1.0 + first):
        raise RangeError(f"the objective went from {first:.3g} to {last:.3g}")


def _curve_point(report: SCJointObjectiveReport) -> dict[str, float]:
    return {
        **report.breakdown.to_dict(),
        "expected_bitstream_length": float(report.expected_bitstream_length.detach()),
        "correlation": float(report.correlation.detach()),
    }


@dataclass(frozen=True, slots=True)
class TrainedTask:
    """The outcome of the reference task.

    Attributes:
        task: data, start and objective.
        parameters: trained parameters by name.
        report: the objective at the end.
        document: the selected design with its trained weights, as integers.
        inputs_raw: value integers of the held-out inputs, ``[64, 12]``.
        fields: every number measured, as plain fields of the benchmark.
    """

    task: ReferenceTask
    parameters: dict[str, Tensor]
    report: SCJointObjectiveReport
    document: Document
    inputs_raw: Any
    fields: dict[str, Any]


def train_reference_task(arguments: TaskArguments, say: Progress | None = None) -> TrainedTask:
    """Train the reference task and its ablations.

    Args:
        arguments: candidate lengths, steps, learning rate.
        say: receives a line now and then.

    Raises:
        RangeError: training diverged; lower the learning rate.
    """
    with one_thread():
        task = reference_task(arguments)
        try:
            return _train(task, say)
        except RangeError as error:
            raise RangeError(
                f"expected training to stay finite, it diverged at a learning rate of {arguments.learning_rate:g}; "
                f"lower it ({error})"
            ) from error


def _train(task: ReferenceTask, say: Progress | None) -> TrainedTask:
    parameters, curve = _descend(task, (), say)
    report = task.objective(parameters)
    document = lower_trained(parameters, report)
    inputs_raw = quantise(task.held_out_inputs.numpy())
    discrete = task.discrete_objective(parameters)
    final = curve[-1]
    ablations = {}
    for name, frozen in ABLATIONS.items():
        if say is not None:
            say(f"ablation: {name} held at its start")
        ablations[name] = _ablation(task, frozen, final["total"], discrete)
    initial = task.objective(task.start)
    measured: dict[str, Any] = {
        "initial": _summary(task, task.start, initial),
        "trained": _summary(task, parameters, report),
        "loss_reduction": _reduction(curve[0]["task_loss"], final["task_loss"]),
        "objective_reduction": _reduction(curve[0]["total"], final["total"]),
        "curve": {key: [point[key] for point in curve] for key in final},
        "ablations": ablations,
    }
    fields = {**rounded(measured), "trained_parameters": _parameter_fields(parameters)}
    return TrainedTask(task, parameters, report, document, inputs_raw, fields)


def _reduction(before: float, after: float) -> dict[str, float]:
    return {"before": before, "after": after, "reduction": before - after, "relative": (before - after) / before}


def _summary(task: ReferenceTask, parameters: dict[str, Tensor], report: SCJointObjectiveReport) -> dict[str, Any]:
    """One set of parameters: objective, design, and the losses of the exported integers."""
    with torch.no_grad():
        held_out = task.objective(parameters, held_out=True)
    document = lower_trained(parameters, report)
    space = task.design_space
    return {
        "objective": report.breakdown.to_dict(),
        "discrete_objective": task.discrete_objective(parameters),
        "length_probabilities": {
            str(length): probability
            for length, probability in zip(
                space.bitstream_lengths, report.length_probabilities.detach().tolist(), strict=True
            )
        },
        "encoding_probabilities": dict(
            zip(space.encodings, report.encoding_probabilities.detach().tolist(), strict=True)
        ),
        "expected_bitstream_length": float(report.expected_bitstream_length.detach()),
        "continuous_correlation": float(report.correlation.detach()),
        "selected_config": report.selected_config.to_dict(),
        "selected_task_loss": report.selected_task_loss,
        "rounding_cost": report.rounding_cost,
        "saturated_share": report.saturated_share,
        "exported_task_loss": _exported_loss(document, task.inputs, task.targets),
        "held_out_task_loss": float(held_out.breakdown.task_loss),
        "held_out_selected_task_loss": held_out.selected_task_loss,
        "held_out_exported_task_loss": _exported_loss(document, task.held_out_inputs, task.held_out_targets),
    }


def _exported_loss(document: Document, inputs: Tensor, targets: Tensor) -> float:
    """Squared error of the integer program: ``mean[(acc / L - target)^2]``, by the reference interpreter."""
    logits = run(document, quantise(inputs.numpy(), document.precision_bits)).logits
    error = logits / document.layers[-1].length - targets.numpy()
    return float((error**2).mean())


def _ablation(task: ReferenceTask, frozen: tuple[str, ...], total: float, discrete: float) -> dict[str, Any]:
    parameters, curve = _descend(task, frozen, None)
    report = task.objective(parameters)
    held = task.discrete_objective(parameters)
    return {
        "held_at_start": list(frozen),
        "objective": curve[-1]["total"],
        "objective_excess": curve[-1]["total"] - total,
        "discrete_objective": held,
        "discrete_objective_excess": held - discrete,
        "task_loss": curve[-1]["task_loss"],
        "selected_bitstream_length": report.selected_bitstream_length,
        "selected_encoding": report.selected_encoding,
        "correlation": report.selected_correlation,
    }


def lower_trained(parameters: dict[str, Tensor], report: SCJointObjectiveReport) -> Document:
    """The selected design of the reference task as its integer program."""
    return lower_dense(
        parameters["weight"],
        parameters["bias"],
        report.selected_config,
        name=NETWORK_NAME,
        layer="trained",
        training={"objective": "stochastic_backprop_joint_objective", "task_version": TASK_VERSION},
    )
