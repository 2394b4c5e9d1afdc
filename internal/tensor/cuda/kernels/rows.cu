// Rows copied and added by lists of indices, columns of heads, rotations.
#include "grouse.cuh"

// y[i] = x[rows[i]]: embedding, gather.
GROUSE_KERNEL(gather_rows, float* y, const float* x, const i32* rows, i64 n, i32 dim) {
  GRID_LOOP(i, n) {
    i64 row = quotient(i, dim);
    y[i] = x[rows[row] * (i64)dim + i - row * dim];
  }
}

// The same of a table in bfloat16.
GROUSE_KERNEL(gather_rows_bf16, float* y, const u16* x, const i32* rows, i64 n, i32 dim) {
  GRID_LOOP(i, n) {
    i64 row = quotient(i, dim);
    y[i] = widen(x[rows[row] * (i64)dim + i - row * dim]);
  }
}

// x[target[b]] += sum of scale[j] dy[source[j]] over j = offsets[b]..offsets[b+1]-1,
// in order: the gradient of a gather, without atomics. scale may be null.
GROUSE_KERNEL(scatter_rows, float* x, const float* dy, const i32* target, const i32* offsets, const i32* source, const float* scale, i32 dim) {
  float* out = x + (i64)target[blockIdx.x] * dim;
  int from = offsets[blockIdx.x], to = offsets[blockIdx.x + 1];
  for (int c = threadIdx.x; c < dim; c += blockDim.x) {
    float sum = out[c];
    for (int j = from; j < to; j++) {
      float v = dy[(i64)source[j] * dim + c];
      sum += scale ? scale[j] * v : v;
    }
    out[c] = sum;
  }
}

// y's head h, columns y_at.. = x's head h mod x_heads, columns x_at..
GROUSE_KERNEL(copy_heads, float* y, const float* x, i32 y_heads, i32 y_width, i32 y_at, i32 x_heads, i32 x_width, i32 x_at, i32 columns, i64 n) {
  GRID_LOOP(i, n) {
    i64 j = quotient(i, columns), row = quotient(j, y_heads);
    int c = i - j * columns, h = j - row * y_heads;
    y[(row * y_heads + h) * y_width + y_at + c] = x[(row * x_heads + h % x_heads) * x_width + x_at + c];
  }
}

// The gradient: each column of x's heads adds up the heads of y that it went to.
GROUSE_KERNEL(copy_heads_grad, float* dx, const float* dy, i32 y_heads, i32 y_width, i32 y_at, i32 x_heads, i32 x_width, i32 x_at, i32 columns, i64 n) {
  GRID_LOOP(i, n) {
    i64 j = quotient(i, columns), row = quotient(j, x_heads);
    int c = i - j * columns;
    float* out = dx + j * x_width + x_at + c;
    float sum = *out;
    for (int h = j - row * x_heads; h < y_heads; h += x_heads) sum += dy[(row * y_heads + h) * y_width + y_at + c];
    *out = sum;
  }
}

// Rotates pairs of dimensions by the angles of each row's position, n = rows
// heads half pairs; sign -1 rotates back.
GROUSE_KERNEL(rotate_heads, float* x, const float* cosines, const float* sines, const i32* positions, i32 heads, i32 width, i32 offset, i32 half, i32 interleaved, float sign, i64 n) {
  GRID_LOOP(i, n) {
    i64 head = quotient(i, half), row = quotient(head, heads);
    int k = i - head * half;
    i64 angle = (i64)positions[row] * half + k;
    float c = cosines[angle], s = sines[angle] * sign;
    float* p = x + head * width + offset;
    float* first = interleaved ? p + 2 * k : p + k;
    float* second = interleaved ? p + 2 * k + 1 : p + half + k;
    float a = *first, b = *second;
    *first = a * c - b * s;
    *second = b * c + a * s;
  }
}
