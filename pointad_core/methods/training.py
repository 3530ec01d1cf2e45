"""Training on one auxiliary category (Sec. 3.5, Eq. 6).

A step reads cached features only. Text embeddings are computed once a step, or once a cloud where they are its own;
each cloud of the batch adds its share of their gradient, which then runs through the text tower. A step therefore takes
the memory of a single cloud, whatever the batch, unless the views of its clouds are to be mixed. A system with a
network of its own is trained by the same steps.
"""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch.optim.adam import adam

from pointad_core.errors import InputError
from pointad_core.methods.interface import Learner, Learning, Settings, State, state_for
from pointad_core.methods.segmentation import PointSample, Sample, move, pin
from pointad_core.methods.targets import PointTargets, Targets

Example = tuple[Sample, Targets] | tuple[PointSample, PointTargets]  # a scan as it is trained on
Load = Callable[[int], Example]
Batch = tuple[int, list[int]]

logger = logging.getLogger(__name__)


def batches(n_examples: int, settings: Settings, generator: torch.Generator) -> list[Batch]:
    """Epoch (from 1) and indices of the examples of each step: shuffled every epoch, the last batch however small."""
    return [
        (epoch, batch.tolist())
        for epoch in range(1, settings.epochs + 1)
        for batch in torch.randperm(n_examples, generator=generator).split(settings.batch_size)
    ]


class Adam:
    """`torch.optim.Adam` with its defaults, by the function that this calls: the class imports torch's compiler, which
    takes longer than all else that a job imports."""

    def __init__(self, parameters: Iterable[torch.Tensor], lr: float, betas: tuple[float, float]) -> None:
        self.parameters, self.lr, self.betas = list(parameters), lr, betas
        self.moments = [(torch.zeros_like(part), torch.zeros_like(part)) for part in self.parameters]
        self.steps = [torch.tensor(0.0) for _ in self.parameters]

    def zero_grad(self) -> None:
        for part in self.parameters:
            part.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move each parameter that has a gradient, in place."""
        reached = [index for index, part in enumerate(self.parameters) if part.grad is not None]
        adam(
            [self.parameters[index] for index in reached],
            [cast("torch.Tensor", self.parameters[index].grad) for index in reached],
            [self.moments[index][0] for index in reached],
            [self.moments[index][1] for index in reached],
            [],
            [self.steps[index] for index in reached],
            lr=self.lr,
            beta1=self.betas[0],
            beta2=self.betas[1],
            eps=1e-8,
            weight_decay=0.0,
            amsgrad=False,
            maximize=False,
        )


def mix_views(examples: Sequence[Example]) -> list[Example]:
    """A batch's examples with the views that the published implementation takes for each one's global 3-D loss.

    There, the K views of b clouds stand one after the other, cloud by cloud, and cloud i gets the mean over the rows
    i, i + b, i + 2 b and so on: its own views for b = 1, and mostly those of the others for b = 4.
    """
    clouds = [sample for sample, _ in examples if isinstance(sample, Sample)]
    if len(clouds) < len(examples):
        raise InputError("global_3d is 'mixed_logit_mean', for a system that reads clouds alone and has no views")
    rows = torch.cat([sample.views for sample in clouds])
    mixed = [replace(sample, mixed=rows[index :: len(clouds)]) for index, sample in enumerate(clouds)]
    return cast("list[Example]", [(sample, targets) for sample, (_, targets) in zip(mixed, examples, strict=True)])


def train_step(
    system: Learning,
    learner: Learner,
    optimizer: Adam | torch.optim.Optimizer,
    examples: Iterable[Example],
    n_examples: int,
    settings: Settings,
    device: torch.device,
) -> dict[str, float]:
    """One step on a batch of n_examples clouds, taken one after the other; updates the learner in place.

    Returns the unweighted terms that have a weight and the weighted total, means over the batch. Where the total is
    not finite, nothing is updated. Raises InputError for a term that the system does not give.
    """
    weights = {name: weight for name, weight in settings.loss_weights.items() if weight}
    given = learner.state()
    states: list[tuple[State, State]] = []
    losses: list[torch.Tensor] = []
    names = [*weights, "total"]
    if settings.global_3d == "mixed_logit_mean" and "global_3d" in weights:
        examples = mix_views(list(examples))
    for example, targets in examples:
        sample = example.on(device)
        if callable(given) or not states:
            state = state_for(given, sample)
            leaves = {name: part.detach().requires_grad_(part.requires_grad) for name, part in state.items()}
            states.append((state, leaves))
        found = system.loss_terms(leaves, sample, move(targets, device), settings)
        if missing := sorted(weights.keys() - found.keys()):
            raise InputError(f"the system's loss_terms gives {sorted(found)}, and nothing for {missing}")
        terms = {name: found[name]() for name in weights}
        terms["total"] = torch.stack([weight * terms[name] for name, weight in weights.items()]).sum()
        if terms["total"].requires_grad:
            (terms["total"] / n_examples).backward()
        losses.append(torch.stack([terms[name].detach().reshape(()) for name in names]))
    # Read once a step: whoever reads a GPU's number waits until all that was asked of it is done.
    row = dict.fromkeys(names, 0.0)
    for values in torch.stack(losses).tolist():
        for name, value in zip(names, values, strict=True):
            row[name] += value / n_examples
    if math.isfinite(row["total"]):
        optimizer.zero_grad()
        for state, leaves in states:
            reached = {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
            if reached:
                # A scalar that has these gradients: torch would import a computer algebra to take them as they are.
                torch.stack([(state[name] * grad).sum() for name, grad in reached.items()]).sum().backward()
        optimizer.step()
    return row


def train(
    system: Learning,
    learner: Learner,
    load: Load,
    n_examples: int,
    settings: Settings,
    generator: torch.Generator,
    device: torch.device,
    watch: Callable[[list[Batch]], Iterable[Batch]] = iter,
) -> list[dict[str, float]]:
    """Optimise the learner in place (Adam, Sec. 4); return a row per step: epoch, step (from 1), terms, total.

    load: gives the example of an index 0..n_examples-1; generator: shuffles the clouds; watch: passes the steps
    through, for whoever shows progress. Raises InputError naming the step when the loss is no longer finite, and
    after the first epoch where the losses have reached some parameter in none of its steps.
    """
    if begin := getattr(learner, "begin", None):
        begin(sample.on(device) for sample, targets in map(load, range(n_examples)) if not targets.defective)
    optimizer = Adam(learner.parameters(), settings.learning_rate, settings.betas)
    untouched = [part for part in learner.parameters() if part.numel()]
    rows: list[dict[str, float]] = []
    for epoch, batch in watch(batches(n_examples, settings, generator)):
        terms = train_step(system, learner, optimizer, map(load, batch), len(batch), settings, device)
        rows.append({"epoch": epoch, "step": len(rows) + 1, **terms})
        if not math.isfinite(terms["total"]):
            told = f"{terms}; a lower learning_rate than {settings.learning_rate} may help"
            raise InputError(f"the loss is not finite at step {len(rows)} (epoch {epoch}): {told}")
        # A part may be reached by some clouds alone; an epoch has seen them all.
        untouched = [part for part in untouched if part.grad is None]
        if untouched and len(rows) == math.ceil(n_examples / settings.batch_size):
            raise InputError(
                f"loss_weights: the losses {', '.join(name for name in terms if name != 'total')} leave a part of what "
                "scores at its start; give a weight to another, or take a system without that part"
            )
        logger.info("epoch %d, step %d: loss %.4f", epoch, len(rows), terms["total"])
    return rows


def n_bytes(part: Any) -> int:
    """Memory of the tensors in a sample or its targets."""
    if isinstance(part, torch.Tensor):
        return part.nbytes
    return sum(map(n_bytes, vars(part).values())) if hasattr(part, "__dataclass_fields__") else 0


def cached(load: Load, device: torch.device, budget: int = 4 << 30) -> Load:
    """Keep what `load` gives in memory, first come first kept, up to so many bytes. Nothing is evicted: each epoch
    visits every scan once, where the least recently used is the next to be needed. device: what is trained on; where
    it is a GPU, it fetches what is kept by itself."""
    kept: dict[int, Example] = {}
    used = 0

    def get(index: int) -> Example:
        nonlocal used
        item = kept.get(index) or load(index)
        if index not in kept and used + (size := sum(map(n_bytes, item))) <= budget:
            if device.type == "cuda":
                item = pin(item[0]), pin(item[1])
            kept[index] = item
            used += size
        return item

    return get
