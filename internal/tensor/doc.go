// Package tensor offers the operations a transformer needs, each with its
// gradient beside it, recorded on a tape, for a Device.
//
// A Graph runs operations and, in training, remembers what their gradients
// need; Backward walks the tape. Tensors are matrices of activations [rows,
// cols]: one row a token, sequences packed one after the other (Seqs says
// where). Param is a weight with its gradient. Models are written once over
// Graph; a Device (cpu, cuda) supplies the kernels.
//
//	g := tensor.NewGraph(dev, tensor.Train)
//	x := g.Embed(ids, embed)
//	y := g.Linear(g.RMSNorm(x, w, eps), proj)
//	...
//	g.Backward()
//
// What it promises: a row of a result depends on that row's inputs (and, in
// attention, on the rows it sees), never on what else is in the batch, on the
// number of threads or on how a batch is split; gradients of weights are summed
// over rows in order, so that any split of a step at sequence boundaries gives
// the same bits on the CPU.
//
// # Errors
//
// Shapes are checked where tensors are made; a mismatch is a bug of the model's
// code and panics. Nothing here does I/O.
package tensor
