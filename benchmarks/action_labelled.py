"""The action-labelled world model: the LAM's world model told the true action. The upper reference of every table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lamplan.lam import LatentActionModel
from lamplan.models.world_model import WorldModel, WorldModelConfig
from lamplan.weights import build, load_weights, read_config, save_folder

KIND = "action-labelled world model"


@dataclass(frozen=True)
class ActionLabelledConfig:
    feature_dim: int
    side: int
    action_dim: int
    world_model: WorldModelConfig


class ActionLabelledWorldModel(nn.Module):
    """The same network at the same size, with standardised real actions where the LAM has latents."""

    action_mean: Tensor
    action_scale: Tensor

    def __init__(self, config: ActionLabelledConfig) -> None:
        super().__init__()
        self.config = config
        self.world_model = WorldModel(config.world_model, config.feature_dim, config.side, config.action_dim)
        self.register_buffer("action_mean", torch.zeros(config.action_dim))
        self.register_buffer("action_scale", torch.ones(config.action_dim))

    @classmethod
    def like(cls, lam: LatentActionModel, action_dim: int) -> ActionLabelledWorldModel:
        """A new one for the encoder and of the size of a LAM."""
        encoder = lam.config.encoder
        return cls(ActionLabelledConfig(encoder.width, encoder.side, action_dim, lam.config.world_model))

    def standardise(self, actions: Tensor) -> Tensor:
        return (actions - self.action_mean) / self.action_scale

    def forward(self, s_BTPD: Tensor, actions_BTA: Tensor) -> Tensor:
        """Predictions (B, T, P, D) of the next frames from frames and the actions taken at each."""
        return self.world_model(s_BTPD, self.standardise(actions_BTA))

    def imagine(self, s_BPD: Tensor, actions_BTA: Tensor) -> Tensor:
        """A rollout (B, T, P, D) of its own predictions from one frame and the actions taken from there on."""
        return self.world_model.imagine(s_BPD, self.standardise(actions_BTA))

    def save(self, folder: Path) -> None:
        save_folder(folder, KIND, asdict(self.config), self)

    @classmethod
    def load(cls, folder: Path) -> ActionLabelledWorldModel:
        fields = {key: value for key, value in read_config(folder, KIND).items() if key not in ("format", "kind")}
        fields["world_model"] = build(WorldModelConfig, fields.get("world_model"), folder)
        model = cls(build(ActionLabelledConfig, fields, folder))
        load_weights(folder, model)
        return model.eval().requires_grad_(False)
