"""From features back to pixels (paper section 2.4): pictures of what a model predicts. Nothing plans or learns through it.

Shapes: B batch, T steps, P patches of a step, D feature width.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lamplan.errors import CheckpointError, InputError
from lamplan.models.encoder import Encoder, EncoderConfig
from lamplan.models.frame_causal import frame_causal
from lamplan.models.layers import Block, grid_positions, rope_tables
from lamplan.weights import Files, build, load_weights, module_fingerprint, read_config, save_folder

KIND = "decoder"
FILES = Files("decoder.json", "decoder.safetensors")
AT_ONCE = 64  # steps decoded together


@dataclass(frozen=True)
class DecoderConfig:
    """The default is the size of the shipped one: 0.9 M parameters. 1024 x 24 x 16 is the paper's ViT-L: 304 M for V-JEPA 2-L."""

    width: int = 128
    depth: int = 4
    heads: int = 4
    causal: bool = False  # a step also sees the ones before it in its clip (the paper's frame-causal attention), or itself alone


class Decoder(nn.Module):
    """Standardised features (B, P, D), or those of clips (B, T, P, D), to images (B, [T,] H, W, 3) of the encoder's size.

    A transformer over the patches with rotary positions, then one linear map from each token to the pixels of its patch. Where a step
    of features stands for a pair of frames, the picture is that of the second.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, config: DecoderConfig, encoder: EncoderConfig) -> None:
        super().__init__()
        if config.width % config.heads or config.width // config.heads % 2:
            raise InputError(f"a decoder's width {config.width} must be an even multiple of its heads {config.heads}.")
        self.config, self.side, self.patch = config, encoder.side, encoder.patch
        self.embed = nn.Linear(encoder.width, config.width)
        self.blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.head = nn.Linear(config.width, 3 * encoder.patch**2)
        cos, sin = self._tables(1)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Images as numbers that are 0 for black and 1 for white, and may lie somewhat beyond."""
        if features.ndim not in (3, 4) or features.shape[-2:] != (self.side**2, self.embed.in_features):
            raise InputError(f"the decoder takes features (B, P, D) or (B, T, P, D) with P, D = {self.side**2}, {self.embed.in_features}; "
                             f"found {tuple(features.shape)}.")
        lead = features.shape[:-2]
        steps = lead[1] if self.config.causal and len(lead) == 2 else 1
        x = self.embed(features.reshape(-1, steps * self.side**2, features.shape[-1]))
        rope = (self.cos, self.sin)
        mask = None
        if steps > 1:
            rope = self._tables(steps)
            mask = frame_causal(steps, self.side**2, steps, x.device)
        for block in self.blocks:
            x = block(x, rope, mask)
        x = self.head(self.norm(x)).unflatten(-1, (self.patch, self.patch, 3)).reshape(-1, self.side, self.side, self.patch, self.patch, 3)
        # An untrained decoder paints grey.
        return 0.5 + x.transpose(2, 3).reshape(*lead, self.side * self.patch, self.side * self.patch, 3).float()

    @torch.inference_mode()
    def decode(self, features: Tensor) -> Tensor:
        """uint8 images (B, [T,] H, W, 3), a few steps or clips at a time."""
        parts = [self(part.to(self.norm.weight.device)) for part in features.split(AT_ONCE)]
        return (torch.cat(parts) * 255).round().clamp(0, 255).to(torch.uint8)

    def save(self, checkpoint: str | Path, encoder: Encoder) -> None:
        """Writes `decoder.json` and `decoder.safetensors` beside the model that holds this encoder."""
        save_folder(checkpoint, KIND, {"decoder": asdict(self.config), "encoder": module_fingerprint(encoder)}, self, FILES)

    @classmethod
    def load(cls, checkpoint: str | Path) -> Decoder:
        """The decoder in a checkpoint folder, frozen. Raises CheckpointError where there is none (`has_decoder` asks), or where it was
        trained on the features of another encoder than the folder's."""
        if not has_decoder(checkpoint):
            raise CheckpointError(f"{checkpoint} has no decoder ({' and '.join(FILES)}): train one with "
                                  f"`lamplan decoder {checkpoint} --data MY_VIDEOS`.")
        fields = read_config(checkpoint, KIND, FILES)
        config = build(DecoderConfig, fields.get("decoder"), Path(checkpoint) / FILES.config)
        sizes = read_config(checkpoint, "latent action model").get("encoder")
        encoder = Encoder(build(EncoderConfig, sizes, checkpoint))
        load_weights(checkpoint, encoder, part="encoder.")
        if fields.get("encoder") != module_fingerprint(encoder):
            raise CheckpointError(f"the decoder in {checkpoint} was trained on the features of another encoder (fingerprint "
                                  f"{fields.get('encoder')}, found {module_fingerprint(encoder)}): train it again with "
                                  f"`lamplan decoder {checkpoint} --data MY_VIDEOS`.")
        decoder = cls(config, encoder.config)
        load_weights(checkpoint, decoder, FILES)
        return decoder.eval().requires_grad_(False)

    def _tables(self, steps: int) -> tuple[Tensor, Tensor]:
        return rope_tables(grid_positions(steps, self.side).to(self.norm.weight.device), self.config.width // self.config.heads)


def has_decoder(checkpoint: str | Path) -> bool:
    """Whether a checkpoint folder comes with a decoder."""
    return (Path(checkpoint) / FILES.config).is_file()
