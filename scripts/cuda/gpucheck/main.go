// Command gpucheck is what scripts/cuda/check.sh runs on a machine with a GPU
// beside grouse itself: random models of real sizes, the numbers that gpucheck.py
// compares with torch's, and speeds.
//
//	gpucheck model SHAPE DIR            writes a random model (0.6b, 1.7b, 8b, tiny)
//	gpucheck parity DEVICE DIR OUT      logprobs and gradients of that model
//	gpucheck speed DEVICE SHAPE...      a line of JSON each: training and generation
//	gpucheck mfu DOCTOR SPEEDS          utilization, from doctor's and speed's output
//
// DEVICE is cuda, or cpu to try the program itself.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/grouse-rl/grouse/internal/durable"
	"github.com/grouse-rl/grouse/internal/model"
	"github.com/grouse-rl/grouse/internal/safetensors"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/devices"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "gpucheck: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	switch {
	case len(args) == 3 && args[0] == "model":
		return writeModel(args[1], args[2])
	case len(args) == 4 && args[0] == "parity":
		return parity(args[1], args[2], args[3])
	case len(args) >= 3 && args[0] == "speed":
		dev, err := devices.Open(args[1], 0)
		if err != nil {
			return err
		}
		for _, shape := range args[2:] {
			if err := speed(ctx, dev, shape, out); err != nil {
				return fmt.Errorf("%s: %w", shape, err)
			}
		}
		return nil
	case len(args) == 3 && args[0] == "mfu":
		return printMFU(args[1], args[2], out)
	}
	return fmt.Errorf("gpucheck model SHAPE DIR | parity DEVICE DIR OUT | speed DEVICE SHAPE... | mfu DOCTOR SPEEDS; shapes are %v", slices.Sorted(maps.Keys(shapes)))
}

// shape is a Qwen3 model's size.
type shape struct {
	hidden, inner, layers, heads, kvHeads, headDim, vocab int
	tied                                                  bool
}

// The shapes of Qwen3's config.json files; tiny is for trying this program.
var shapes = map[string]shape{
	"tiny": {64, 160, 2, 4, 2, 16, 512, true},
	"0.6b": {1024, 3072, 28, 16, 8, 128, 151936, true},
	"1.7b": {2048, 6144, 28, 16, 8, 128, 151936, true},
	"8b":   {4096, 12288, 36, 32, 8, 128, 151936, false},
}

// config is the model's config.json.
func config(name string) ([]byte, error) {
	s, ok := shapes[name]
	if !ok {
		return nil, fmt.Errorf("no shape %q: %v", name, slices.Sorted(maps.Keys(shapes)))
	}
	return json.MarshalIndent(map[string]any{
		"architectures": []string{"Qwen3ForCausalLM"}, "model_type": "qwen3", "hidden_size": s.hidden, "intermediate_size": s.inner,
		"num_hidden_layers": s.layers, "num_attention_heads": s.heads, "num_key_value_heads": s.kvHeads, "head_dim": s.headDim,
		"vocab_size": s.vocab, "tie_word_embeddings": s.tied, "rope_theta": 1e6, "rms_norm_eps": 1e-6, "max_position_embeddings": 40960,
		"hidden_act": "silu", "attention_bias": false, "torch_dtype": "bfloat16", "bos_token_id": 0, "eos_token_id": 1,
	}, "", "  ")
}

// random makes a model whose weights are bfloat16 numbers.
func random(dev tensor.Device, name string) (*model.Model, error) {
	raw, err := config(name)
	if err != nil {
		return nil, err
	}
	c, err := model.ParseConfig(raw)
	if err != nil {
		return nil, err
	}
	m, err := model.New(dev, c)
	if err != nil {
		return nil, err
	}
	for i, p := range m.Params() {
		p.Write(dev, weights(uint64(i), p))
	}
	return m, nil
}

// weights are uniform, of standard deviation 0.02; those of norms are near 1.
// Parts are filled at the same time: it is about seconds for a billion.
func weights(seed uint64, p *tensor.Param) []float32 {
	out := make([]float32, p.Size())
	var wg sync.WaitGroup
	const part = 1 << 20
	for lo := 0; lo < len(out); lo += part {
		wg.Go(func() {
			for i := lo; i < min(lo+part, len(out)); i++ {
				z := seed<<40 + uint64(i) + 0x9e3779b97f4a7c15 // SplitMix64
				z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
				z = (z ^ z>>27) * 0x94d049bb133111eb
				u := float32(uint32((z^z>>31)>>40))/(1<<23) - 1 // [-1, 1)
				v := u * 0.0346
				if p.In == 0 {
					v = 1 + u*0.1
				}
				out[i] = safetensors.BFloat16(safetensors.ToBFloat16(v))
			}
		})
	}
	wg.Wait()
	return out
}

// ids are token ids without meaning.
func ids(vocab, n, seed int) []int32 {
	out := make([]int32, n)
	x := uint32(seed)*2654435761 + 1
	for i := range out {
		x = x*1664525 + 1013904223
		out[i] = int32(uint64(x) * uint64(vocab) >> 32)
	}
	return out
}

func writeModel(name, dir string) error {
	dev, err := devices.Open(devices.CPU, 0)
	if err != nil {
		return err
	}
	m, err := random(dev, name)
	if err != nil {
		return err
	}
	raw, err := config(name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(dir, "config.json"), raw); err != nil {
		return err
	}
	all := m.Tensors()
	for i := range all {
		all[i].DType = safetensors.BF16
	}
	return durable.Write(filepath.Join(dir, safetensors.SingleName), func(w io.Writer) error {
		return safetensors.Write(w, all, map[string]string{"format": "pt"})
	})
}

// parity writes what gpucheck.py compares: of two random sequences the logprob of
// each next token, and the gradients of their mean for some weights.
func parity(device, dir, out string) error {
	dev, err := devices.Open(device, 0)
	if err != nil {
		return err
	}
	m, err := model.Open(dev, dir)
	if err != nil {
		return err
	}
	m.Trainable()
	m.ZeroGrads()
	n := min(512, m.Config.VocabSize/4)
	var seqs tensor.Seqs
	var fed, rows, targets []int32
	for s := range 2 {
		row := ids(m.Config.VocabSize, n+1, s)
		seqs.Add(n, -1)
		fed = append(fed, row[:n]...)
		targets = append(targets, row[1:]...)
		for range n {
			rows = append(rows, int32(len(rows)))
		}
	}
	g := tensor.NewGraph(dev, tensor.Train)
	h := m.Forward(g, model.Input{IDs: fed, Pos: seqs.Positions(), Rows: rows, Attend: m.InBatch(g, &seqs)})
	lp := g.Logprob(h, m.Head(), &tensor.Targets{IDs: targets, Temperature: 1})
	coef := make([]float32, len(targets))
	for i := range coef {
		coef[i] = 1 / float32(len(coef))
	}
	lp.Backward(coef)
	m.FoldGrads()
	numbers := func(x []int32) []float32 { // ids are below 2^24
		f := make([]float32, len(x))
		for i, v := range x {
			f[i] = float32(v)
		}
		return f
	}
	all := []safetensors.Tensor{
		{Name: "ids", Shape: []int{2, n}, Data: numbers(fed)}, {Name: "targets", Shape: []int{2, n}, Data: numbers(targets)},
		{Name: "logprobs", Shape: []int{2, n}, Data: lp.Values},
	}
	middle := fmt.Sprintf(".layers.%d.", m.Config.Layers/2)
	for _, p := range m.Params() {
		if strings.Contains(p.Name, ".layers.0.") || strings.Contains(p.Name, middle) || p.Name == "model.norm.weight" {
			all = append(all, safetensors.Tensor{Name: "grad." + p.Name, Shape: p.Shape(), Data: p.ReadBuffer(dev, p.Grad)})
		}
	}
	return durable.Write(out, func(w io.Writer) error {
		return safetensors.Write(w, all, map[string]string{"device": dev.Name()})
	})
}
