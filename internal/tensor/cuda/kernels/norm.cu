// RMSNorm and LayerNorm: a block a row. The gradients of weights go through
// partial sums over chunks of rows (elementwise.cu: column_finish).
#include "grouse.cuh"

GROUSE_DEVICE float inverse_rms(const float* x, float eps, int dim, float* red) {
  float sum = 0;
  for (int i = threadIdx.x; i < dim; i += blockDim.x) sum += x[i] * x[i];
  return 1.f / sqrtf(block_sum(sum, red) / dim + eps);
}

GROUSE_KERNEL(rms_norm, float* y, const float* x, const float* w, float eps, i32 dim) {
  GROUSE_SHARED(float, red, 32);
  const float* row = x + (i64)blockIdx.x * dim;
  float* out = y + (i64)blockIdx.x * dim;
  float inv = inverse_rms(row, eps, dim, red);
  for (int i = threadIdx.x; i < dim; i += blockDim.x) out[i] = row[i] * inv * w[i];
}

// dx += inv w dy - x inv^3 / dim sum(w dy x); inverses[row] = inv
GROUSE_KERNEL(rms_norm_grad, float* dx, float* inverses, const float* dy, const float* x, const float* w, float eps, i32 dim) {
  GROUSE_SHARED(float, red, 32);
  i64 at = (i64)blockIdx.x * dim;
  float inv = inverse_rms(x + at, eps, dim, red), dot = 0;
  for (int i = threadIdx.x; i < dim; i += blockDim.x) dot += w[i] * dy[at + i] * x[at + i];
  float k = block_sum(dot, red) * inv * inv * inv / dim;
  for (int i = threadIdx.x; i < dim; i += blockDim.x) dx[at + i] += w[i] * dy[at + i] * inv - k * x[at + i];
  if (threadIdx.x == 0) inverses[blockIdx.x] = inv;
}

// partial[chunk, i] = sum over the chunk's rows of dy x inv
GROUSE_KERNEL(rms_norm_weight_partial, float* partial, const float* dy, const float* x, const float* inverses, i32 rows, i32 dim, i32 chunk) {
  int c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= dim) return;
  int from = blockIdx.y * chunk, to = min(rows, from + chunk);
  float sum = 0;
  for (int r = from; r < to; r++) sum += dy[(i64)r * dim + c] * (x[(i64)r * dim + c] * inverses[r]);
  partial[(i64)blockIdx.y * dim + c] = sum;
}

// The mean of a row and 1/sqrt(variance + eps).
GROUSE_DEVICE void moments(const float* x, float eps, int dim, float* red, float* mean, float* inv) {
  float sum = 0;
  for (int i = threadIdx.x; i < dim; i += blockDim.x) sum += x[i];
  float m = block_sum(sum, red) / dim;
  sum = 0;
  for (int i = threadIdx.x; i < dim; i += blockDim.x) sum += (x[i] - m) * (x[i] - m);
  *mean = m;
  *inv = 1.f / sqrtf(block_sum(sum, red) / dim + eps);
}

GROUSE_KERNEL(layer_norm, float* y, const float* x, const float* w, const float* b, float eps, i32 dim) {
  GROUSE_SHARED(float, red, 32);
  i64 at = (i64)blockIdx.x * dim;
  float mean, inv;
  moments(x + at, eps, dim, red, &mean, &inv);
  for (int i = threadIdx.x; i < dim; i += blockDim.x) y[at + i] = (x[at + i] - mean) * inv * w[i] + b[i];
}

// With h = (x - mean) inv and g = w dy: dx += inv (g - mean(g) - h mean(g h)).
// stats [rows, 2] = mean, inv
GROUSE_KERNEL(layer_norm_grad, float* dx, float* stats, const float* dy, const float* x, const float* w, float eps, i32 dim) {
  GROUSE_SHARED(float, red, 32);
  i64 at = (i64)blockIdx.x * dim;
  float mean, inv, sum = 0, dot = 0;
  moments(x + at, eps, dim, red, &mean, &inv);
  for (int i = threadIdx.x; i < dim; i += blockDim.x) {
    float g = w[i] * dy[at + i];
    sum += g;
    dot += g * ((x[at + i] - mean) * inv);
  }
  sum = block_sum(sum, red) / dim;
  dot = block_sum(dot, red) / dim;
  for (int i = threadIdx.x; i < dim; i += blockDim.x) dx[at + i] += inv * (w[i] * dy[at + i] - sum - (x[at + i] - mean) * inv * dot);
  if (threadIdx.x == 0) {
    stats[2 * blockIdx.x] = mean;
    stats[2 * blockIdx.x + 1] = inv;
  }
}

GROUSE_KERNEL(layer_norm_weight_partial, float* partial, const float* dy, const float* x, const float* stats, i32 rows, i32 dim, i32 chunk) {
  int c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= dim) return;
  int from = blockIdx.y * chunk, to = min(rows, from + chunk);
  float sum = 0;
  for (int r = from; r < to; r++) sum += dy[(i64)r * dim + c] * ((x[(i64)r * dim + c] - stats[2 * r]) * stats[2 * r + 1]);
  partial[(i64)blockIdx.y * dim + c] = sum;
}
