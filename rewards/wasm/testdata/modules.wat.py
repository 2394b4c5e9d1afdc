"""Writes the WebAssembly modules of this folder from text, with wasmtime's assembler (pip install wasmtime).

    python rewards/wasm/testdata/modules.wat.py
"""
import pathlib

from wasmtime import wat2wasm

HEAD = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") %(pages)s)
  (data (i32.const 64) "%(text)s")
  (func $say (param $fd i32) (param $n i32)
    (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (local.get $n))
    (drop (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "_start") %(locals)s
    %(body)s))
"""


def module(name, text, body, pages="2", locals=""):
    data = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    code = HEAD % dict(pages=pages, text=data, locals=locals, body=body.replace("LEN", str(len(text))))
    (pathlib.Path(__file__).parent / (name + ".wasm")).write_bytes(wat2wasm(code))


say = "(call $say (i32.const 1) (i32.const LEN))"
module("half", '{"scores":[0.5]}\n', say)
# reads the request to 4096 and answers the number of its bytes as two digits of hundreds: {"scores":[N]} with N = bytes/100
module("reads", '{"scores":[00]}\n', """
    (i32.store (i32.const 16) (i32.const 4096)) (i32.store (i32.const 20) (i32.const 60000))
    (drop (call $read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 24)))
    (local.set $n (i32.div_u (i32.load (i32.const 24)) (i32.const 100)))
    (i32.store8 (i32.const 75) (i32.const 32))
    (i32.store8 (i32.const 76) (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
    """ + say, locals="(local $n i32)")
module("hang", "", "(loop $l (br $l))")
module("status", "no judge here\n", "(call $say (i32.const 2) (i32.const LEN)) (call $exit (i32.const 3))")
module("trap", "", "unreachable")
module("silent", "", "")
module("text", "great answer\n", say)
module("flood", "x" * 1000, "(loop $l " + say + " (br $l))")
# grows memory until it is refused, then says so and fails
module("memory", "out of memory\n", """(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
    (call $say (i32.const 2) (i32.const LEN)) (call $exit (i32.const 1))""")
# tries to open a file in each of the first ten descriptors: 1 if it can
module("opens", '{"scores":[0]}\n', """
    (loop $l
      (if (i32.eqz (call $open (local.get $fd) (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 32)))
        (then (i32.store8 (i32.const 75) (i32.const 49))))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $fd) (i32.const 10))))
    """ + say, locals="(local $fd i32)")
# has no _start
(pathlib.Path(__file__).parent / "library.wasm").write_bytes(wat2wasm('(module (func (export "_initialize")))'))
