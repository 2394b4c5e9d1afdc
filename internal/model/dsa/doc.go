// Package dsa is DeepSeek Sparse Attention's lightning indexer in plain float64
// (DeepSeek-V3.2, arXiv:2512.02556, eq. 1, 3, 4; spec 10.6): index scores, the
// choice of positions, and the losses that train the indexer, with their
// gradients. It is the reference that the tensor kernels are judged by.
//
// L positions, H index heads of D numbers. Query t sees keys s <= t. Ties go to
// the lower position, so that every engine selects the same.
package dsa
