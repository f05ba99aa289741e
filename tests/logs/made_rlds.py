"""Synthetic RLDS data sets, made by protobuf and TensorBoard rather than by the code under test, of known values."""

from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tensorboard.summary.writer.record_writer import RecordWriter

from tests.logs.made_lerobot import LENGTHS, SIZE, actions, encoded, pictures, states, write_json


def tf_messages() -> tuple[Any, Any]:
    """The classes `Example` and `SequenceExample`, built by protobuf from TensorFlow's published definitions."""
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="tf", syntax="proto3")
    one, many, text = 1, 3, {"bytes": 12, "float": 2, "int64": 3, "string": 9, "message": 11}

    def message(name: str, *fields: tuple[str, int, int, str, str]) -> Any:
        made = file.message_type.add(name=name)
        for field, number, label, kind, of in fields:
            made.field.add(name=field, number=number, label=label, type=text[kind], type_name=of or None)
        return made

    def mapped(name: str, field: str, of: str) -> None:
        entry = message(name, (field, 1, many, "message", f".tf.{name}.Entry")).nested_type.add(name="Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=one, type=text["string"])
        entry.field.add(name="value", number=2, label=one, type=text["message"], type_name=of)

    for name, kind in (("BytesList", "bytes"), ("FloatList", "float"), ("Int64List", "int64")):
        message(name, ("value", 1, many, kind, ""))
    feature = message("Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, of) in enumerate((("bytes_list", "BytesList"), ("float_list", "FloatList"), ("int64_list", "Int64List")), start=1):
        feature.field.add(name=name, number=number, label=one, type=text["message"], type_name=f".tf.{of}", oneof_index=0)
    mapped("Features", "feature", ".tf.Feature")
    message("FeatureList", ("feature", 1, many, "message", ".tf.Feature"))
    mapped("FeatureLists", "feature_list", ".tf.FeatureList")
    message("Example", ("features", 1, one, "message", ".tf.Features"))
    message("SequenceExample", ("context", 1, one, "message", ".tf.Features"), ("feature_lists", 2, one, "message", ".tf.FeatureLists"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return tuple(message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tf.{name}")) for name in ("Example", "SequenceExample"))


EXAMPLE, SEQUENCE_EXAMPLE = tf_messages()


def example(**features: Any) -> bytes:
    """A serialised Example of byte strings, floats or integers by key."""
    made = EXAMPLE()
    for key, values in features.items():
        fill(made.features.feature[key], values)
    return made.SerializeToString()


def fill(feature: Any, values: Any) -> None:
    if isinstance(values, list) and values and isinstance(values[0], bytes):
        feature.bytes_list.value.extend(values)
    elif np.asarray(values).dtype.kind == "f":
        feature.float_list.value.extend(np.asarray(values).reshape(-1).tolist())
    else:
        feature.int64_list.value.extend(np.asarray(values).reshape(-1).tolist())


def write_records(path: Path, records: list[bytes]) -> Path:
    """A TFRecord file, by TensorBoard's own writer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = RecordWriter(file)
        for record in records:
            writer.write(record)
        writer.flush()
    return path


def rlds_episode(episode: int, length: int, **changes: Any) -> bytes:
    steps = np.arange(length)
    return example(**{
        "steps/observation/state": states(episode, length), "steps/action": actions(episode, length),
        "steps/observation/image_0": [encoded(image) for image in pictures(episode, length)],
        "steps/observation/wrist": [encoded(image, "JPEG") for image in pictures(episode, length)],
        "steps/is_first": (steps == 0).astype(int), "steps/reward": np.zeros(length, np.float32),
        "steps/language_instruction": [b"push"] * length, "episode_metadata/file_path": [b"somewhere"], **changes,
    })


def tensor(*shape: int, dtype: str = "float32") -> dict[str, Any]:
    return {"pythonClassName": "Tensor", "tensor": {"shape": dimensions(shape), "dtype": dtype, "encoding": "none"}}


def picture(*shape: int, dtype: str = "uint8", form: str = "png") -> dict[str, Any]:
    return {"pythonClassName": "Image", "image": {"shape": dimensions(shape), "dtype": dtype, "encodingFormat": form}}


def dimensions(shape: tuple[int, ...]) -> dict[str, Any]:
    return {"dimensions": [str(size) for size in shape]} if shape else {}


def of(**entries: Any) -> dict[str, Any]:
    return {"pythonClassName": "FeaturesDict", "featuresDict": {"features": entries}}


def rlds_features() -> dict[str, Any]:
    text = {"pythonClassName": "Text", "text": {}}
    images = {"image_0": picture(*SIZE, 3), "wrist": picture(*SIZE, 3, form="jpeg"), "depth": picture(*SIZE, 1, dtype="uint16")}
    step = of(action=tensor(7), reward=tensor(), is_first=tensor(dtype="bool"), language_instruction=text,
              observation=of(state=tensor(7), **images))
    steps = {"pythonClassName": "Dataset", "sequence": {"feature": step, "length": "-1"}}
    return of(steps=steps, episode_metadata=of(file_path=text))


def write_rlds(root: Path, name: str = "push_set", rate_hz: float | None = 10.0) -> Path:
    """Two shards of the split `train`, two episodes and one."""
    write_json(root / "features.json", rlds_features())
    write_json(root / "dataset_info.json", {"name": name, "fileFormat": "tfrecord", "version": "1.0.0",
                                            "splits": [{"name": "train", "shardLengths": ["2", "1"], "numBytes": "1"},
                                                       {"name": "val", "shardLengths": ["4"]}]})
    if rate_hz is not None:
        (root / "log.toml").write_text(f"rate_hz = {rate_hz}\n")
    records = [rlds_episode(*item) for item in enumerate(LENGTHS)]
    write_records(root / f"{name}-train.tfrecord-00000-of-00002", records[:2])
    write_records(root / f"{name}-train.tfrecord-00001-of-00002", records[2:])
    return root
