"""RLDS data sets (Open X-Embodiment, BridgeData, DROID): a TFDS folder of TFRecord shards, one episode per record."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from lamplan.errors import DataError
from lamplan.images import decode_image
from lamplan.logs.episode import Episode
from lamplan.logs.lazy import Episodes
from lamplan.logs.parts import check_finite, check_lengths, stack_images
from lamplan.logs.rlds_sets import Convention, convention
from lamplan.logs.tfds import FEATURES, Leaf, dataset_name, shard_lengths, shards, step_features
from lamplan.logs.tfexample import Feature, parse_example
from lamplan.logs.tfrecord import index_records, read_record, require_crc32c

NAME = "RLDS (a folder with features.json and *.tfrecord-*, or one such shard)"
OBSERVATION = "observation/"


def recognises(path: Path) -> bool:
    """A TFDS folder of one version, or one TFRecord file."""
    return (path / FEATURES).is_file() or (".tfrecord" in path.name and path.is_file())


def read(path: Path) -> Episodes:
    """The episodes of a data set, split by split and shard by shard, opened one by one."""
    require_crc32c()
    folder, files = (path, shards(path)) if path.is_dir() else (path.parent, [path])
    if not (folder / FEATURES).is_file():
        raise DataError(f"{path} cannot be understood without {FEATURES}, which TFDS writes beside it; copy that file too.")
    features = step_features(folder)
    opener = _Opener(files, shard_lengths(folder), features, convention(dataset_name(folder), folder, set(features)))
    if not len(opener):
        raise DataError(f"{path} holds no episodes.")
    return Episodes(range(len(opener)), opener.open)


class _Opener:
    """Opens episodes. A shard is indexed when its first episode is asked for, or at once where nothing tells how many it has."""

    def __init__(self, files: list[Path], lengths: dict[str, int], features: dict[str, Leaf], way: Convention) -> None:
        self._files, self._features, self._way = files, features, way
        self._index: dict[int, np.ndarray] = {}
        counts = [lengths[file.name] if file.name in lengths else len(self._records(shard)) for shard, file in enumerate(files)]
        self._ends = np.cumsum(counts)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def open(self, number: int) -> Episode:
        shard = int(np.searchsorted(self._ends, number, side="right"))
        file, records = self._files[shard], self._records(shard)
        first = int(self._ends[shard - 1]) if shard else 0
        if len(records) != self._ends[shard] - first:
            raise DataError(f"{file} holds {len(records)} records where dataset_info.json says {self._ends[shard] - first}; copy it anew.")
        place, length = map(int, records[number - first])
        where = f"{file}: episode {number - first}"
        record = read_record(file, place, length)
        try:
            return self._episode(parse_example(record), file, place, where)
        except DataError as error:
            raise error if str(file) in str(error) else DataError(f"{where} cannot be read: {error}; the file is damaged.") from None

    def _records(self, shard: int) -> np.ndarray:
        if shard not in self._index:
            self._index[shard] = index_records(self._files[shard])
        return self._index[shard]

    def _episode(self, example: dict[str, Feature], file: Path, place: int, where: str) -> Episode:
        way = self._way
        kept = np.concatenate([self._matrix(example, key, where) for key in way.state], axis=1)
        try:
            states = way.to_states(kept)
            actions = None if way.action is None else way.to_actions(self._matrix(example, way.action, where), states)
        except ValueError as error:
            raise DataError(f"{where}: states and commands are not those of a set of this name ({error}).") from None
        spans = {key.removeprefix(OBSERVATION): self._value(example, key, where).spans() + place
                 for key, leaf in sorted(self._features.items()) if leaf.kind == "image"}
        lengths = {"states": len(states), **{camera: len(found) for camera, found in spans.items()}}
        if actions is not None:
            lengths["actions"] = len(actions)
        check_lengths(lengths, where)
        return Episode(states=states, actions=actions, rate_hz=way.rate_hz, cameras=tuple(spans), source=where, robot=way.robot,
                       read=partial(_frames, file, spans, where))

    def _value(self, example: dict[str, Feature], key: str, where: str) -> Feature:
        feature = example.get(f"steps/{key}", example.get(key))
        if feature is None:
            raise DataError(f"{where} has no '{key}', which {FEATURES} promises; it has {', '.join(sorted(example))[:300]}.")
        return feature

    def _matrix(self, example: dict[str, Feature], key: str, where: str) -> np.ndarray:
        """(T, W) float64 of a numeric feature of every step."""
        leaf = self._features.get(key)
        if leaf is None or leaf.kind != "numbers" or len(leaf.shape) > 1 or min(leaf.shape, default=1) < 1:
            raise DataError(f"{where}: '{key}' must be a vector of plain numbers per step, by {FEATURES}; found {leaf}.")
        width = leaf.shape[0] if leaf.shape else 1
        values = self._value(example, key, where).numbers().astype(np.float64)
        if not len(values) or len(values) % width:
            raise DataError(f"{where}: '{key}' has {len(values)} values, no multiple of the {width} per step that {FEATURES} promises.")
        matrix = values.reshape(-1, width)
        check_finite(matrix, f"{where}: '{key}'")
        return matrix


def _frames(file: Path, spans: dict[str, np.ndarray], where: str, camera: str, steps: np.ndarray) -> np.ndarray:
    """Images of some steps, each read from its own place in the file."""
    images = []
    try:
        with file.open("rb") as source:
            for step, (begin, end) in zip(steps.tolist(), spans[camera][steps].tolist(), strict=True):
                source.seek(begin)
                images.append(decode_image(source.read(end - begin), f"{where}: '{camera}' at step {step}"))
    except OSError as error:
        raise DataError(f"{where}: {file} cannot be read ({error}).") from None
    return stack_images(images, f"{where}: '{camera}'") if images else np.empty((0, 0, 0, 3), np.uint8)
