"""The world model: s_{t+1} from the past and an action, latent or real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lamplan.errors import InputError
from lamplan.models.frame_causal import Seen, frame_causal
from lamplan.models.layers import FrameAdaLNBlock, grid_positions, rope_tables

KeysValues = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class WorldModelConfig:
    width: int = 256
    depth: int = 2
    heads: int = 4
    context: int = 3  # frames that a prediction sees, the present one included; also the longest window of training
    max_frames: int = 16  # longest past plus horizon


SIZES = {"S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16), "H": (1280, 32, 16)}
"""Width, depth and heads of vision transformers by their usual names. The paper takes L, and others in its scaling study."""


@dataclass(frozen=True)
class Memory:
    """What the next step needs of the frames before it: per layer their keys and values (B, h, tokens, d), the last
    `context - 1` frames alone, and how many frames there have been in all, which is the next one's position in time.

    `shared` (B / N, h, tokens, d) are those of real frames, which the N candidates of an episode have in common.
    """

    keys_values: KeysValues
    frames: int
    shared: KeysValues = field(default_factory=list)

    def each(self, change: Callable[[Tensor], Tensor]) -> Memory:
        """The memory with every tensor changed in the same way: an episode picked, say."""
        own, shared = ([(change(k), change(v)) for k, v in part] for part in (self.keys_values, self.shared))
        return Memory(own, self.frames, shared)

    def as_shared(self) -> Memory:
        """The same frames, now common to all candidates that begin here."""
        return Memory([], self.frames, self.keys_values)


class WorldModel(nn.Module):
    """Block-causal transformer: frame t sees frames 0..t and the actions of each, and predicts frame t+1.

    The output is the present frame plus a change that starts at zero: an untrained model copies the last frame. The action
    is added to the tokens at the input and also modulates every norm (frame-wise AdaLN).
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, config: WorldModelConfig, feature_dim: int, side: int, action_dim: int) -> None:
        super().__init__()
        self.config = config
        self.patches = side * side
        self.embed = nn.Linear(feature_dim, config.width)
        self.action = nn.Sequential(nn.Linear(action_dim, config.width), nn.SiLU(), nn.Linear(config.width, config.width))
        self.blocks = nn.ModuleList(FrameAdaLNBlock(config.width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.head = nn.Linear(config.width, feature_dim)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        cos, sin = rope_tables(grid_positions(config.max_frames, side), config.width // config.heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, s_BTPD: Tensor, a_BTA: Tensor) -> Tensor:
        """Teacher forcing: predictions (B, T, P, D) of frames 1..T from frames 0..T-1 and their actions."""
        frames = s_BTPD.shape[1]
        seen = frame_causal(frames, self.patches, self.config.context, s_BTPD.device)
        return self._run(s_BTPD, a_BTA, 0, seen, [], [])[0]

    def step(self, s_BPD: Tensor, a_BA: Tensor, past: Memory | None) -> tuple[Tensor, Memory]:
        """One step on: the next frame (B, P, D), and the memory that the next call takes as `past`."""
        first = 0 if past is None else past.frames
        own, shared = (past.keys_values, past.shared) if past is not None else ([], [])
        s_next, seen = self._run(s_BPD[:, None], a_BA[:, None], first, None, own, shared)
        kept = (self.config.context - 1) * self.patches
        still_shared = last_tokens(shared, kept - seen[0][0].shape[2])
        return s_next[:, 0], Memory(last_tokens(seen, kept), first + 1, still_shared)

    def imagine(self, s_BPD: Tensor, a_BTA: Tensor) -> Tensor:
        """A rollout of its own predictions: frames 1..T (B, T, P, D) from frame 0 (B, P, D) and the actions at frames 0..T-1."""
        frames: list[Tensor] = []
        memory = None
        for a_BA in a_BTA.unbind(1):
            s_BPD, memory = self.step(s_BPD, a_BA, memory)
            frames.append(s_BPD)
        return torch.stack(frames, dim=1)

    def _run(self, s_BTPD: Tensor, a_BTA: Tensor, first: int, mask: Seen | None,
             past: KeysValues, shared: KeysValues) -> tuple[Tensor, KeysValues]:
        if first + s_BTPD.shape[1] > self.config.max_frames:
            raise InputError(f"the world model has positions for {self.config.max_frames} frames, past and horizon together: plan over "
                             "fewer steps, or train one with more `max_frames`.")
        span = slice(first * self.patches, (first + s_BTPD.shape[1]) * self.patches)
        rope = self.cos[span], self.sin[span]
        condition = self.action(a_BTA)
        x = self.embed(s_BTPD) + condition[:, :, None]
        seen: KeysValues = []
        for i, block in enumerate(self.blocks):
            x, keys_values = block(x, condition, rope, mask, past[i] if past else None, shared[i] if shared else None)
            seen.append(keys_values)
        return s_BTPD + self.head(self.norm(x)), seen


def last_tokens(keys_values: KeysValues, count: int) -> KeysValues:
    """The keys and values of the last `count` tokens; nothing where that is none."""
    return [(k[:, :, max(0, k.shape[2] - count) :], v[:, :, max(0, v.shape[2] - count) :]) for k, v in keys_values] if count > 0 else []
