"""Early stopping: the weights with the best held-out score of a run, and when to give up on better ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict

from lamplan.errors import LamplanError
from lamplan.train.distribution import World


@dataclass(frozen=True)
class Patience:
    """When a run ends before its budget: after so many validations in a row without a lower `score`, which is one of their numbers."""

    score: str
    validations: int


class Best:
    """The lowest score of a run so far, its step and its weights. All of it is in every snapshot, so that a run which goes on
    from one knows the best of then and not of what was lost."""

    def __init__(self, module: nn.Module, patience: Patience, world: World) -> None:
        self.module, self.patience, self.world = module, patience, world
        self.score, self.step, self.waited = math.inf, 0, 0
        self._weights = self._copied()

    @property
    def exhausted(self) -> bool:
        """Whether to wait for a better score no longer."""
        return self.waited >= self.patience.validations

    def see(self, step: int, numbers: Mapping[str, float]) -> None:
        """Takes note of a validation; the module's weights are kept if they are better than all before."""
        score = self.world.from_leader(numbers[self.patience.score])  # one that is not finite is never better
        self.waited += 1
        if score < self.score:
            self.score, self.step, self.waited, self._weights = score, step, 0, self._copied()

    def restore(self) -> None:
        """Gives the module the best weights; LamplanError where no validation gave a finite score, and there are none."""
        if not math.isfinite(self.score):
            raise LamplanError(f"no validation of this run gave a finite '{self.patience.score}', so that none of its weights are known to "
                               "be good: look for damaged data among what is held out, or lower the learning rate.")
        set_model_state_dict(self.module, cast("dict[str, Any]", self._weights))

    def state(self) -> dict[str, Tensor]:
        """What a snapshot keeps; `load` takes it back."""
        numbers = {"score": self.score, "step": self.step, "waited": self.waited}
        return {"weights." + name: tensor for name, tensor in self._weights.items()} | {
            name: torch.tensor(number, dtype=torch.float64) for name, number in numbers.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        self.score, self.step, self.waited = state["score"].item(), int(state["step"].item()), int(state["waited"].item())
        self._weights = {name.removeprefix("weights."): tensor for name, tensor in state.items() if name.startswith("weights.")}

    def _copied(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in cast("dict[str, Tensor]", get_model_state_dict(self.module)).items()}
