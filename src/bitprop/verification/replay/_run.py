"""One recorded run of the hard network, and replays of it in chosen directions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointFunction

from bitprop.errors import BitpropError, ConfigError
from bitprop.verification.claim import Claim
from bitprop.verification.replay._calling import Pausable, eager, forward_of, inside, named_errors
from bitprop.verification.replay._carrier import COMPLEX, DUAL, AbstractCarrier, CarrierError
from bitprop.verification.replay._functions import (
    classify,
    intercepted,
    main_position,
    patched_targets,
    place_of,
)
from bitprop.verification.replay._modes import Passes, Recorder, Replayer
from bitprop.verification.replay._slopes import coded_slopes, grouped
from bitprop.verification.replay._tape import CustomCall, CutSite, ModulePath, SpikeCall, Tape, source_line
from bitprop.verification.replay._world import (
    Problem,
    RunError,
    Snapshot,
    double_precision,
    map_floats,
    random_state,
    swapped,
)

__all__ = ["OpaqueSpikesError", "ReplayRun", "Session", "open_session"]


class OpaqueSpikesError(BitpropError, RuntimeError):
    """A custom autograd function spikes inside; there is no place to put the claimed slope."""


@dataclass(frozen=True)
class ReplayRun:
    """What one replay gave.

    Attributes:
        loss: the loss, which has to be the hard network's.
        tangent: its directional derivative under the claim.
        misaligned: decisions or cuts that did not match the tape.
        carrier: how the tangent travelled.
    """

    loss: float
    tangent: float
    misaligned: int
    carrier: str


class Session:
    """A problem recorded once; see :func:`open_session`."""

    def __init__(self, problem: Problem, claim: Claim, *, lift: bool, rewind: Callable[[], None]) -> None:
        self.problem, self.claim, self.lifted = problem, claim, lift
        self._lift, self._rewind = lift, rewind
        self._snapshot = Snapshot(problem.model)
        self._double = lift or all(p.dtype == torch.float64 for p in problem.model.parameters())
        widen = (lambda x: x.double()) if self._double else (lambda x: x)
        self._inputs, self._targets = map_floats(widen, problem.inputs), map_floats(widen, problem.targets)
        self._parameters = problem.parameters()
        self.held: dict[str, Tensor] = {}  # masks of square weights without self-connections
        self.evaluations = 0
        self.last: ReplayRun | None = None
        self.seen: dict[int, Tensor] = {}  # tangents at the inputs of spike calls in the last replay
        self.tape = Tape()
        self._events: list[SpikeCall | CustomCall] = []
        self.loss = 0.0
        self.gradients: dict[str, Tensor] = {}
        self.unreached: tuple[str, ...] = ()
        self._record()

    # --- the hard network ---------------------------------------------------------------------------------------

    @contextmanager
    def _fresh(self) -> Iterator[None]:
        self._rewind()
        try:
            yield
        finally:
            self._snapshot.restore()

    def _record(self) -> None:
        """Run the hard network forward and backward; note what happened."""
        with self._fresh():
            for parameter in self.problem.model.parameters():
                parameter.grad = None
            loss, tape, recorder, self._events = self._forward()
            if loss.requires_grad:
                with recorder, named_errors("the backward pass"):
                    loss.backward()  # type: ignore[no-untyped-call]
            gradients = {name: p.grad for name, p in self._parameters.items()}
            self.unreached = tuple(name for name, grad in gradients.items() if grad is None)
            self.gradients = {
                name: torch.zeros_like(self._parameters[name]) if grad is None else grad.detach().clone()
                for name, grad in gradients.items()
            }
            self.loss, self.tape = float(loss.detach()), tape
            self.held = {
                name: 1.0 - torch.eye(len(g), dtype=torch.float64)
                for name, g in self.gradients.items()
                if _has_held_diagonal(self._parameters[name], g)
            }
            for call in tape.spikes:
                call.output = call.output.detach()  # lets the graph go
        self.evaluations += 3
        self._fill_slopes()

    def rounding(self) -> float:
        """Size below which a coordinate of a gradient is rounding: of the largest gradient, or of the loss.

        A bias in front of a normalisation, say, has a gradient of zero, computed as the difference of large terms.
        """
        sizes = [float(g.abs().max()) for g in self.gradients.values() if g.numel()]
        narrow = any(g.dtype != torch.float64 for g in self.gradients.values())
        return (3e-6 if narrow else 1e-12) * max(*sizes, abs(self.loss), 1e-300)

    def site_gradients(self) -> list[Tensor]:
        """``dL/ds`` at the output of every spike call, by the hard network's backward pass."""
        with self._fresh():
            loss, tape, recorder, _ = self._forward()
            with recorder:
                outputs = [call.output for call in tape.spikes]
                wanted = [x for x in outputs if x.requires_grad]
                reached = torch.autograd.grad(loss, wanted, allow_unused=True) if wanted and loss.requires_grad else ()
                found = iter(reached)
                grads = [next(found, None) if x.requires_grad else None for x in outputs]
        self.evaluations += 3
        return [torch.zeros_like(x) if g is None else g.detach() for x, g in zip(outputs, grads, strict=True)]

    def values_that_return(self) -> list[CutSite]:
        """Where tensors become numbers that the loss depends on: where no gradient can pass.

        The program is run again with the numbers of one source line changed a little.  Numbers that are only logged
        change nothing; where the changed program cannot run, nothing is said.
        """
        found = []
        for site in {site.line: site for site in self.tape.values}.values():
            try:
                with self._fresh():
                    loss = self._forward(shaken=site.line)[0]
            except RunError:
                continue
            self.evaluations += 1
            if not abs(float(loss.detach()) - self.loss) <= 1e-9 * abs(self.loss):
                found.append(site)
        return found

    def _forward(self, shaken: str = "") -> tuple[Tensor, Tape, Recorder, list[SpikeCall | CustomCall]]:
        tape, path = Tape(), ModulePath(self.problem.model)
        recorder = Recorder(tape, path, lift=self._lift, shaken=shaken)
        events: list[SpikeCall | CustomCall] = []
        kinds: dict[tuple[Any, ...], str] = {}

        def handle(cls: type, original: Callable[..., Any], args: tuple[Any, ...]) -> Any:
            if cls is CheckpointFunction:
                raise RunError(
                    f"expected no reentrant checkpointing, met it at {source_line()}: its backward pass runs a part of "
                    "the model anew, out of sight; checkpoint with use_reentrant=False"
                )
            with torch._C.DisableTorchFunction() if not self._lift else inside(recorder):
                output = original(*args)
            key = (cls, tuple(x.shape for x in args if isinstance(x, Tensor)))
            if key not in kinds:
                kinds[key] = classify(original, args, output)
            self._note(tape, events, path, cls.__qualname__, place_of(cls), original, args, output, kinds[key])
            return output

        def wrap(target: str, original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                def evaluate(*arguments: Any) -> Any:
                    return original(*arguments, **kwargs)

                with inside(recorder):
                    blocked = interception.pause()
                    try:
                        output = evaluate(*args)
                    finally:
                        blocked()
                self._note(tape, events, path, target, place_of(original), evaluate, args, output, "spike")
                return output

            return call

        interception = Pausable(handle)
        try:
            with ExitStack() as stack:
                stack.enter_context(patched_targets(self.claim.spike, wrap))
                stack.enter_context(intercepted(interception))
                stack.enter_context(recorder)
                stack.enter_context(eager())
                with named_errors("the forward pass"):
                    outputs = self.problem.outputs(self._inputs)
                with named_errors("the loss"):
                    loss = self.problem.loss_of(outputs, self._targets)
        finally:
            recorder.noting = False
            path.close()
        return loss, tape, recorder, events

    def _note(
        self,
        tape: Tape,
        events: list[SpikeCall | CustomCall],
        path: ModulePath,
        name: str,
        place: str,
        evaluate: Callable[..., Any],
        args: tuple[Any, ...],
        output: Any,
        kind: str,
    ) -> None:
        with torch._C.DisableTorchFunction():
            frozen = tuple(x.detach().clone() if isinstance(x, Tensor) else x for x in args)
            module, line = path.current, source_line()
            position = main_position(args, output)
            if kind != "spike" or position is None:
                call = CustomCall(name, place, module, line, frozen, kind != "smooth", evaluate)
                tape.custom.append(call)
                events.append(call)
                return
            spike = SpikeCall(
                index=len(tape.spikes),
                module=module,
                line=line,
                step=tape.step(module, line),
                function=name,
                place=place,
                x0=frozen[position],
                s0=output.detach().clone(),
                arguments=frozen,
                position=position,
                output=output,
                evaluate=evaluate,
            )
            tape.spikes.append(spike)
            events.append(spike)

    # --- slopes -------------------------------------------------------------------------------------------------

    def _fill_slopes(self) -> None:
        idle = Recorder(Tape(), ModulePath(torch.nn.Module()), lift=self._lift)
        idle.noting = False
        with idle, named_errors("the spike function's backward pass"):
            for calls in grouped(self.tape.spikes):
                coded_slopes(calls)
        for call in self.tape.spikes:
            self._fill_slope(call)
            assert call.slope is not None  # noqa: S101 - just filled in
            thresholds = dict.fromkeys(call.thresholds(), -call.slope)
            call.others = {**call.coded_others, **thresholds}

    def _fill_slope(self, call: SpikeCall) -> None:
        claimed = self.claim.slope_for(call.module)
        if claimed is None:
            call.slope = call.coded
            return
        rest = call.arguments[: call.position] + call.arguments[call.position + 1 :]
        wide = call.x0.double()
        slope = claimed(wide, *rest)
        if not isinstance(slope, Tensor) or slope.shape != wide.shape:
            raise RunError(f"expected the claimed slope to be elementwise, got {slope!r} for {list(wide.shape)}")
        call.slope = slope

    # --- the smooth network -------------------------------------------------------------------------------------

    def parameter(self, name: str) -> Tensor:
        """The value of a trainable parameter, detached."""
        return self._parameters[name].detach()

    def smooth_loss(self, parameters: Mapping[str, Tensor], primal: Callable[[Tensor], Tensor]) -> Tensor:
        """The loss at other parameters, every spike function replaced by ``primal``; differentiable."""
        events = iter(self._events)

        def handle(_cls: type, original: Callable[..., Any], args: tuple[Any, ...]) -> Any:
            call = next(events, None)
            return primal(args[call.position]) if isinstance(call, SpikeCall) else original(*args)

        def wrap(_target: str, original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **_kwargs: Any) -> Any:
                return handle(type(original), original, args)

            return call

        idle = Recorder(Tape(), ModulePath(torch.nn.Module()), lift=self._lift)
        idle.noting = False
        values: dict[Tensor, Tensor] = {self._parameters[name]: value for name, value in parameters.items()}
        with self._fresh(), ExitStack() as stack:
            stack.enter_context(swapped(self.problem.model, values))
            stack.enter_context(patched_targets(self.claim.spike, wrap))
            stack.enter_context(intercepted(handle))
            stack.enter_context(eager())
            stack.enter_context(idle)
            with named_errors("the smooth network"):
                loss = self.problem.loss_of(self.problem.outputs(self._inputs), self._targets)
        self.evaluations += 1
        return loss

    # --- the replay ---------------------------------------------------------------------------------------------

    def passes(self, site: CutSite) -> bool:
        """Whether the claim lets gradients pass a cut of the code."""
        if site.granted or self.claim.allows_cut(site.line):
            return False
        return self.claim.reset == "attached" if site.discrete else True

    def replay(
        self,
        directions: Mapping[str, Tensor],
        *,
        injections: Mapping[int, Tensor] | None = None,
        passes: Passes | None = None,
        coded: bool = False,
        carrier: AbstractCarrier | None = None,
    ) -> ReplayRun:
        """Directional derivative of the loss under the claim.

        Args:
            directions: tangents of parameters by name; others are held.
            injections: tangents added to the outputs of spike calls, by index.
            passes: replaces the claim's rule for cuts.
            coded: use the slopes that the code's backward has instead of the claimed ones.
            carrier: how tangents travel; default: complex step, else dual numbers where that cannot run.

        Raises:
            OpaqueSpikesError: a custom function spikes inside.
            RunError: the model cannot run with tangents at all.
        """
        for call in self.tape.custom:
            if call.opaque:
                raise OpaqueSpikesError(
                    f"{call.name} (called at {call.line}) computes spikes inside one custom autograd function, so its "
                    "slope cannot be replaced; verify its step-by-step form, and compare the two by kernel parity"
                )
        if carrier is not None:
            return self._replay(directions, injections or {}, passes or self.passes, coded, carrier)
        try:
            return self._replay(directions, injections or {}, passes or self.passes, coded, COMPLEX)
        except (CarrierError, RunError):
            with named_errors("the replay", CarrierError):
                return self._replay(directions, injections or {}, passes or self.passes, coded, DUAL)

    def _replay(
        self,
        directions: Mapping[str, Tensor],
        injections: Mapping[int, Tensor],
        passes: Passes,
        coded: bool,
        carrier: AbstractCarrier,
    ) -> ReplayRun:
        self.seen = {}
        replayer = Replayer(
            self.tape, carrier, passes, attached=self.claim.reset == "attached", slope=self.claim.slope_for
        )
        events = iter(self._events)

        def spike(call: SpikeCall, args: tuple[Any, ...]) -> Tensor:
            s0 = call.s0.double()
            tangent = None
            arriving = carrier.tangent(args[call.position])
            if arriving is not None and injections:
                self.seen[call.index] = arriving.detach().clone()
            others = call.coded_others if coded else call.others
            slopes = {call.position: call.coded if coded else call.slope, **others}
            for position, slope in slopes.items():
                moved = carrier.tangent(args[position]) if isinstance(args[position], Tensor) else None
                if moved is not None and slope is not None:
                    tangent = slope * moved if tangent is None else tangent + slope * moved
            if call.index in injections:
                tangent = injections[call.index] if tangent is None else tangent + injections[call.index]
            return carrier.constant(s0) if tangent is None else carrier.join(s0, tangent)

        def handle(cls: type, original: Callable[..., Any], args: tuple[Any, ...]) -> Any:
            with torch._C.DisableTorchFunction():
                return step(cls, original, args)

        def step(cls: type, _original: Callable[..., Any], args: tuple[Any, ...]) -> Any:
            call = next(events, None)
            if call is None or (isinstance(call, SpikeCall) and not _same_shape(call, args)):
                raise RunError("the model took another path in the replay than in the recorded run; is it random?")
            if isinstance(call, SpikeCall):
                return spike(call, args)
            return carrier.call(forward_of(cls), args, {})

        def wrap(_target: str, original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **_kwargs: Any) -> Any:
                with torch._C.DisableTorchFunction():
                    return step(type(original), original, args)

            return call

        model = self.problem.model
        with self._fresh(), ExitStack() as stack:
            stack.enter_context(carrier.level())
            values: dict[Tensor, Tensor] = {}
            for tensor in (*model.parameters(), *model.buffers()):
                if tensor.is_floating_point():
                    values[tensor] = carrier.constant(tensor.detach().double())
            for name, direction in directions.items():
                parameter = self._parameters[name]
                held = self.held.get(name)
                moved = direction if held is None else direction * held
                values[parameter] = carrier.join(parameter.detach().double(), moved)
            stack.enter_context(swapped(model, values))
            stack.enter_context(patched_targets(self.claim.spike, wrap))
            stack.enter_context(intercepted(handle))
            stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore")
            warnings.filterwarnings("error", message="Casting complex values to real")
            inputs = map_floats(lambda x: carrier.constant(x.double()), self._inputs)
            targets = map_floats(lambda x: x.double(), self._targets)
            stack.enter_context(eager())
            stack.enter_context(replayer)
            with named_errors("the replay"):
                loss = self.problem.loss_of(self.problem.outputs(inputs), targets)
            with torch._C.DisableTorchFunction():
                tangent = carrier.tangent(loss)
                result = float(carrier.primal(loss).detach()), 0.0 if tangent is None else float(tangent.detach())
        self.evaluations += 1
        misaligned = sum(replayer.misaligned.values()) + sum(1 for _ in events)
        self.last = ReplayRun(*result, misaligned, carrier.name)
        return self.last


def _has_held_diagonal(parameter: Tensor, gradient: Tensor) -> bool:
    """Whether a recurrent weight leaves out self-connections: a hook holds its diagonal at zero."""
    square = parameter.dim() == 2 and parameter.shape[0] == parameter.shape[1] and parameter.shape[0] > 1
    if not square or not parameter._backward_hooks:
        return False
    values, grads = parameter.detach().diagonal(), gradient.diagonal()
    return not bool(values.any()) and not bool(grads.any()) and bool(gradient.any())


def _same_shape(call: SpikeCall, args: tuple[Any, ...]) -> bool:
    return (
        len(args) > call.position
        and isinstance(args[call.position], Tensor)
        and (args[call.position].shape == call.x0.shape)
    )


@contextmanager
def open_session(problem: Problem, claim: Claim, *, lift: bool) -> Iterator[Session]:
    """Record ``problem``; the model and the random generators are as before when the context closes.

    Args:
        problem: what is verified.
        claim: what is claimed of it.
        lift: hold parameters in float64 meanwhile and compute in float64 what the code asks for in float32.

    Raises:
        RunError: the model or the loss raised.
    """
    with ExitStack() as stack:
        rewind = stack.enter_context(random_state())
        if lift:
            stack.enter_context(double_precision(problem.model))
        session = Session(problem, claim, lift=lift, rewind=rewind)
        modules = {call.module for call in session.tape.spikes} | {site.module for site in session.tape.cuts}
        for what, pattern, names in (
            *(("site", site.module, modules) for site in claim.sites),
            *(("unused", pattern, set(session.gradients)) for pattern in claim.unused),
        ):
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ConfigError(
                    f"expected {what} {pattern!r} of the claim to fit something, it fits none of "
                    f"{', '.join(sorted(repr(name) for name in names)) or 'nothing'}; correct or remove it"
                )
        yield session
