package fuel_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/grouse-rl/grouse/rewards/wasm/fuel"
)

// engines are where metered modules run; both of wazero's must agree.
var engines = map[string]wazero.RuntimeConfig{"compiler": wazero.NewRuntimeConfigCompiler(), "interpreter": wazero.NewRuntimeConfigInterpreter()}

// spend runs the start function and then run(args), and returns the result, what was
// taken from the budget, and how it failed.
func spend(t testing.TB, config wazero.RuntimeConfig, code []byte, budget int64, args ...uint64) (result uint64, used int64, err error) {
	t.Helper()
	metered, err := fuel.Meter(code, budget)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, config)
	defer r.Close(ctx)
	m, err := r.Instantiate(ctx, metered)
	if err != nil {
		t.Fatal(err)
	}
	left := m.ExportedGlobal(fuel.Global)
	if f := m.ExportedFunction(fuel.Start); f != nil {
		if _, err := f.Call(ctx); err != nil {
			return 0, budget - int64(left.Get()), err
		}
	}
	out, err := m.ExportedFunction("run").Call(ctx, args...)
	if len(out) == 1 {
		result = out[0]
	}
	return result, budget - int64(left.Get()), err
}

// program is one of testdata/wasmtime.json, which scripts/golden/wasm_fuel.py wrote.
type program struct {
	Name     string   `json:"name"`
	Wasm     string   `json:"wasm"`
	Args     []uint64 `json:"args"`
	Result   uint64   `json:"result"`
	Wasmtime int64    `json:"wasmtime"` // fuel
	Startup  int64    `json:"startup"`  // fuel before it
	code     []byte
}

func programs(t testing.TB) []program {
	data, err := os.ReadFile("testdata/wasmtime.json")
	if err != nil {
		t.Fatal(err)
	}
	var out []program
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	for i := range out {
		if out[i].code, err = hex.DecodeString(out[i].Wasm); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// The same programs take as much as under wasmtime, and compute the same; one unit less
// is not enough.
func TestTakesWhatWasmtimeTakes(t *testing.T) {
	for _, p := range programs(t) {
		for name, engine := range engines {
			want := p.Wasmtime
			if p.Name == "start" {
				want += p.Startup - 2 // wasmtime's own call of the start function, and the function that it stands in
			}
			result, used, err := spend(t, engine, p.code, 1<<40, p.Args...)
			if err != nil || used != want || result != p.Result {
				t.Errorf("%s, %s: result %d, fuel %d, %v; want %d, %d", p.Name, name, result, used, err, p.Result, want)
			}
			if _, used, err := spend(t, engine, p.code, want, p.Args...); err != nil || used != want {
				t.Errorf("%s, %s, with just enough: fuel %d, %v", p.Name, name, used, err)
			}
			if _, used, err := spend(t, engine, p.code, want-1, p.Args...); err == nil || used <= want-1 {
				t.Errorf("%s, %s, with one less: fuel %d of %d, error %v", p.Name, name, used, want-1, err)
			}
		}
	}
}

// section and mod write modules by hand.
func section(id byte, body ...byte) []byte { return append([]byte{id, byte(len(body))}, body...) }

func mod(sections ...[]byte) []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	for _, s := range sections {
		out = append(out, s...)
	}
	return out
}

var (
	types  = section(1, 1, 0x60, 0, 0)             // func()
	one    = section(3, 1, 0)                      // one function of it
	export = section(7, 1, 3, 'r', 'u', 'n', 0, 0) // run
	code   = func(instructions ...byte) []byte {   // its body
		return section(10, append([]byte{1, byte(len(instructions) + 1), 0}, instructions...)...)
	}
)

// A count by hand: the call 1; local-free body of i32.const, drop (0), br_if's const and
// itself, and after the block's end one const more.
func TestCountByHand(t *testing.T) {
	body := code(0x02, 0x40, 0x41, 1, 0x1a, 0x41, 0, 0x0d, 0, 0x0b, 0x41, 5, 0x1a, 0x0b)
	if _, used, err := spend(t, engines["compiler"], mod(types, one, export, body), 100); used != 1+1+1+1+1 || err != nil {
		t.Errorf("fuel %d, %v; want 5", used, err)
	}
}

func TestWhatDoesNotEnd(t *testing.T) {
	for name, c := range map[string][]byte{
		"loop":                        mod(types, one, export, code(0x03, 0x40, 0x0c, 0, 0x0b, 0x0b)),
		"recursion":                   mod(types, one, export, code(0x10, 0, 0x0b)),
		"a start function's loop":     mod(types, one, export, section(8, 0), code(0x03, 0x40, 0x0c, 0, 0x0b, 0x0b)),
		"a loop of br_table":          mod(types, one, export, code(0x03, 0x40, 0x41, 9, 0x0e, 1, 0, 0, 0x0b, 0x0b)),
		"filling a megabyte for ever": mod(types, one, section(5, 1, 0, 16), export, code(0x03, 0x40, 0x41, 0, 0x41, 0, 0x41, 0x80, 0x80, 0xc0, 0x00, 0xfc, 11, 0, 0x0c, 0, 0x0b, 0x0b)),
	} {
		for e, engine := range engines {
			first := int64(0)
			budget := int64(1999)
			if strings.HasPrefix(name, "filling") {
				budget = 50_000_000
			}
			for range 2 {
				_, used, err := spend(t, engine, c, budget)
				if err == nil || used <= budget || first != 0 && used != first {
					t.Errorf("%s, %s: fuel %d of %d, error %v", name, e, used, budget, err)
				}
				first = used
			}
		}
	}
}

// A module that names what metering adds cannot get at it.
func TestFuelIsOutOfReach(t *testing.T) {
	for name, c := range map[string][]byte{
		"global.set of the next index": mod(types, one, export, code(0x42, 1, 0x24, 0, 0x0b)),
		"global.get of the next index": mod(types, one, export, code(0x23, 0, 0x1a, 0x0b)),
		"an export of it":              mod(types, one, section(7, 1, 1, 'g', 3, 0), code(0x0b)),
		"the reserved name":            mod(types, one, section(7, append([]byte{1, 11}, "grouse.fuel\x00\x00"...)...), code(0x0b)),
	} {
		if _, err := fuel.Meter(c, 10); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	// a constant expression may only name imported globals
	c := mod(types, one, section(5, 1, 0, 1), export, code(0x0b), section(11, 1, 0, 0x23, 0, 0x0b, 0))
	if m, err := fuel.Meter(c, 10); err == nil {
		if err := compile(m); err == nil {
			t.Error("a data offset could read the fuel")
		}
	}
}

func compile(code []byte) error {
	r := wazero.NewRuntimeWithConfig(context.Background(), wazero.NewRuntimeConfigInterpreter().WithMemoryLimitPages(256))
	defer r.Close(context.Background())
	_, err := r.CompileModule(context.Background(), code)
	return err
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name string
		code []byte
		says string
	}{
		{"nothing", nil, "8 bytes"}, {"text", []byte("(module (func))"), "no WebAssembly module"},
		{"version 2", []byte("\x00asm\x02\x00\x00\x00"), "version 1"},
		{"a count beyond the bytes", mod(section(1, 0xff, 0xff, 0xff, 0xff, 0x0f)), "4294967295 types in"},
		{"sections out of order", mod(one, types), "function"},
		{"twice the same", mod(types, types), "out of order"},
		{"exceptions", mod(types, section(13, 1, 0, 0)), "exceptions"},
		{"atomics", mod(types, one, code(0xfe, 3, 0, 0x0b)), "atomic"},
		{"tail calls", mod(types, one, code(0x12, 0, 0x0b)), "return_call"},
		{"a padded vector opcode", mod(types, one, code(0xfd, 0x8c, 0, 0x0b)), "vector"},
		{"too many locals", mod(types, one, section(10, 1, 8, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x7f, 0x0b)), "locals"},
		{"a huge table", mod(types, section(4, 1, 0x70, 0, 0xff, 0xff, 0xff, 0x7f)), "a table of"},
		{"shared memory", mod(types, section(5, 1, 3, 1, 1)), "shared"},
		{"no end", mod(types, one, code(0x01)), "ends in the middle"},
		{"code after the end", mod(types, one, code(0x0b, 0x01)), "too many"},
		{"no code", mod(types, one), "have code"},
	} {
		_, err := fuel.Meter(c.code, 10)
		var e *fuel.SyntaxError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, want one that says %q", c.name, err, c.says)
		}
	}
}

// A table without a maximum gets one: growing it is memory that memory_mb does not see.
func TestTablesAreBounded(t *testing.T) {
	// ref.null func, i32.const 2^21, table.grow 0, drop
	c := mod(types, one, section(4, 1, 0x70, 0, 1), export, code(0xd0, 0x70, 0x41, 0x80, 0x80, 0x80, 0x01, 0xfc, 15, 0, 0x41, 0x7f, 0x47, 0x04, 0x40, 0x00, 0x0b, 0x0b))
	if _, _, err := spend(t, engines["compiler"], c, 1<<30); err != nil {
		t.Errorf("the table grew, or %v", err)
	}
}

// FuzzMeter: no panic, no allocation beyond the input's order; what is metered reads as
// a module again; a valid module stays valid.
func FuzzMeter(f *testing.F) {
	for _, p := range programs(f) {
		f.Add(p.code)
	}
	files, _ := filepath.Glob("../testdata/*.wasm")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := fuel.Meter(data, 1000)
		if err != nil {
			return
		}
		if len(out) > 64*len(data)+256 {
			t.Errorf("%d bytes became %d", len(data), len(out))
		}
		// its globals and exports are reserved now, all else reads
		if _, err := fuel.Meter(out, 1000); err == nil || !strings.Contains(err.Error(), "reserved") {
			t.Errorf("the metered module: %v", err)
		}
		if compile(data) == nil {
			if err := compile(out); err != nil {
				t.Errorf("a valid module is invalid when metered: %v", err)
			}
		}
	})
}
