"""Writes rewards/wasm/fuel/testdata/wasmtime.json: how much fuel wasmtime takes for small programs, with their binaries.

    python scripts/golden/wasm_fuel.py

Needs wasmtime. `startup` is what it took before run: the start function, and its own work around it.
"""
import json
import pathlib

from wasmtime import Config, Engine, Instance, Module, Store, wat2wasm

OUT = pathlib.Path(__file__).resolve().parents[2] / "rewards/wasm/fuel/testdata/wasmtime.json"

# name, text, arguments of run
PROGRAMS = [
    ("empty", '(module (func (export "run") (param i32) (result i32) (i32.const 7)))', [0]),
    ("sum loop", """(module (func (export "run") (param $n i32) (result i32) (local $s i32)
        (loop $l
          (local.set $s (i32.add (local.get $s) (local.get $n)))
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (br_if $l (local.get $n)))
        (local.get $s)))""", [1000]),
    ("while with an exit", """(module (func (export "run") (param $n i32) (result i32) (local $s i32)
        (block $out (loop $l
          (br_if $out (i32.eqz (local.get $n)))
          (nop) (drop (i32.const 3))
          (if (i32.and (local.get $n) (i32.const 1)) (then (local.set $s (i32.add (local.get $s) (i32.const 3))))
            (else (local.set $s (i32.mul (local.get $s) (i32.const 5)))))
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (br $l)))
        (local.get $s)))""", [777]),
    ("br_table", """(module (func (export "run") (param $n i32) (result i32) (local $s i32)
        (loop $l
          (block $d (block $c (block $b (block $a
            (br_table $a $b $c $d (i32.rem_u (local.get $n) (i32.const 5))))
            (local.set $s (i32.add (local.get $s) (i32.const 1))))
            (local.set $s (i32.add (local.get $s) (i32.const 10))) (br $d))
            (local.set $s (i32.xor (local.get $s) (i32.const 100))))
          (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $s)))""", [503]),
    ("recursion", """(module (func $f (export "run") (param $n i32) (result i32)
        (if (i32.lt_u (local.get $n) (i32.const 2)) (then (return (local.get $n))))
        (i32.add (call $f (i32.sub (local.get $n) (i32.const 1))) (call $f (i32.sub (local.get $n) (i32.const 2))))))""", [15]),
    ("call_indirect", """(module (type $t (func (param i32) (result i32))) (table 2 funcref) (elem (i32.const 0) $a $b)
        (func $a (type $t) (i32.add (local.get 0) (i32.const 3))) (func $b (type $t) (i32.mul (local.get 0) (i32.const 3)))
        (func (export "run") (param $n i32) (result i32) (local $s i32)
        (loop $l
          (local.set $s (call_indirect (type $t) (local.get $s) (i32.and (local.get $n) (i32.const 1))))
          (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $s)))""", [20]),
    ("dead code and blocks with values", """(module (func (export "run") (param $n i32) (result i32)
        (block (result i32) (block (result i32 i32) (i32.const 1) (local.get $n) (br 0) (unreachable) (loop (br 0)))
          (i32.add) (br 0) (i32.const 5) (drop))
        (if (param i32) (result i32) (local.get $n) (then (i32.const 9) (i32.add)) (else (i32.const 2) (i32.shl)))
        (return) (i32.const 4) (i32.add)))""", [6]),
    ("i64, floats, globals, memory", """(module (memory 1) (global $g (mut i64) (i64.const -5)) (global (export "pi") f64 (f64.const 3.14))
        (func (export "run") (param $n i32) (result i32)
        (loop $l
          (global.set $g (i64.add (i64.mul (global.get $g) (i64.const 6364136223846793005)) (i64.const 1442695040888963407)))
          (i64.store offset=8 (i32.and (local.get $n) (i32.const 0xff8)) (global.get $g))
          (f64.store align=4 (i32.const 16) (f64.sqrt (f64.convert_i64_u (global.get $g))))
          (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (select (i32.load8_u (i32.const 20)) (memory.size) (memory.grow (i32.const 1)))))""", [300]),
    ("start", """(module (global $g (mut i32) (i32.const 0)) (start $s)
        (func $s (loop $l (global.set $g (i32.add (global.get $g) (i32.const 1))) (br_if $l (i32.lt_u (global.get $g) (i32.const 50)))))
        (func (export "run") (param i32) (result i32) (i32.add (global.get $g) (local.get 0))))""", [4]),
    ("simd", """(module (memory 1) (func (export "run") (param $n i32) (result i32) (local $v v128)
        (loop $l
          (local.set $v (i8x16.shuffle 0 1 2 3 20 21 22 23 8 9 10 11 28 29 30 31 (local.get $v) (i32x4.splat (local.get $n))))
          (local.set $v (i16x8.abs (i64x2.mul (i32x4.add (local.get $v) (v128.const i32x4 1 2 3 4)) (v128.load (i32.const 32)))))
          (v128.store8_lane offset=3 3 (i32.const 7) (local.get $v))
          (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (i32x4.extract_lane 2 (f32x4.convert_i32x4_s (local.get $v)))))""", [40]),
    ("bulk", """(module (memory 1) (table $t 8 funcref) (elem $e func $f $f) (data $d "hello, world, this is a segment of some length")
        (func $f)
        (func (export "run") (param $n i32) (result i32)
        (memory.fill (i32.const 100) (i32.const 65) (local.get $n))
        (memory.copy (i32.const 3000) (i32.const 100) (i32.const 801))
        (memory.init $d (i32.const 7000) (i32.const 2) (i32.const 40)) (data.drop $d)
        (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 2)) (elem.drop $e)
        (table.copy (i32.const 4) (i32.const 0) (i32.const 3))
        (table.fill $t (i32.const 1) (ref.null func) (i32.const 5))
        (drop (table.grow $t (ref.func $f) (i32.const 6)))
        (i32.add (table.size $t) (i32.add (ref.is_null (table.get $t (i32.const 9))) (i32.load8_u (i32.const 3500))))))""", [1000]),
    ("saturating and sign extension", """(module (func (export "run") (param $n i32) (result i32)
        (i32.add (i32.trunc_sat_f64_s (f64.mul (f64.convert_i32_s (local.get $n)) (f64.const 1e20)))
          (i32.extend8_s (i32.wrap_i64 (i64.extend32_s (i64.extend_i32_u (local.get $n))))))))""", [200]),
]


def main():
    rows = []
    for name, text, args in PROGRAMS:
        config = Config()
        config.consume_fuel = True
        engine = Engine(config)
        store = Store(engine)
        store.set_fuel(1 << 40)
        code = bytes(wat2wasm(text))
        exports = Instance(store, Module(engine, code), []).exports(store)
        startup = (1 << 40) - store.get_fuel()
        result = exports["run"](store, *args) & 0xFFFFFFFF
        fuel = (1 << 40) - startup - store.get_fuel()
        rows.append({"name": name, "wat": " ".join(text.split()), "wasm": code.hex(), "args": args, "result": result, "wasmtime": fuel, "startup": startup})
        print(name, result, fuel, startup)
    OUT.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
