"""The part of ptx.sh that talks to NVRTC: ptx.py LIBNVRTC VERSION KERNELS MAIN OUT."""
import ctypes
import gzip
import hashlib
import io
import os
import re
import sys

ARCHS = ["compute_80", "compute_90"]
# No contraction of a product and a sum into one rounding: the numbers do not depend
# on who compiles (NVRTC or the driver), and are those of the emulation.
FLAGS = ["--std=c++17", "--fmad=false"]

path, version, kernels, main, out = sys.argv[1:]
nvrtc = ctypes.CDLL(path)


def check(code, what, program=None):
    if code == 0:
        return
    text = ""
    if program is not None:
        n = ctypes.c_size_t()
        nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(n))
        log = ctypes.create_string_buffer(n.value)
        nvrtc.nvrtcGetProgramLog(program, log)
        text = "\n" + log.value.decode(errors="replace")
    nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
    sys.exit(f"ptx.py: {what}: {nvrtc.nvrtcGetErrorString(code).decode()}{text}")


major, minor = ctypes.c_int(), ctypes.c_int()
check(nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)), "nvrtcVersion")
if not version.startswith(f"{major.value}.{minor.value}."):
    sys.exit(f"ptx.py: {path} is NVRTC {major.value}.{minor.value}, not {version}")

files = {}
for name in sorted(os.listdir(kernels)):
    if name.endswith((".cu", ".cuh")):
        with open(os.path.join(kernels, name), "rb") as f:
            files[name] = f.read()
headers = [n for n in files if n != main]
os.makedirs(out, exist_ok=True)
manifest = [f"nvrtc {version}", "flags " + " ".join(FLAGS)]
manifest += [f"source {hashlib.sha256(data).hexdigest()} {name}" for name, data in files.items()]
for arch in ARCHS:
    program = ctypes.c_void_p()
    bodies = (ctypes.c_char_p * len(headers))(*[files[n] for n in headers])
    names = (ctypes.c_char_p * len(headers))(*[n.encode() for n in headers])
    check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), files[main], main.encode(), len(headers), bodies, names), "nvrtcCreateProgram")
    options = [f"--gpu-architecture={arch}"] + FLAGS
    given = (ctypes.c_char_p * len(options))(*[o.encode() for o in options])
    check(nvrtc.nvrtcCompileProgram(program, len(options), given), f"compile {main} for {arch}", program)
    n = ctypes.c_size_t()
    check(nvrtc.nvrtcGetPTXSize(program, ctypes.byref(n)), "nvrtcGetPTXSize")
    ptx = ctypes.create_string_buffer(n.value)
    check(nvrtc.nvrtcGetPTX(program, ptx), "nvrtcGetPTX")
    text = ptx.raw.rstrip(b"\0")
    check(nvrtc.nvrtcDestroyProgram(ctypes.byref(program)), "nvrtcDestroyProgram")
    entries = len(re.findall(rb"^\.visible \.entry ", text, re.M))
    packed = io.BytesIO()
    with gzip.GzipFile("", "wb", 9, packed, mtime=0) as z:
        z.write(text)
    with open(os.path.join(out, arch + ".ptx.gz"), "wb") as f:
        f.write(packed.getvalue())
    manifest.append(f"ptx {hashlib.sha256(text).hexdigest()} {arch}.ptx.gz")
    print(f"{arch}: {entries} kernels, {len(text)} bytes, {len(packed.getvalue())} packed")
with open(os.path.join(out, "MANIFEST"), "w") as f:
    f.write("\n".join(manifest) + "\n")
