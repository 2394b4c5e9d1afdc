package cuda

import (
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// Route chooses experts and computes gates. It waits for the choice if a row was
// free to choose.
func (d *Device) Route(gates tensor.Buffer, experts []int32, z, bias tensor.Buffer, r *tensor.Router, rows, E int) {
	defer d.begin()()
	chosen := d.ints(experts)
	d.blocks("route_experts", rows, 32, 8*(E+max(1, r.Groups)), out(gates), chosen, in(z), in(bias), i32(E), i32(r.TopK), truth(r.Sigmoid), i32(r.Groups), i32(r.TopGroups), truth(r.Normalize), r.Scale)
	for i := 0; i < len(experts); i += r.TopK {
		if experts[i] < 0 {
			check(d.drv.Download(bytes(experts), chosen))
			return
		}
	}
}

// RouteGrad adds to dz.
func (d *Device) RouteGrad(dz, dgates, z tensor.Buffer, experts []int32, r *tensor.Router, rows, E int) {
	defer d.begin()()
	d.blocks("route_grad", rows, 32, 4*E, out(dz), in(dgates), in(z), d.ints(experts), i32(E), i32(r.TopK), truth(r.Sigmoid), truth(r.Normalize), r.Scale)
}

// eachExpert calls fn for every expert that has rows.
func eachExpert(offsets []int, fn func(e, at, rows int)) {
	for e := range len(offsets) - 1 {
		if n := offsets[e+1] - offsets[e]; n > 0 {
			fn(e, offsets[e], n)
		}
	}
}

// GroupedLinear multiplies each expert's rows.
func (d *Device) GroupedLinear(y, x tensor.Buffer, w []tensor.Buffer, offsets []int, outs, ins int) {
	defer d.begin()()
	xs := d.operand(x, offsets[len(offsets)-1], ins)
	eachExpert(offsets, func(e, at, rows int) {
		d.mulForward(out(y)+driver.Ptr(4*at*outs), row(xs, at), d.weight(w[e], ins), rows, outs, ins)
	})
}

// GroupedLinearGradInput adds dy w of each expert.
func (d *Device) GroupedLinearGradInput(dx, dy tensor.Buffer, w []tensor.Buffer, offsets []int, outs, ins int) {
	defer d.begin()()
	ys := d.operand(dy, offsets[len(offsets)-1], outs)
	eachExpert(offsets, func(e, at, rows int) {
		d.mulGradInput(out(dx)+driver.Ptr(4*at*ins), row(ys, at), d.weight(w[e], ins), rows, outs, ins, true)
	})
}

// GroupedLinearGradWeight adds dyᵀ x of each expert.
func (d *Device) GroupedLinearGradWeight(dw []tensor.Buffer, dy, x tensor.Buffer, offsets []int, outs, ins int) {
	defer d.begin()()
	n := offsets[len(offsets)-1]
	ys, xs := d.operand(dy, n, outs), d.operand(x, n, ins)
	eachExpert(offsets, func(e, at, rows int) {
		d.mulGradWeight(out(dw[e]), row(ys, at), row(xs, at), rows, outs, ins)
	})
}

// Combine adds up a row's slots.
func (d *Device) Combine(y, x, gates tensor.Buffer, slots []int32, rows, k, dim int) {
	defer d.begin()()
	n := rows * dim
	d.each("combine_slots", n, out(y), in(x), in(gates), d.ints(slots), i32(k), i32(dim), int64(n))
}

// CombineGrad adds to dx and dgates.
func (d *Device) CombineGrad(dx, dgates, dy, x, gates tensor.Buffer, slots []int32, rows, k, dim int) {
	defer d.begin()()
	d.blocks("combine_grad", rows*k, dim, 0, out(dx), out(dgates), in(dy), in(x), in(gates), d.ints(slots), i32(k), i32(dim))
}

// DispatchGrad adds a row's slots up.
func (d *Device) DispatchGrad(dx, dy tensor.Buffer, slots []int32, rows, k, dim int) {
	defer d.begin()()
	n := rows * dim
	d.each("dispatch_grad", n, out(dx), in(dy), d.ints(slots), i32(k), i32(dim), int64(n))
}
