"""The design variables of one layer: stream length, encoding and correlation, learned beside its weights.

Probabilities are ``softmax(logits / temperature)``; the correlation is ``middle + half * tanh(logit)`` of its
range.  Lowering the temperature turns the mixture into a choice; committing makes it exactly the argmax.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from bitprop._checks import check_integer, check_real
from bitprop.errors import RangeError
from bitprop.formats import encoding_of
from bitprop.nn.sources import MAX_LENGTH

__all__ = ["NEGLIGIBLE", "Chosen", "DesignChoice", "DesignVariables", "check_candidates", "dot"]

NEGLIGIBLE = 1e-4
"""A design less likely than this adds nothing that float32 logits could learn from, but costs a forward pass."""
Candidate = TypeVar("Candidate", int, str)


@dataclass(frozen=True, slots=True)
class DesignChoice:
    """The discrete design of one layer, as exported.

    Attributes:
        length: stream length L in cycles.
        encoding: encoding name.
        correlation_raw: correlation times ``2**n``.
        correlation: the quantised correlation, in [-1, 1].
    """

    length: int
    encoding: str
    correlation_raw: int
    correlation: float

    def to_dict(self) -> dict[str, Any]:
        """Plain fields."""
        return asdict(self)


def check_candidates(
    lengths: Sequence[int], encodings: Sequence[str], correlation_range: tuple[float, float]
) -> tuple[tuple[int, ...], tuple[str, ...], tuple[float, float]]:
    """Validate a design space.

    Raises:
        RangeError: empty, unsorted or repeated lengths, unknown or repeated encodings, a range outside [-1, 1].
    """
    checked = tuple(check_integer("a stream length", value, 1, MAX_LENGTH) for value in lengths)
    if not checked or any(a >= b for a, b in itertools.pairwise(checked)):
        raise RangeError(f"expected strictly increasing stream lengths, at least one, got {tuple(lengths)!r}")
    names = tuple(encoding_of(name).name for name in encodings)
    if not names or len(set(names)) != len(names):
        raise RangeError(f"expected distinct encodings, at least one, got {tuple(encodings)!r}")
    low, high = (check_real("a correlation bound", bound, -1.0, 1.0) for bound in correlation_range)
    if low > high:
        raise RangeError(f"expected the smallest correlation first, got {correlation_range!r}; swap them")
    return checked, names, (low, high)


def dot(a: Iterable[float], b: Iterable[float]) -> float:
    """``sum_k a_k b_k`` of as many numbers."""
    return sum((x * y for x, y in zip(a, b, strict=True)), start=0.0)


class Chosen:
    """The candidates of one design variable that matter, from the probabilities of all.

    Args:
        probabilities: ``softmax(logits / temperature)``, ``[K]``.
        temperature: what the logits are divided by.
        least: a candidate that is no likelier is left out.

    Attributes:
        kept: the indices of those that matter.
        probabilities: theirs.

    Example:
        >>> chosen = Chosen(torch.tensor([0.25, 0.0, 0.75]), 1.0)
        >>> chosen.of(("a", "b", "c")), chosen.probabilities
        (('a', 'c'), [0.25, 0.75])
    """

    __slots__ = ("_all", "_temperature", "_tensor", "kept", "probabilities")

    def __init__(self, probabilities: Tensor, temperature: float, least: float = NEGLIGIBLE) -> None:
        self._tensor, self._temperature = probabilities, temperature
        self._all: list[float] = probabilities.tolist()
        self.kept = [k for k, probability in enumerate(self._all) if probability > least]
        self.probabilities = [self._all[k] for k in self.kept]

    def of(self, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
        """Those that matter, of all candidates."""
        return tuple([candidates[k] for k in self.kept])

    def tensors(self) -> list[Tensor]:
        """Their probabilities, differentiable scalars."""
        return [self._tensor[k] for k in self.kept]

    def in_logits(self, gradients: list[float]) -> list[float]:
        """``p_k (g_k - sum_j p_j g_j) / temperature``, with gradients g of the probabilities that are kept."""
        given = dict(zip(self.kept, gradients, strict=True))
        mean = dot(self.probabilities, gradients)
        return [p * (given.get(k, 0.0) - mean) / self._temperature for k, p in enumerate(self._all)]


# The choice among one candidate, whatever its logit.
_CERTAIN = Chosen(torch.ones(1), 1.0)


def _first_largest(logits: Tensor) -> int:
    """Index of the largest, the first of equal ones on every platform."""
    values: list[float] = logits.tolist()
    return values.index(max(values))


class DesignVariables(nn.Module):
    """Length logits ``[K]``, encoding logits ``[E]`` and a correlation logit.

    Args:
        lengths: candidate stream lengths, strictly increasing.
        encodings: candidate encodings.
        correlation_range: smallest and largest correlation; equal bounds fix it.
        precision_bits: n, which quantises the correlation.

    Raises:
        RangeError: see :func:`check_candidates`.
    """

    length_logits: nn.Parameter
    encoding_logits: nn.Parameter
    correlation_logit: nn.Parameter
    committed: Tensor

    def __init__(
        self,
        lengths: Sequence[int],
        encodings: Sequence[str],
        correlation_range: tuple[float, float],
        precision_bits: int,
    ) -> None:
        super().__init__()
        self.lengths, self.encodings, self.correlation_range = check_candidates(lengths, encodings, correlation_range)
        self.precision_bits = precision_bits
        self.temperature = 1.0
        self.length_logits = nn.Parameter(torch.zeros(len(self.lengths)))
        self.encoding_logits = nn.Parameter(torch.zeros(len(self.encodings)))
        self.correlation_logit = nn.Parameter(torch.zeros(()))
        self.register_buffer("committed", torch.tensor(False))

    @property
    def is_committed(self) -> bool:
        """Whether the choice is made: probabilities are one-hot and no longer learned."""
        # asked in every forward pass: less than half the time of bool(self.committed)
        return cast(bool, self._buffers["committed"].item())  # type: ignore[union-attr]

    @property
    def learns_correlation(self) -> bool:
        """Whether the correlation is still a variable."""
        low, high = self.correlation_range
        return low < high and not self.is_committed

    def _probabilities(self, logits: Tensor, is_committed: bool) -> Tensor:
        if is_committed:
            chosen = torch.zeros_like(logits, requires_grad=False)
            chosen[_first_largest(logits)] = 1.0
            return chosen
        if len(logits) == 1:  # certain, whatever its logit
            return torch.ones_like(logits, requires_grad=False)
        return torch.softmax(logits if self.temperature == 1 else logits / self.temperature, dim=0)

    def length_probabilities(self) -> Tensor:
        """``[K]``, summing to one."""
        return self._probabilities(self.length_logits, self.is_committed)

    def encoding_probabilities(self) -> Tensor:
        """``[E]``, summing to one."""
        return self._probabilities(self.encoding_logits, self.is_committed)

    def chosen(self, *, differentiable: bool = True) -> tuple[Chosen, Chosen]:
        """The lengths and the encodings that matter, with gradients in the logits or without."""
        is_committed = self.is_committed
        return self._chosen(self.length_logits, len(self.lengths), is_committed, differentiable), self._chosen(
            self.encoding_logits, len(self.encodings), is_committed, differentiable
        )

    def _chosen(self, logits: Tensor, candidates: int, is_committed: bool, differentiable: bool) -> Chosen:
        if candidates == 1:
            return _CERTAIN
        return Chosen(
            self._probabilities(logits if differentiable else logits.detach(), is_committed), self.temperature
        )

    def expected_length(self) -> Tensor:
        """``sum_L p_L L`` in cycles, differentiable."""
        lengths = torch.tensor(self.lengths, dtype=self.length_logits.dtype)
        return (self.length_probabilities() * lengths).sum()

    def correlation(self) -> Tensor:
        """The correlation, a scalar in the range, differentiable in its logit unless the range is one point."""
        low, high = self.correlation_range
        if low == high:
            return self.correlation_logit.new_full((), low)
        value = (low + high) / 2 + (high - low) / 2 * torch.tanh(self.correlation_logit)
        return value.detach() if self.is_committed else value

    def correlation_raw(self) -> int:
        """The correlation as the hardware has it: ``round(c * 2**n)``."""
        return 0 if self.correlation_range == (0.0, 0.0) else self.quantised(self.correlation())

    def quantised(self, correlation: Tensor) -> int:
        """``round(c * 2**n)``."""
        return round(correlation.item() * (1 << self.precision_bits))

    def choice(self) -> DesignChoice:
        """The discrete design: argmax length and encoding (the first among equals), quantised correlation."""
        raw = self.correlation_raw()
        return DesignChoice(
            length=self.lengths[_first_largest(self.length_logits)],
            encoding=self.encodings[_first_largest(self.encoding_logits)],
            correlation_raw=raw,
            correlation=raw / float(1 << self.precision_bits),
        )

    def commit(self) -> DesignChoice:
        """Replace the mixture by its choice, for good, and return it."""
        choice = self.choice()
        self.committed.fill_(True)
        for parameter in self.parameters():
            parameter.requires_grad_(False)
        return choice
