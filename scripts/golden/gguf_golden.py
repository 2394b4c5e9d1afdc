"""Writes internal/gguf/testdata/quants.gguf, a tensor of every type that grouse reads, and quants.json, the
values that the gguf package dequantizes from it.

    python scripts/golden/gguf_golden.py

Needs gguf and numpy.
"""
import json
import pathlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Q
from gguf.quants import dequantize, quantize

OUT = pathlib.Path(__file__).resolve().parents[2] / "internal/gguf/testdata"


def random_blocks(rng, kind, rows, blocks):
    """Raw blocks with sane float16 scales: what the package cannot quantize to."""
    size = gguf.GGML_QUANT_SIZES[kind][1]
    raw = rng.integers(0, 256, (rows, blocks, size), dtype=np.uint8)
    half = lambda lo, hi: rng.uniform(lo, hi, (rows, blocks)).astype(np.float16).view(np.uint8).reshape(rows, blocks, 2)
    if kind == Q.Q4_K:
        raw[..., 0:2], raw[..., 2:4] = half(0.001, 0.1), half(0.001, 0.1)
    else:
        raw[..., 208:210] = half(-0.01, 0.01)
    return raw.reshape(rows, blocks * size)


def main():
    rng = np.random.default_rng(3)
    OUT.mkdir(parents=True, exist_ok=True)
    w = gguf.GGUFWriter(OUT / "quants.gguf", "test")
    w.add_string("test.string", "é🙂")
    w.add_uint32("test.u32", 7)
    w.add_int8("test.i8", -3)
    w.add_float32("test.f32", 0.5)
    w.add_float64("test.f64", 0.1)
    w.add_bool("test.bool", True)
    w.add_array("test.strings", ["a", "", "b c"])
    w.add_array("test.ints", [1, -2, 3])
    w.add_array("test.floats", [0.5, 1.5])
    x = rng.normal(size=(3, 512)).astype(np.float32)
    want = {}
    for kind in (Q.F32, Q.F16, Q.BF16, Q.Q8_0, Q.Q4_0, Q.Q4_1, Q.Q4_K, Q.Q6_K):
        data = random_blocks(rng, kind, 3, 2) if kind in (Q.Q4_K, Q.Q6_K) else x if kind == Q.F32 else x.astype(np.float16) if kind == Q.F16 else quantize(x, kind)
        w.add_tensor(kind.name, data, raw_dtype=None if kind in (Q.F32, Q.F16) else kind)
        want[kind.name] = [float(v) for v in np.asarray(dequantize(data, kind), dtype=np.float32).ravel()]
    w.add_tensor("vector", np.arange(5, dtype=np.float32))
    want["vector"] = [0.0, 1.0, 2.0, 3.0, 4.0]
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    (OUT / "quants.json").write_text(json.dumps(want))
    print({k: len(v) for k, v in want.items()})


if __name__ == "__main__":
    main()
