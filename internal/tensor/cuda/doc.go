// Package cuda is the tensor.Device of a GPU: memory, launches and products asked
// of a driver.Driver, with the kernels of package kernels.
//
// It has never run on a GPU. What is tested is the same kernels on the processor
// (package emu, build tag emu), against the CPU device, and that is all that is
// claimed.
//
//	d := cuda.New(drv, cuda.Options{})
//	m, err := model.Open(d, dir)
//
// # What is float32 and what is bfloat16
//
// With Options.Float32 everything is float32: the comparison with the CPU device.
// Otherwise:
//
//   - Weights, their gradients and the optimizer's moments are float32 (moments
//     bfloat16 if the trainer asks for it): updates are smaller than a bfloat16
//     weight can take up. A weight gets a bfloat16 copy when a product first needs
//     one; AdamW writes it in the same pass. A matrix may be bfloat16 alone, rounded
//     at random where the trainer asks for it (AdamWRounded).
//   - Activations lie in memory as float32: sums along the residual stream and
//     norms keep their digits, at twice the memory traffic of bfloat16. Operands of
//     products are rounded to bfloat16 on the way in, sums and results are float32.
//   - Attention rounds queries, keys and values to bfloat16 when it reads them. With
//     heads of 64, 128 or 192/128 numbers it runs on tensor cores, and rounds
//     probabilities and their gradients too where they are operands; sums are
//     float32. Other heads, and latent attention in the absorbed form, take slower
//     kernels. A cache holds keys and values as bfloat16: the same numbers, so the
//     engine sees what the trainer sees.
//   - Logits are float32 from bfloat16 operands, their gradients bfloat16 operands.
//     Norms, routing, softmax and log-probabilities are float32; sums over a row of
//     the vocabulary, over blocks of squares and of the indexers' loss are float64.
//
// # Determinism
//
// No float is added atomically. Sums over rows go by chunks of a size that depends
// on the number of rows only; gradients of keys are added up by tiles of keys;
// rows that were looked up several times are sorted first. So a run repeats bit
// for bit on one machine with one driver and one cuBLAS. A row's result in
// attention does not depend on the batch; whether it does in a product is the
// driver's affair: where it does not, as in the emulation, engine and trainer agree
// bit for bit.
//
// # Graphs
//
// A Recorder (tensor.Replayer) captures a pass of decoding into a graph of the driver,
// which Replay launches again: one call instead of one for each operation. What is another
// in each pass (ids, positions, slots, tables of blocks, attention's tiles) lies in memory
// of the recording that is written before each launch; what cannot be repeated (a list of
// somebody else, new memory, a wait) panics while it is recorded. A recorder has operands
// and temporaries of its own, which all its recordings share. Weights are looked at before
// each launch: those that were written get their bfloat16 copies, those that moved are a
// reason to record anew, as are a table of angles that grew and a list that outgrew its
// room.
//
// # Memory
//
// Buffers come from slabs (arena); an operation's temporaries from a second area
// that begins anew with each operation: the stream keeps them apart. Buffers that
// nobody frees come back when the garbage collector finds them, at the latest when
// memory runs out. Moments may lie in the host's memory and pass through the device in
// every update (offload.go). NewPlan says what a run will need before it starts.
//
// Not there yet: grouped products in one call, graphs for models with experts, indexers or
// an absorbed form, split reductions for decoding long contexts.
//
// # Errors
//
// tensor.Device has no errors, and a failed GPU computes nothing more: operations
// panic with a *Failure that wraps the driver's error. Nothing can be saved then;
// the process ends, and a run goes on from its ledger.
package cuda
