package tensor

import "fmt"

// HeadBlock is a stretch of columns in each head of a matrix [rows,
// Heads*Width]: columns Offset, Offset+1, ... of the head.
type HeadBlock struct{ Heads, Width, Offset int }

// Columns returns n columns from column `from` on of each head of x: [rows,
// heads*n].
func (g *Graph) Columns(x *Tensor, heads, from, n int) *Tensor {
	width := x.Cols / heads
	if width*heads != x.Cols || from+n > width {
		panic(fmt.Sprintf("tensor: columns %d to %d of %d heads of %v", from, from+n, heads, x))
	}
	y := g.New(x.Rows, heads*n)
	to, src := HeadBlock{heads, n, 0}, HeadBlock{heads, width, from}
	g.dev.CopyHeads(y.Data, x.Data, to, src, n, x.Rows)
	g.record(y, func(dy Buffer) { g.dev.CopyHeadsGrad(g.Grad(x), dy, to, src, n, x.Rows) })
	return y
}

// Join returns a's heads, each followed by b's.
func (g *Graph) Join(a, b *Tensor, heads int) *Tensor { return g.join(a, b, heads, heads) }

// JoinShared returns a's heads, each followed by the columns of b, which all
// heads share.
func (g *Graph) JoinShared(a, b *Tensor, heads int) *Tensor { return g.join(a, b, heads, 1) }

func (g *Graph) join(a, b *Tensor, heads, bHeads int) *Tensor {
	na, nb := a.Cols/heads, b.Cols/bHeads
	if na*heads != a.Cols || nb*bHeads != b.Cols || a.Rows != b.Rows {
		panic(fmt.Sprintf("tensor: %d heads of %v beside %d of %v", heads, a, bHeads, b))
	}
	y := g.New(a.Rows, heads*(na+nb))
	toA, fromA := HeadBlock{heads, na + nb, 0}, HeadBlock{heads, na, 0}
	toB, fromB := HeadBlock{heads, na + nb, na}, HeadBlock{bHeads, nb, 0}
	g.dev.CopyHeads(y.Data, a.Data, toA, fromA, na, a.Rows)
	g.dev.CopyHeads(y.Data, b.Data, toB, fromB, nb, a.Rows)
	g.record(y, func(dy Buffer) {
		g.dev.CopyHeadsGrad(g.Grad(a), dy, toA, fromA, na, a.Rows)
		g.dev.CopyHeadsGrad(g.Grad(b), dy, toB, fromB, nb, a.Rows)
	})
	return y
}
