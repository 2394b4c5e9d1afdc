package model_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
)

// While a context has at most index_topk positions, sparse attention is dense
// attention, bit for bit, forward and backward; beyond it is not.
func TestShortContextsAreDense(t *testing.T) {
	dev := cpu.New(2)
	src := open(t, dev, "deepseek-sparse")
	raw, err := os.ReadFile("testdata/deepseek-sparse/config.json")
	if err != nil {
		t.Fatal(err)
	}
	ids := openGolden(t, "deepseek-sparse").ids("ids")
	run := func(replace ...string) (h []float32, grads map[string][]float32) {
		config := raw
		for i := 0; i < len(replace); i += 2 {
			if !bytes.Contains(config, []byte(replace[i])) {
				t.Fatalf("no %s in config.json", replace[i])
			}
			config = bytes.ReplaceAll(config, []byte(replace[i]), []byte(replace[i+1]))
		}
		cfg, err := model.ParseConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		m, err := model.New(dev, cfg)
		if err != nil {
			t.Fatal(err)
		}
		weights := map[string]*tensor.Param{}
		for _, p := range src.Params() {
			weights[p.Name] = p
		}
		for _, p := range m.Params() {
			dev.Copy(p.Data, weights[p.Name].Data)
		}
		m.Trainable()
		seqs, pos := batch(ids)
		g := tensor.NewGraph(dev, tensor.Train)
		x := m.Forward(g, model.Input{IDs: ids, Pos: pos, Attend: m.InBatch(g, seqs)})
		h = make([]float32, x.Rows*x.Cols)
		dev.Read(h, x.Data)
		coef := make([]float32, len(ids))
		for i := range coef {
			coef[i] = float32(i%5) - 2
		}
		g.Logprob(x, m.Head(), &tensor.Targets{IDs: ids, Temperature: 1}).Backward(coef)
		grads = map[string][]float32{}
		for _, p := range m.Params() {
			if p.Grad != nil {
				grads[p.Name] = p.ReadBuffer(dev, p.Grad)
			}
		}
		return h, grads
	}
	dense, denseGrads := run("DeepseekV32ForCausalLM", "DeepseekV3ForCausalLM", "deepseek_v32", "deepseek_v3")
	long, longGrads := run(`"index_topk": 12`, `"index_topk": 40`)
	sameBits(t, "hidden states", long, dense)
	for name, g := range denseGrads {
		sameBits(t, "gradient of "+name, longGrads[name], g)
	}
	short, _ := run(`"index_topk": 12`, `"index_topk": 39`) // the last position leaves one out
	d := len(short) / len(ids)
	sameBits(t, "hidden states before the last position", short[:39*d], dense[:39*d])
	same := true
	for i := 39 * d; i < 40*d; i++ {
		same = same && short[i] == dense[i]
	}
	if same {
		t.Error("leaving a position out changes nothing")
	}
}

// A dense checkpoint becomes a sparse one whose indexers are new: as long as they
// select everything, nothing changes.
func TestAddIndexer(t *testing.T) {
	dev := cpu.New(1)
	sizes := map[string]any{"index_n_heads": 2, "index_head_dim": 8, "index_topk": 64}
	sparse, err := model.OpenIndexed(dev, "testdata/deepseek", sizes, rng.NewKey(rng.Init, "", 1))
	if err != nil {
		t.Fatal(err)
	}
	dense := open(t, dev, "deepseek")
	ids := openGolden(t, "deepseek").ids("ids")
	hidden := func(m *model.Model) []float32 {
		seqs, pos := batch(ids)
		g := tensor.NewGraph(dev, tensor.Infer)
		x := m.Forward(g, model.Input{IDs: ids, Pos: pos, Attend: m.InBatch(g, seqs)})
		h := make([]float32, x.Rows*x.Cols)
		dev.Read(h, x.Data)
		return h
	}
	sameBits(t, "hidden states", hidden(sparse), hidden(dense))
	if n, want := len(sparse.Params()), len(dense.Params())+5*dense.Layers(); n != want {
		t.Errorf("%d weights, want %d", n, want)
	}
	for _, p := range sparse.Params() {
		if w := p.Read(dev); model.IndexerWeight(p) && p.In > 0 && w[0] == 0 {
			t.Errorf("%s was not drawn", p.Name)
		}
	}
	if cfg, err := model.ParseConfig(sparse.Config.Raw); err != nil || !cfg.Indexed() || cfg.IndexHeads != 2 {
		t.Errorf("its config.json is not a V3.2's: %v, %v", cfg, err)
	}
	sizes["index_k"] = 3
	if _, err := model.OpenIndexed(dev, "testdata/deepseek", sizes, rng.Key{}); grouse.KindOf(err) != grouse.Invalid {
		t.Errorf("an unknown key: %v", err)
	}
	if _, err := model.OpenIndexed(dev, "testdata/deepseek-sparse", map[string]any{"index_topk": 4}, rng.Key{}); grouse.KindOf(err) != grouse.Invalid {
		t.Errorf("indexers a second time: %v", err)
	}
}
