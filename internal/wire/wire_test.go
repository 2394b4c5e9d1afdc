package wire_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/wire"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files of the current versions again")

func groups() []grouse.Group {
	return []grouse.Group{
		{
			Candidate: 3, Prompt: grouse.Prompt{RowID: "math/7", Domain: "math", TokenIDs: []int32{1, 2, 3}},
			Sampling: grouse.Sampling{Temperature: 1, TopK: 512, TopP: .95, MinP: .01}, Seed: 1<<63 + 5,
			Rollouts: []grouse.Rollout{
				{
					Sample: 0, ResponseIDs: []int32{5, 6}, Mask: []uint8{1, 0}, Logprobs: []float32{-.5, -1.25}, Entropy: []float32{.7, .1}, PolicyVersion: []int64{4, 5},
					Finish: grouse.FinishStop, Kept: grouse.SamplingMask{IDs: []int32{5, 9, 6}, Offsets: []int32{0, 2, 3}},
					Routing: grouse.Routing{Experts: []int16{0, 1, 2, 3, -1, -1, 1, 0}, Layers: 1, K: 2}, Text: "é🙂",
				},
				{Sample: 1, ResponseIDs: []int32{7}, Logprobs: []float32{-2}, PolicyVersion: []int64{5}, Finish: grouse.FinishLength},
			},
		},
		{
			Candidate: 9, Prompt: grouse.Prompt{RowID: "general/x", Domain: "general", TokenIDs: []int32{8}}, Sampling: grouse.Sampling{Temperature: .5},
			Rollouts: []grouse.Rollout{{
				Sample: 0, ResponseIDs: []int32{2, 2}, Logprobs: []float32{0, -1}, PolicyVersion: []int64{5, 5}, Finish: grouse.FinishStop,
				Kept: grouse.SamplingMask{IDs: []int32{}, Offsets: []int32{0, 0, 0}},
			}},
		},
	}
}

func ptr[T any](v T) *T { return &v }

func scores() []wire.GroupScores {
	return []wire.GroupScores{
		{Candidate: 3, Scores: []grouse.Score{
			{Sample: 0, Reward: ptr(1.25), Parts: map[string]float64{"math": 1, "format/steps": 3, "format": .5}, Outcome: grouse.Scored, Correct: ptr(true), Explanation: "equal to 42"},
			{Sample: 1, Outcome: grouse.Scored, Correct: ptr(false)},
		}, Advantages: []float64{.5, -.5}},
		{Candidate: 9, Scores: []grouse.Score{{Sample: 0, Outcome: grouse.TimedOut, Failure: "10 s passed"}}},
	}
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

func TestGroupsThereAndBack(t *testing.T) {
	want := groups()
	data, err := wire.EncodeGroups(want)
	if err != nil {
		t.Fatal(err)
	}
	again, err := wire.EncodeGroups(groups())
	if err != nil || !bytes.Equal(data, again) {
		t.Errorf("encoding is not deterministic: %v", err)
	}
	got, err := wire.DecodeGroupsOf(sum(data), data)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for i := range got {
		if err := got[i].Validate(len(want[i].Rollouts), 10); err != nil && i == 1 {
			t.Errorf("group %d: %v", i, err)
		}
	}
	if got, err := wire.DecodeGroups(mustEncode(t, nil)); err != nil || len(got) != 0 {
		t.Errorf("no groups: %v %v", got, err)
	}
}

func mustEncode(t *testing.T, g []grouse.Group) []byte {
	t.Helper()
	data, err := wire.EncodeGroups(g)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestScoresThereAndBack(t *testing.T) {
	data, err := wire.EncodeScores(scores())
	if err != nil {
		t.Fatal(err)
	}
	again, _ := wire.EncodeScores(scores())
	if !bytes.Equal(data, again) {
		t.Error("encoding is not deterministic")
	}
	got, err := wire.DecodeScoresOf(sum(data), data)
	if err != nil {
		t.Fatal(err)
	}
	if want := scores(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// testdata/<schema>-<version>.arrow are batches as that version wrote them; every later
// program must read them, and the current one must write the same bytes.
// go test ./internal/wire -rewrite writes them again; scripts/golden/wire_check.py reads them with pyarrow.
func TestGoldenFiles(t *testing.T) {
	rollouts := mustEncode(t, groups())
	judged, err := wire.EncodeScores(scores())
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"rollout-1.arrow": rollouts, "score-1.arrow": judged} {
		path := filepath.Join("testdata", name)
		if *rewrite {
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		golden, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(golden, data) {
			t.Errorf("%s: the bytes have changed: raise the version and keep this file readable", name)
		}
	}
	old, _ := os.ReadFile("testdata/rollout-1.arrow")
	if got, err := wire.DecodeGroups(old); err != nil || !reflect.DeepEqual(got, groups()) {
		t.Errorf("rollout/1: %v", err)
	}
	old, _ = os.ReadFile("testdata/score-1.arrow")
	if got, err := wire.DecodeScores(old); err != nil || !reflect.DeepEqual(got, scores()) {
		t.Errorf("score/1: %v", err)
	}
}

func TestVerifyComesFirst(t *testing.T) {
	data := mustEncode(t, groups())
	want := sum(data)
	for i := range data {
		bad := slices.Clone(data)
		bad[i] ^= 0x40
		if _, err := wire.DecodeGroupsOf(want, bad); grouse.KindOf(err) != grouse.Corrupt || !strings.Contains(err.Error(), "SHA-256") {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
}

func TestRefusesDisorder(t *testing.T) {
	g := groups()
	g[0], g[1] = g[1], g[0]
	if _, err := wire.EncodeGroups(g); grouse.KindOf(err) != grouse.Invalid {
		t.Errorf("candidates: %v", err)
	}
	g = groups()
	g[0].Rollouts[1].Sample = 0
	if _, err := wire.EncodeGroups(g); grouse.KindOf(err) != grouse.Invalid {
		t.Errorf("samples: %v", err)
	}
	s := scores()
	s[0].Advantages = s[0].Advantages[:1]
	if _, err := wire.EncodeScores(s); grouse.KindOf(err) != grouse.Invalid {
		t.Errorf("advantages: %v", err)
	}
}

// change decodes a batch, lets f change schema and columns, and encodes it.
func change(t *testing.T, data []byte, f func(fields []arrow.Field, columns []arrow.Array) ([]arrow.Field, []arrow.Array, map[string]string)) []byte {
	t.Helper()
	r, err := ipc.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	r.Next()
	fields, columns, meta := f(slices.Clone(r.Schema().Fields()), slices.Clone(r.Record().Columns()))
	m := arrow.MetadataFrom(meta)
	schema := arrow.NewSchema(fields, &m)
	var buf bytes.Buffer
	w := ipc.NewWriter(&buf, ipc.WithSchema(schema))
	if err := w.Write(array.NewRecord(schema, columns, r.Record().NumRows())); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return buf.Bytes()
}

var v1 = map[string]string{"grouse.schema": "rollout", "grouse.version": "1"}

func TestSchemasThatDiffer(t *testing.T) {
	data := mustEncode(t, groups())
	type fs = []arrow.Field
	type cs = []arrow.Array
	extra := change(t, data, func(f fs, c cs) (fs, cs, map[string]string) {
		b := array.NewInt32Builder(memory.NewGoAllocator())
		b.AppendValues([]int32{1, 2, 3}, nil)
		return append(f, arrow.Field{Name: "later", Type: arrow.PrimitiveTypes.Int32}), append(c, b.NewArray()), v1
	})
	if got, err := wire.DecodeGroups(extra); err != nil || !reflect.DeepEqual(got, groups()) {
		t.Errorf("an added field: %v", err)
	}
	noText := change(t, data, func(f fs, c cs) (fs, cs, map[string]string) { return f[:len(f)-1], c[:len(c)-1], v1 })
	if got, err := wire.DecodeGroups(noText); err != nil || got[0].Rollouts[0].Text != "" {
		t.Errorf("without text: %v", err)
	}
	for name, c := range map[string]struct {
		data []byte
		kind grouse.Kind
		want string
	}{
		"newer": {change(t, data, func(f fs, c cs) (fs, cs, map[string]string) {
			return f, c, map[string]string{"grouse.schema": "rollout", "grouse.version": "2"}
		}), grouse.Invalid, "rollout/2"},
		"other": {change(t, data, func(f fs, c cs) (fs, cs, map[string]string) {
			return f, c, map[string]string{"grouse.schema": "score", "grouse.version": "1"}
		}), grouse.Corrupt, `"score"`},
		"none":    {change(t, data, func(f fs, c cs) (fs, cs, map[string]string) { return f, c, nil }), grouse.Corrupt, "schema"},
		"missing": {change(t, data, func(f fs, c cs) (fs, cs, map[string]string) { return f[1:], c[1:], v1 }), grouse.Corrupt, `"candidate"`},
		"type": {change(t, data, func(f fs, c cs) (fs, cs, map[string]string) {
			f[4].Type, c[4] = f[7].Type, c[7]
			return f, c, v1
		}), grouse.Corrupt, `"prompt_ids"`},
		"twice":   {change(t, data, func(f fs, c cs) (fs, cs, map[string]string) { return append(f, f[0]), append(c, c[0]), v1 }), grouse.Corrupt, "2 times"},
		"garbage": {[]byte("not arrow at all"), grouse.Corrupt, ""},
		"empty":   {nil, grouse.Corrupt, ""},
		"cut":     {data[:len(data)/2], grouse.Corrupt, ""},
	} {
		_, err := wire.DecodeGroups(c.data)
		if grouse.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s with %q", name, err, c.kind, c.want)
		}
	}
}

func TestArchives(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, f func(*os.File) error) string {
		path := filepath.Join(dir, name)
		out, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if err := f(out); err != nil {
			t.Fatal(err)
		}
		return path
	}
	g := groups()
	g[0].Prompt.Text = "What?"
	rows, err := wire.ReadParquetRows(write("rollouts.parquet", func(f *os.File) error {
		return wire.ArchiveRollouts(f, wire.ArchivedStep{Stage: 1, Step: 42, Groups: g, Scores: scores(), Traces: traces(g)})
	}))
	if err != nil || len(rows) != 3 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	first := rows[0]
	if first["step"] != 42.0 || first["prompt"] != "What?" || first["reward"] != 1.25 || first["row_id"] != "math/7" || first["correct"] != true || first["text"] != "é🙂" {
		t.Errorf("first row %v", first)
	}
	if first["advantage"] != 0.5 || first["off_policy_masked"] != false || first["ratio"].([]any)[1] != 1.25 || first["clipped"].([]any)[1] != 1.0 || first["kl"] != nil {
		t.Errorf("trace of the first row: %v", first)
	}
	if ids := first["response_ids"].([]any); len(ids) != 2 || ids[1] != 6.0 {
		t.Errorf("response_ids %v", ids)
	}
	if rows[1]["reward"] != nil || rows[1]["mask"] != nil {
		t.Errorf("second row %v", rows[1])
	}
	rows, err = wire.ReadParquetRows(write("unscored.parquet", func(f *os.File) error { return wire.ArchiveRollouts(f, wire.ArchivedStep{Step: 1, Groups: g}) }))
	if err != nil || len(rows) != 3 || rows[0]["reward"] != nil {
		t.Errorf("without scores: %d rows, %v", len(rows), err)
	}
	rows, err = wire.ReadParquetRows(write("metrics.parquet", func(f *os.File) error {
		return wire.ArchiveMetrics(f, []wire.MetricRow{{Stage: 1, Step: 2, Values: map[string]float64{"reward": .5, "kl": .25}}})
	}))
	if err != nil || len(rows) != 2 || rows[0]["name"] != "kl" || rows[1]["value"] != .5 {
		t.Errorf("metrics %v %v", rows, err)
	}
	rows, err = wire.ReadParquetRows(write("ledger.parquet", func(f *os.File) error {
		return wire.ArchiveLedger(f, []wire.LedgerRow{{Seq: 1, Kind: "run", Key: "x", SHA256: "ab", Payload: []byte(`{"a":1}`)}})
	}))
	if err != nil || len(rows) != 1 || rows[0]["payload"] != `{"a":1}` {
		t.Errorf("ledger %v %v", rows, err)
	}
	var buf bytes.Buffer
	if err := wire.ArchiveRollouts(&buf, wire.ArchivedStep{Step: 1, Groups: g, Scores: scores()[:1]}); grouse.KindOf(err) != grouse.Invalid {
		t.Errorf("missing scores: %v", err)
	}
	bad := filepath.Join(dir, "bad.parquet")
	os.WriteFile(bad, []byte("PAR1 no"), 0o644)
	if _, err := wire.ReadParquetRows(bad); grouse.KindOf(err) != grouse.Corrupt {
		t.Errorf("bad parquet: %v", err)
	}
}

// traces are made-up traces of groups' rollouts.
func traces(groups []grouse.Group) [][]grouse.Trace {
	out := make([][]grouse.Trace, len(groups))
	for i, g := range groups {
		for _, r := range g.Rollouts {
			tr := grouse.Trace{Advantage: 0.5}
			for t := range r.ResponseIDs {
				tr.Logprobs, tr.Ratio, tr.Clipped = append(tr.Logprobs, -1), append(tr.Ratio, 1+0.25*float32(t)), append(tr.Clipped, t == 1)
			}
			out[i] = append(out[i], tr)
		}
	}
	return out
}
