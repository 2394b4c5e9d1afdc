package safetensors_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/safetensors"
)

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
}

// testdata is written by scripts/golden/safetensors_golden.py.
func TestReadsEveryTypeAsTorchDoes(t *testing.T) {
	var want map[string]struct {
		Shape  []int
		Values []float32
	}
	readJSON(t, "testdata/dtypes.json", &want)
	f, err := safetensors.Open("testdata/dtypes.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if len(f.Names()) != len(want) || len(want) < 17 {
		t.Fatalf("got %d tensors, want %d", len(f.Names()), len(want))
	}
	for name, w := range want {
		info, ok := f.Info(name)
		if !ok || fmt.Sprint(info.Shape) != fmt.Sprint(w.Shape) {
			t.Errorf("%s: shape %v, want %v", name, info.Shape, w.Shape)
			continue
		}
		got := make([]float32, info.Elems())
		if err := f.Float32(name, got); err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if got[i] != w.Values[i] {
				t.Errorf("%s[%d] (%s): got %v, want %v", name, i, info.DType, got[i], w.Values[i])
			}
		}
	}
	if f.Metadata()["format"] != "pt" {
		t.Errorf("metadata %v", f.Metadata())
	}
	if err := f.Float32("f32", make([]float32, 5)); grouse.KindOf(err) != grouse.Invalid {
		t.Errorf("wrong length: %v", err)
	}
	if err := f.Float32("none", nil); grouse.KindOf(err) != grouse.NotFound {
		t.Errorf("unknown tensor: %v", err)
	}
}

func TestRoundsAsTorchDoes(t *testing.T) {
	var want struct {
		Values []float32
		F16    []uint16
		BF16   []uint16
	}
	readJSON(t, "testdata/rounding.json", &want)
	if len(want.Values) < 400 {
		t.Fatal("too few values")
	}
	for i, v := range want.Values {
		if got := safetensors.ToFloat16(v); got != want.F16[i] {
			t.Errorf("float16 of %v: got %#x, want %#x", v, got, want.F16[i])
		}
		if got := safetensors.ToBFloat16(v); got != want.BF16[i] {
			t.Errorf("bfloat16 of %v: got %#x, want %#x", v, got, want.BF16[i])
		}
	}
	for h := 0; h < 1<<16; h++ { // every half survives the way there and back
		f := safetensors.Float16(uint16(h))
		if math.IsNaN(float64(f)) {
			continue
		}
		if back := safetensors.ToFloat16(f); back != uint16(h) {
			t.Fatalf("half %#x became %v and %#x", h, f, back)
		}
	}
}

func some() []safetensors.Tensor {
	return []safetensors.Tensor{
		{Name: "b", Shape: []int{2, 3}, Data: []float32{1, 2, 3, 4, 5, 6}},
		{Name: "a", Shape: []int{3}, DType: safetensors.BF16, Data: []float32{1, -2, 0.5}},
		{Name: "c", Shape: nil, Data: []float32{7}},
		{Name: "raw", Shape: []int{2}, DType: safetensors.I64, Raw: binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, 9), 11)},
	}
}

func TestWriteIsDeterministicAndReadsBack(t *testing.T) {
	var one, two bytes.Buffer
	meta := map[string]string{"format": "pt"}
	if err := safetensors.Write(&one, some(), meta); err != nil {
		t.Fatal(err)
	}
	shuffled := some()
	shuffled[0], shuffled[3] = shuffled[3], shuffled[0]
	if err := safetensors.Write(&two, shuffled, meta); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("the order of the tensors changed the bytes")
	}
	// The bytes are a contract: weights_sha256 is computed over them.
	sum := sha256.Sum256(one.Bytes())
	if got, want := hex.EncodeToString(sum[:]), "2ae854528db574e60c2b976fd0beb6d0fec9b5713d0038682712acb23ff98fbe"; got != want {
		t.Errorf("sha256 of the file: got %s, want %s", got, want)
	}
	f, err := safetensors.NewFile(bytes.NewReader(one.Bytes()), int64(one.Len()), "memory")
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, 3)
	if err := f.Float32("a", got); err != nil || got[1] != -2 {
		t.Errorf("a: %v %v", got, err)
	}
	wide := make([]float32, 2)
	if err := f.Float32("raw", wide); err != nil || wide[1] != 11 {
		t.Errorf("raw: %v %v", wide, err)
	}
	for _, bad := range [][]safetensors.Tensor{
		{{Name: "x", Shape: []int{2}, Data: []float32{1}}},
		{{Name: "x", Shape: []int{1}, DType: "Q4", Data: []float32{1}}},
		{{Name: "x", Shape: []int{1}, DType: safetensors.I8, Data: []float32{1}}},
		{{Name: "x", Shape: []int{1}, Data: []float32{1}}, {Name: "x", Shape: []int{1}, Data: []float32{1}}},
	} {
		if err := safetensors.Write(&two, bad, nil); grouse.KindOf(err) != grouse.Invalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestShards(t *testing.T) {
	tensors := some()
	shards, index := safetensors.Plan(tensors, 25)
	if len(shards) != 3 || index == nil || index.WeightMap["b"] != "model-00002-of-00003.safetensors" {
		t.Fatalf("plan: %+v %+v", shards, index)
	}
	dir := t.TempDir()
	for _, s := range shards {
		var buf bytes.Buffer
		if err := safetensors.Write(&buf, s.Tensors, nil); err != nil {
			t.Fatal(err)
		}
		os.WriteFile(filepath.Join(dir, s.Name), buf.Bytes(), 0o600)
	}
	raw, _ := json.Marshal(index)
	os.WriteFile(filepath.Join(dir, safetensors.IndexName), raw, 0o600)
	m, err := safetensors.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	got := make([]float32, 6)
	if err := m.Float32("b", got); err != nil || got[5] != 6 || len(m.Names()) != 4 {
		t.Errorf("b: %v %v", got, err)
	}

	evil := strings.Replace(string(raw), "model-00002-of-00003.safetensors", "../x.safetensors", 1)
	os.WriteFile(filepath.Join(dir, safetensors.IndexName), []byte(evil), 0o600)
	if _, err := safetensors.OpenFolder(dir); grouse.KindOf(err) != grouse.Corrupt {
		t.Errorf("a shard outside the folder: %v", err)
	}
}

func TestFolderWithoutSafetensors(t *testing.T) {
	dir := t.TempDir()
	if _, err := safetensors.OpenFolder(dir); grouse.KindOf(err) != grouse.NotFound {
		t.Errorf("empty folder: %v", err)
	}
	os.WriteFile(filepath.Join(dir, "pytorch_model.bin"), []byte("x"), 0o600)
	if _, err := safetensors.OpenFolder(dir); err == nil || !strings.Contains(err.Error(), "pickled") {
		t.Errorf("pickle: %v", err)
	}
}

// file puts a header's length before it and data after it.
func file(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func TestRefusesBadHeaders(t *testing.T) {
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":      {nil, "too few"},
		"bomb":       {append(binary.LittleEndian.AppendUint64(nil, 1<<60), 1, 2, 3), "header of"},
		"beyond":     {append(binary.LittleEndian.AppendUint64(nil, 50), '{', '}'), "header of"},
		"not json":   {file(`{"a":`, 0), ""},
		"array":      {file(`[]`, 0), "not a JSON object"},
		"twice":      {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), "twice"},
		"overlap":    {file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3), "overlap"},
		"same place": {file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, 2), "overlap"},
		"gap":        {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, 3), "unused"},
		"cut off":    {file(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`, 3), "do not lie"},
		"added to":   {file(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`, 5), "added to"},
		"size":       {file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4), "takes 8 bytes"},
		"overflow":   {file(`{"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,0]}}`, 0), "overflows"},
		"negative":   {file(`{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}}`, 0), "non-negative"},
		"fraction":   {file(`{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,0]}}`, 0), "integer"},
		"dtype":      {file(`{"a":{"dtype":"Q9","shape":[],"data_offsets":[0,0]}}`, 0), "not supported"},
		"missing":    {file(`{"a":{"dtype":"F32","shape":[]}}`, 0), "missing"},
		"rank":       {file(`{"a":{"dtype":"U8","shape":[`+strings.Repeat("1,", 40)+`1],"data_offsets":[0,1]}}`, 1), "more than"},
		"two values": {file(`{}{}`, 0), "more than one"},
		"metadata":   {file(`{"__metadata__":{"a":1}}`, 0), "not a string"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := safetensors.NewFile(bytes.NewReader(c.file), int64(len(c.file)), "f")
			if grouse.KindOf(err) != grouse.Corrupt || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	for _, good := range []string{`{}`, `{}   `, `{"a":{"dtype":"U8","shape":[0,99999999999],"data_offsets":[0,0],"later":{"x":[1]}}}`} {
		if _, err := safetensors.NewFile(bytes.NewReader(file(good, 0)), int64(8+len(good)), "f"); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

func FuzzNewFile(f *testing.F) {
	var buf bytes.Buffer
	if err := safetensors.Write(&buf, some(), map[string]string{"format": "pt"}); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes())
	f.Add(file(`{"a":{"dtype":"F8_E4M3","shape":[2,1],"data_offsets":[0,2]}}`, 2))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := safetensors.NewFile(bytes.NewReader(raw), int64(len(raw)), "fuzz")
		if err != nil {
			return
		}
		total := 0
		for _, n := range file.Names() {
			info, _ := file.Info(n)
			total += info.Elems() * info.DType.Size()
			dst := make([]float32, info.Elems())
			if err := file.Float32(n, dst); err != nil {
				t.Fatalf("%s: the header was accepted, the tensor not: %v", n, err)
			}
		}
		if total > len(raw) {
			t.Fatalf("tensors of %d bytes in a file of %d", total, len(raw))
		}
	})
}
