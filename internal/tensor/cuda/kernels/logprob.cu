// What follows the vocabulary product: sums of blocks of 1024 ids as
// internal/logprob has them, the gradient of the logits, and kept sets. Logits
// exist for a chunk of rows at a time.
#include "grouse.cuh"

// sums [rows, blocks, 3] = Max, Sum, Dot (logprob.BlockSum) of logits z [rows,
// vocab] times scale; exps, if not null, receives exp(x - Max).
GROUSE_KERNEL(vocab_sums, float* sums, float* exps, const float* z, float scale, i32 vocab) {
  GROUSE_SHARED(float, red, 32);
  int from = blockIdx.x * 1024, to = min(vocab, from + 1024);
  const float* row = z + (i64)blockIdx.y * vocab;
  float top = NEGATIVE_INFINITY;
  for (int i = from + threadIdx.x; i < to; i += blockDim.x) top = fmaxf(top, row[i]);  // a NaN comes out in the sum
  top = block_max(top, red);
  float shift = top * scale, sum = 0, dot = 0;
  for (int i = from + threadIdx.x; i < to; i += blockDim.x) {
    float x = row[i] * scale - shift, e = expf(x);
    if (top == NEGATIVE_INFINITY) e = row[i] == row[i] ? 0.f : row[i];
    sum += e;
    if (e != 0) dot += e * x;
    if (exps) exps[(i64)blockIdx.y * vocab + i] = e;
  }
  sum = block_sum(sum, red);
  dot = block_sum(dot, red);
  if (threadIdx.x == 0) {
    float* out = sums + ((i64)blockIdx.y * gridDim.x + blockIdx.x) * 3;
    out[0] = top == NEGATIVE_INFINITY ? top : shift;
    out[1] = sum;
    out[2] = fminf(0.f, dot);
  }
}

// out[i] = z[i, ids[i]]
GROUSE_KERNEL(target_logits, float* out, const float* z, const i32* ids, i64 n, i32 vocab) {
  GRID_LOOP(i, n) out[i] = z[i * vocab + ids[i]];
}

// dz = coef scale (1[v = target] - p): to half as bfloat16 if it is not null, else
// over the logits. n = rows vocab.
GROUSE_KERNEL(vocab_grad, float* z, u16* half, const float* lse, const float* coef, const i32* ids, float scale, i64 n, i32 vocab) {
  GRID_LOOP(i, n) {
    i64 row = i / vocab;
    float k = coef[row] * scale;
    float d = -k * expf(z[i] * scale - lse[row]);
    if (i % vocab == ids[row]) d += k;
    if (half) half[i] = narrow(d);
    else z[i] = d;
  }
}

// Logits of the kept ids of a row, a warp each id. kind: of w, 0 float32, 2
// bfloat16; then h is rounded, as in the full product.
GROUSE_KERNEL(kept_logits, float* z, const float* h, const void* w, const i32* rows, const i32* offsets, const i32* ids, i32 dim, i32 kind) {
  const float* x = h + (i64)rows[blockIdx.x] * dim;
  int lane = threadIdx.x & 31;
  for (int j = offsets[blockIdx.x] + (threadIdx.x >> 5); j < offsets[blockIdx.x + 1]; j += blockDim.x >> 5) {
    float dot = 0;
    for (int c = lane; c < dim; c += 32) dot += load_element(x, c, kind ? 1 : 0) * load_element(w, (i64)ids[j] * dim + c, kind);
    dot = warp_sum(dot);
    if (lane == 0) z[j] = dot;
  }
}

// dh[row] += sum_j dz[j] w[ids[j]], in order.
GROUSE_KERNEL(kept_grad, float* dh, const float* dz, const void* w, const i32* rows, const i32* offsets, const i32* ids, i32 dim, i32 kind) {
  float* out = dh + (i64)rows[blockIdx.x] * dim;
  for (int c = threadIdx.x; c < dim; c += blockDim.x) {
    float sum = out[c];
    for (int j = offsets[blockIdx.x]; j < offsets[blockIdx.x + 1]; j++) sum += dz[j] * load_element(w, (i64)ids[j] * dim + c, kind);
    out[c] = sum;
  }
}
