// Lightning indexers: scores of positions, and the largest of them.
#include "grouse.cuh"

// A row that selects.
struct SelectRow {
  i32 row;    // of q and w
  i32 base;   // in table, as in attention.cu
  i32 count;  // positions that it sees
  i32 list;   // where its selection goes
};

// scores [rows, ld]: I = sum over heads of w scale relu(q . k), heads in order. A
// thread a position. Dynamic memory: heads (dim + 1) floats.
GROUSE_KERNEL(index_scores, float* scores, const float* q, const void* k, const float* w, const SelectRow* rows, const i32* table, i32 heads, i32 dim, float scale, i32 shift, i32 kind, i32 ld) {
  float* qs = (float*)grouse_dynamic;
  float* ws = qs + heads * dim;
  const SelectRow r = rows[blockIdx.y];
  int p = blockIdx.x * blockDim.x + threadIdx.x;
  for (int i = threadIdx.x; i < heads * dim; i += blockDim.x) qs[i] = load_element(q, (i64)r.row * heads * dim + i, kind ? 1 : 0);
  for (int i = threadIdx.x; i < heads; i += blockDim.x) ws[i] = w[(i64)r.row * heads + i] * scale;
  __syncthreads();
  if (p >= r.count) return;
  i64 key = (((i64)table[r.base + (p >> shift)] << shift) + (p & ((1 << shift) - 1))) * dim;
  float sum = 0;
  for (int h = 0; h < heads; h++) {
    float dot = 0;
    for (int c = 0; c < dim; c++) dot += qs[h * dim + c] * load_element(k, key + c, kind);
    if (dot > 0) sum += dot * ws[h];
  }
  scores[(i64)blockIdx.y * ld + p] = sum;
}

// Unsigned numbers of the same order; both zeros are one.
GROUSE_DEVICE u32 ordered_bits(float v) {
  u32 b = to_bits(v + 0.f);
  return b >> 31 ? ~b : b | 0x80000000u;
}

// The positions of the k largest scores of a row, ascending, ties to the lower
// position; the row has more than k. The k-th largest is found eight bits at a
// time. 256 threads.
GROUSE_KERNEL(select_top, i32* list, const float* scores, const SelectRow* rows, i32 k, i32 ld) {
  GROUSE_SHARED(int, histogram, 256);
  GROUSE_SHARED(int, warps, 16);
  const SelectRow r = rows[blockIdx.x];
  const float* s = scores + (i64)blockIdx.x * ld;
  int thread = threadIdx.x, lane = thread & 31, warp = thread >> 5, left = k;
  u32 kth = 0, known = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    histogram[thread] = 0;
    __syncthreads();
    for (int p = thread; p < r.count; p += blockDim.x) {
      u32 b = ordered_bits(s[p]);
      if ((b & known) == kth) atomicAdd(&histogram[b >> shift & 255], 1);
    }
    __syncthreads();
    int digit = 255;
    while (histogram[digit] < left) left -= histogram[digit--];
    kth |= (u32)digit << shift;
    known |= 255u << shift;
    __syncthreads();
  }
  // left of those that equal the k-th are in, the first ones.
  u32 before = (1u << lane) - 1;
  int out = 0;
  for (int p0 = 0; p0 < r.count; p0 += blockDim.x) {
    int p = p0 + thread;
    u32 b = p < r.count ? ordered_bits(s[p]) : 0;
    bool same = p < r.count && b == kth;
    u32 sames = __ballot_sync(FULL_WARP, same);
    if (lane == 0) warps[warp] = __popc(sames);
    __syncthreads();
    int ties = __popc(sames & before), all_ties = 0;
    for (int i = 0; i < 8; i++) {
      if (i < warp) ties += warps[i];
      all_ties += warps[i];
    }
    bool taken = p < r.count && (b > kth || (same && ties < left));
    u32 takens = __ballot_sync(FULL_WARP, taken);
    if (lane == 0) warps[8 + warp] = __popc(takens);
    __syncthreads();
    int place = __popc(takens & before), all = 0;
    for (int i = 0; i < 8; i++) {
      if (i < warp) place += warps[8 + i];
      all += warps[8 + i];
    }
    if (taken) list[r.list + out + place] = p;
    out += all;
    left = max(0, left - all_ties);
    __syncthreads();
  }
}

// bits [rows, words]: which positions a row reads: counts[row] of the list from
// offsets[row] on; -1: everything.
GROUSE_KERNEL(selection_bits, i32* bits, const i32* list, const i32* offsets, const i32* counts, i32 words) {
  i32* row = bits + (i64)blockIdx.x * words;
  int from = offsets[blockIdx.x];
  for (int i = threadIdx.x; i < words; i += blockDim.x) row[i] = from < 0 ? -1 : 0;
  __syncthreads();
  if (from < 0) return;
  for (int i = threadIdx.x; i < counts[blockIdx.x]; i += blockDim.x) {
    int p = list[from + i];
    atomicAdd(row + p / 32, (int)(1u << (p % 32)));  // each bit once: an or
  }
}
