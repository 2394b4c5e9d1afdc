package model

import (
	"slices"
	"strconv"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/safetensors"
	"github.com/grouse-rl/grouse/internal/tensor"
)

// Source gives tensors by name: a Hugging Face folder, a GGUF file.
type Source interface {
	Names() []string
	// Shape returns a tensor's shape, nil if there is none of the name.
	Shape(name string) []int
	// Float32 reads a tensor, row-major, into dst of its size.
	Float32(name string, dst []float32) error
}

// Load reads all weights, into float32. A tensor that is missing, is of another shape
// or is not the architecture's is an error that names it.
func (m *Model) Load(src Source) error {
	m.SetBF16(false)
	known := map[string]bool{}
	for _, p := range m.params {
		known[p.Name] = true
		shape := src.Shape(p.Name)
		if shape == nil {
			return grouse.Errorf(grouse.Invalid, "weights: no tensor %q, which %s has", p.Name, m.Config.ModelType)
		}
		if !slices.Equal(shape, p.Shape()) {
			return grouse.Errorf(grouse.Invalid, "weights: %q has shape %v, config.json says %v", p.Name, shape, p.Shape())
		}
		data := make([]float32, p.Size())
		if err := src.Float32(p.Name, data); err != nil {
			return err
		}
		if err := m.dequantize(p, data, src); err != nil {
			return err
		}
		p.Write(m.dev, data)
	}
	for _, name := range src.Names() {
		if known[name] || m.ignores(name, src) {
			continue
		}
		return grouse.Errorf(grouse.Invalid, "weights: tensor %q is not part of %s", name, m.Config.ModelType).
			WithFix("config.json does not fit the weights")
	}
	return nil
}

// ignores reports whether a tensor that the model does not have may be in its
// files: tables that are computed, a tied head, modules for multi-token
// prediction (further layers), layers of width 0, scales.
func (m *Model) ignores(name string, src Source) bool {
	if rest, ok := strings.CutPrefix(name, "model.layers."); ok && m.Config.MTPLayers > 0 {
		n, _, _ := strings.Cut(rest, ".")
		if l, err := strconv.Atoi(n); err == nil && l >= m.Config.Layers && l < m.Config.Layers+m.Config.MTPLayers {
			return true
		}
	}
	if m.Config.Quantization != nil && strings.HasSuffix(name, scaleSuffix) {
		return true
	}
	return strings.HasSuffix(name, ".rotary_emb.inv_freq") || (name == "lm_head.weight" && m.head == m.embed) || slices.Contains(src.Shape(name), 0)
}

// Init draws weights from scratch: matrices from a normal distribution of
// standard deviation initializer_range, norms 1, biases 0. Each element has a
// counter of its own, so the result does not depend on anything but the key.
func (m *Model) Init(key rng.Key) {
	for i, p := range m.params {
		data := make([]float32, p.Size())
		switch {
		case p.In > 0:
			z := make([]float64, len(data))
			key.Normals(z, uint32(i), 0, 0)
			for j, v := range z {
				data[j] = float32(v * m.Config.InitRange)
			}
		case !strings.HasSuffix(p.Name, "bias"):
			for j := range data {
				data[j] = 1
			}
		}
		p.Write(m.dev, data)
	}
}

// Trainable makes gradient buffers for all weights that are trained by default:
// not lightning indexers, and not the routers' correction biases.
func (m *Model) Trainable() { m.Train(func(p *tensor.Param) bool { return !IndexerWeight(p) }) }

// IndexerWeight reports whether a weight is a lightning indexer's.
func IndexerWeight(p *tensor.Param) bool { return strings.Contains(p.Name, ".indexer.") }

// Freeze says which weights are trained and takes the gradient buffers of others away.
// Correction biases are never trained: no gradient reaches them.
func (m *Model) Freeze(train func(p *tensor.Param) bool) {
	for _, p := range m.params {
		p.Frozen = !train(p) || strings.HasSuffix(p.Name, "e_score_correction_bias")
		if p.Frozen {
			p.Grad, p.LookupGrad = nil, nil
		}
	}
}

// Train is Freeze, and makes gradient buffers for the other weights, unless they have
// one.
func (m *Model) Train(train func(p *tensor.Param) bool) {
	m.Freeze(train)
	for _, p := range m.params {
		if !p.Frozen && p.Grad == nil {
			p.Grad = p.Like(m.dev)
		}
	}
	if m.head == m.embed && m.embed.Grad != nil && m.embed.LookupGrad == nil {
		m.embed.LookupGrad = m.embed.Like(m.dev)
	}
}

// ZeroGrads clears all gradients.
func (m *Model) ZeroGrads() {
	for _, p := range m.params {
		if p.Grad != nil {
			m.dev.Zero(p.Grad)
		}
	}
	if m.embed.LookupGrad != nil {
		m.dev.Zero(m.embed.LookupGrad)
	}
}

// FoldGrads adds the two halves of a tied embedding's gradient; an update's
// gradients are complete afterwards.
func (m *Model) FoldGrads() {
	if g := m.embed.LookupGrad; g != nil {
		m.dev.Add(m.embed.Grad, m.embed.Grad, g)
		m.dev.Zero(g)
	}
}

// CopyFrom copies the weights of a model of the same architecture and device, in the
// type that they have there.
func (m *Model) CopyFrom(src *Model) {
	for i, p := range m.params {
		p.SetBF16(m.dev, src.params[i].BF16)
		m.dev.Copy(p.Data, src.params[i].Data)
	}
}

// SetBF16 moves all matrices into bfloat16, without float32 masters, or back. The
// device must be a tensor.Rounder.
func (m *Model) SetBF16(on bool) {
	for _, p := range m.params {
		if p.In > 0 {
			p.SetBF16(m.dev, on)
		}
	}
}

// Clone returns a model with weights of its own and no gradients.
func (m *Model) Clone() *Model {
	c, err := New(m.dev, m.Config)
	if err != nil {
		panic(err) // the config made m
	}
	c.CopyFrom(m)
	return c
}

// Tensors returns every weight for a file, each to be read when it is written.
func (m *Model) Tensors() []safetensors.Tensor {
	all := make([]safetensors.Tensor, len(m.params))
	for i, p := range m.params {
		all[i] = safetensors.Tensor{Name: p.Name, Shape: p.Shape(), Read: func() []float32 { return p.Read(m.dev) }}
	}
	return all
}

// Each calls fn with every weight, row-major, in the order of Params.
func (m *Model) Each(fn func(name string, shape []int, data []float32) error) error {
	for _, p := range m.params {
		if err := fn(p.Name, p.Shape(), p.Read(m.dev)); err != nil {
			return err
		}
	}
	return nil
}
