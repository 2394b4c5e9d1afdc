"""Writes internal/safetensors/testdata: a file with every element type, made by
the safetensors package, and the float32 values that torch reads from it.

    python scripts/golden/safetensors_golden.py

Needs torch and safetensors.
"""
import json
import pathlib

import torch
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "internal/safetensors/testdata"
TYPES = {
    "f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16,
    "f8_e4m3": torch.float8_e4m3fn, "f8_e5m2": torch.float8_e5m2,
    "i64": torch.int64, "i32": torch.int32, "i16": torch.int16, "i8": torch.int8, "u8": torch.uint8, "bool": torch.bool,
}


def main():
    torch.manual_seed(1)
    OUT.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, dtype in TYPES.items():
        if dtype.is_floating_point:
            x = torch.cat([torch.randn(18) * 3, torch.tensor([0.0, -0.0, 1e-7, 6e-5, 448.0, -1.5])])
            tensors[name] = x.to(dtype).reshape(4, 6)
        elif dtype == torch.bool:
            tensors[name] = torch.rand(4, 6) > 0.5
        else:
            low = 0 if dtype == torch.uint8 else -100
            tensors[name] = torch.randint(low, 100, (4, 6)).to(dtype)
    # Every bit pattern of the 8-bit floats that is a number, and special halves.
    tensors["all_e4m3"] = torch.arange(127, dtype=torch.uint8).view(torch.float8_e4m3fn)
    tensors["all_e5m2"] = torch.arange(124, dtype=torch.uint8).view(torch.float8_e5m2)
    tensors["all_f16"] = torch.arange(0, 31744, 31, dtype=torch.int32).to(torch.int16).view(torch.float16)
    tensors["scalar"] = torch.tensor(2.5)
    tensors["empty"] = torch.zeros(0, 3)
    save_file(tensors, OUT / "dtypes.safetensors", metadata={"format": "pt", "made_by": "scripts/golden/safetensors_golden.py"})
    want = {n: {"shape": list(t.shape), "values": t.to(torch.float32).flatten().tolist()} for n, t in tensors.items()}
    (OUT / "dtypes.json").write_text(json.dumps(want))
    # Rounding to the halves.
    x = torch.cat([torch.randn(400) * 10.0 ** torch.randint(-9, 6, (400,)), torch.tensor([65519.9, 65520.0, 1e30, -1e30, 5.9e-8, 2.9e-8, 0.0])])
    rounding = {
        "values": x.tolist(),
        "f16": [v & 0xFFFF for v in x.to(torch.float16).view(torch.int16).tolist()],
        "bf16": [v & 0xFFFF for v in x.to(torch.bfloat16).view(torch.int16).tolist()],
    }
    (OUT / "rounding.json").write_text(json.dumps(rounding))


if __name__ == "__main__":
    main()
