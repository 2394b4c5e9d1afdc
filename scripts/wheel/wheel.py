#!/usr/bin/env python3
"""Writes a Python wheel that carries the grouse binary as a console script.

A wheel is a zip with fixed names (PEP 427). Files under NAME.data/scripts/ are
put on the PATH by the installer, executable: there is no Python code in it. The
same input gives the same bytes. Standard library only.
"""

import argparse
import base64
import hashlib
import pathlib
import re
import zipfile

TAGS = {
    ("linux", "amd64"): "manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_1_x86_64",
    ("linux", "arm64"): "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64",
    ("darwin", "amd64"): "macosx_12_0_x86_64",
    ("darwin", "arm64"): "macosx_12_0_arm64",
}

METADATA = """Metadata-Version: 2.1
Name: grouse
Version: {version}
Summary: Reinforcement learning of language models from verifiable and rubric rewards, in one binary
License: Apache-2.0
Requires-Python: >=3.8
Description-Content-Type: text/markdown

`grouse run quickstart` trains a tiny language model on your machine and shows how; `grouse --help` lists the rest.
The wheel holds one static binary and no Python code.
"""

WHEEL = """Wheel-Version: 1.0
Generator: grouse scripts/wheel
Root-Is-Purelib: false
{tags}"""


def python_version(version: str) -> str:
    """Turns 1.2.3-rc1 into the 1.2.3rc1 that Python's installers take."""
    m = re.fullmatch(r"(\d+(?:\.\d+)*)(?:-?(a|b|rc|alpha|beta)\.?(\d+))?", version)
    if not m:
        raise SystemExit(f"version {version!r}: want 1.2.3 or 1.2.3-rc1")
    pre = {"alpha": "a", "beta": "b"}.get(m[2] or "", m[2] or "")
    return m[1] + pre + (m[3] or "")


def wheel(version: str, platform: str, binary: bytes, license_text: bytes, out: pathlib.Path) -> pathlib.Path:
    tags = "".join(f"Tag: py3-none-{p}\n" for p in platform.split("."))
    info = f"grouse-{version}.dist-info"
    files = [
        (f"grouse-{version}.data/scripts/grouse", binary, 0o755),
        (f"{info}/METADATA", METADATA.format(version=version).encode(), 0o644),
        (f"{info}/WHEEL", WHEEL.format(tags=tags).encode(), 0o644),
        (f"{info}/licenses/LICENSE", license_text, 0o644),
    ]
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n" for name, data, _ in files
    )
    files.append((f"{info}/RECORD", (record + f"{info}/RECORD,,\n").encode(), 0o644))
    path = out / f"grouse-{version}-py3-none-{platform}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as z:
        for name, data, mode in files:
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100000 | mode) << 16
            entry.create_system = 3  # Unix: the mode counts
            entry.compress_type = zipfile.ZIP_DEFLATED
            z.writestr(entry, data)
    return path


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--version", required=True)
    p.add_argument("--os", required=True)
    p.add_argument("--arch", required=True)
    p.add_argument("--binary", required=True, type=pathlib.Path)
    p.add_argument("--license", required=True, type=pathlib.Path)
    p.add_argument("--out", required=True, type=pathlib.Path)
    a = p.parse_args()
    if (a.os, a.arch) not in TAGS:
        raise SystemExit(f"no wheel for {a.os}/{a.arch}: one of {', '.join('/'.join(t) for t in sorted(TAGS))}")
    print(wheel(python_version(a.version), TAGS[a.os, a.arch], a.binary.read_bytes(), a.license.read_bytes(), a.out))


if __name__ == "__main__":
    main()
