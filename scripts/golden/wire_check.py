"""Reads internal/wire/testdata/*.arrow with pyarrow, validates them fully and prints them: a check by another
implementation of the bytes that `go test ./internal/wire -rewrite` writes. With file names as
arguments it reads Parquet archives of a run instead.

    python scripts/golden/wire_check.py [rollouts.parquet ...]

Needs pyarrow.
"""
import pathlib
import sys

import pyarrow.ipc
import pyarrow.parquet

DIR = pathlib.Path(__file__).resolve().parents[2] / "internal/wire/testdata"


def main():
    if len(sys.argv) > 1:
        for name in sys.argv[1:]:
            table = pyarrow.parquet.read_table(name)
            table.validate(full=True)
            print(name, table.num_rows, table.schema.names, table.slice(0, 1).to_pylist())
        return
    for path in sorted(DIR.glob("*.arrow")):
        table = pyarrow.ipc.open_stream(path.read_bytes()).read_all()
        table.validate(full=True)
        print(path.name, table.schema.metadata)
        for row in table.to_pylist():
            print("  ", row)
    rollouts = pyarrow.ipc.open_stream((DIR / "rollout-1.arrow").read_bytes()).read_all().to_pylist()
    assert [r["response_ids"] for r in rollouts] == [[5, 6], [7], [2, 2]]
    assert rollouts[0]["kept_offsets"] == [0, 2, 3] and rollouts[1]["mask"] is None
    scores = pyarrow.ipc.open_stream((DIR / "score-1.arrow").read_bytes()).read_all().to_pylist()
    assert dict(scores[0]["parts"]) == {"format": 0.5, "format/steps": 3.0, "math": 1.0} and scores[2]["outcome"] == "timeout"


if __name__ == "__main__":
    main()
