package model

import (
	"slices"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/tensor"
)

// scaleSuffix names the scales of a matrix that is stored in FP8: one for each
// block of rows and columns, the last blocks being smaller (spec section 10.7).
const scaleSuffix = "_scale_inv"

// dequantize multiplies a matrix by its blocks' scales, if the files have any.
func (m *Model) dequantize(p *tensor.Param, data []float32, src Source) error {
	name := p.Name + scaleSuffix
	shape := src.Shape(name)
	if shape == nil {
		return nil
	}
	q := m.Config.Quantization
	if q == nil || p.In == 0 {
		return grouse.Errorf(grouse.Invalid, "weights: %q has scales, but config.json has no quantization_config for it", p.Name)
	}
	rows, cols := (p.Out+q.Block[0]-1)/q.Block[0], (p.In+q.Block[1]-1)/q.Block[1]
	if !slices.Equal(shape, []int{rows, cols}) {
		return grouse.Errorf(grouse.Invalid, "weights: %q has shape %v, blocks of %v in %v need %v", name, shape, q.Block, p.Shape(), []int{rows, cols})
	}
	scale := make([]float32, rows*cols)
	if err := src.Float32(name, scale); err != nil {
		return err
	}
	for i := range data {
		data[i] *= scale[i/p.In/q.Block[0]*cols+i%p.In/q.Block[1]]
	}
	return nil
}
