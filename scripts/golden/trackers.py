"""Writes internal/track/testdata: what the trackers' own packages make of the same run.

    python scripts/golden/trackers.py

    events.tfrecord   an event file by tensorboard's own EventFileWriter's protobufs and framing
    wandb.records     the records of an offline run as wandb's own protobufs encode them
    ours.json         what tensorboard's and mlflow's own readers make of testdata/ours, which the
                      Go test writes (go test ./internal/track -run TestWriteOurs -rewrite)

Needs tensorboard, wandb and mlflow.
"""
import json
import math
import os
import pathlib
import struct

os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_TENSOR, Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util import tensor_util

OUT = pathlib.Path(__file__).resolve().parents[2] / "internal/track/testdata"


def scalars(values):
    return Summary(value=[Summary.Value(tag=t, simple_value=v) for t, v in values])


def text(tag, words):
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"), data_class=DATA_CLASS_TENSOR)
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    tensor = TensorProto(dtype=7, tensor_shape=shape, string_val=[words.encode()])
    return Summary(value=[Summary.Value(tag=tag, tensor=tensor, metadata=metadata)])


def tensorboard_events(path):
    with open(path, "wb") as f:
        w = RecordWriter(f)
        for e in [
            Event(wall_time=1700000000.5, step=0, file_version="brain.Event:2"),
            Event(wall_time=1700000000.5, step=0, summary=text("recipe", "seed: 7\né🙂\n")),
            Event(wall_time=1700000001.25, step=3, summary=scalars([("kl/math", 0.125), ("reward", 0.1), ("time/train_s", 0.5)])),
            Event(wall_time=1700000002.0, step=2**40, summary=scalars([("inf", math.inf), ("nan", math.nan)])),
        ]:
            w.write(e.SerializeToString(deterministic=True))
        w.flush()


def wandb_records(path):
    from wandb.proto import wandb_internal_pb2 as pb

    header = pb.Record(num=1, header=pb.HeaderRecord(version_info=pb.VersionInfo(producer="grouse", min_consumer="0.70.0")))
    history = pb.Record(num=2, history=pb.HistoryRecord(step=pb.HistoryStep(num=5), item=[
        pb.HistoryItem(nested_key=["_step"], value_json="5"), pb.HistoryItem(nested_key=["reward"], value_json="NaN")]))
    exit_ = pb.Record(num=3, exit=pb.RunExitRecord())
    with open(path, "wb") as f:
        for r in (header, history, exit_):
            b = r.SerializeToString(deterministic=True)
            f.write(struct.pack("<I", len(b)) + b)


def plain(v):
    return v if math.isfinite(v) else str(v)


def ours():
    """What the readers see in the files that the Go test wrote."""
    import mlflow

    got = {}
    acc = EventAccumulator(str(OUT / "ours/tensorboard"), size_guidance={"scalars": 0, "tensors": 0})
    acc.Reload()
    got["tensorboard"] = {
        "scalars": {t: [[e.step, round(e.wall_time, 3), plain(e.value)] for e in acc.Scalars(t)] for t in sorted(acc.Tags()["scalars"])},
        "texts": {t: [[e.step, tensor_util.make_ndarray(e.tensor_proto)[0].decode()] for e in acc.Tensors(t)] for t in sorted(acc.Tags()["tensors"])},
        "plugins": {t: acc.SummaryMetadata(t).plugin_data.plugin_name for t in sorted(acc.Tags()["tensors"])},
    }
    client = mlflow.MlflowClient("file:" + str(OUT / "ours/mlruns"))
    experiment = client.get_experiment_by_name("grouse")
    (run,) = client.search_runs([experiment.experiment_id])
    got["mlflow"] = {
        "name": run.info.run_name, "status": run.info.status, "params": dict(sorted(run.data.params.items())),
        "metrics": {k: [[m.step, m.timestamp, plain(m.value)] for m in client.get_metric_history(run.info.run_id, k)] for k in sorted(run.data.metrics)},
    }
    (OUT / "ours.json").write_text(json.dumps(got, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    tensorboard_events(OUT / "events.tfrecord")
    wandb_records(OUT / "wandb.records")
    if (OUT / "ours").exists():
        ours()
    else:
        print("no testdata/ours: run the Go test with -rewrite, then this again")


if __name__ == "__main__":
    main()
