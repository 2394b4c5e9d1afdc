// Causal attention with an online softmax (flash attention): no scores are
// stored. One kernel for batches, selected positions and caches.
//
// A block takes one key-value head and a tile of at most 16 queries that see
// keys of one list. Queries are numbered j = row * per + head: the heads that
// share a key-value head lie side by side, so that decoding fills a tile too. A
// query sees the first `count` keys of the list, and 32 keys are taken at a
// time, counted from the list's start: so a query's result depends on its own
// keys only, not on what else is in its tile or in the batch.
//
// Where keys lie: table[base + (p >> shift)] is the row of position p, or, with
// shift 4, the cache's block of 16 rows. selection, if a tile has a list in it,
// holds the positions.
//
// kind: 0 float32; 1 float32 that is rounded to bfloat16 when it is read; 2
// bfloat16 memory (a cache), queries rounded. 1 and 2 give the same bits.
#include "grouse.cuh"

struct AttentionTile {
  i32 row;    // query row of j = 0
  i32 base;   // in table
  i32 first;  // keys that j = 0 sees; a row further sees one more
  i32 from;   // j of the tile's first query
  i32 m;      // queries
  i32 list;   // offset in selection, -1: the first positions
};

GROUSE_DEVICE float load_element(const void* p, i64 i, int kind) {
  if (kind == 2) return widen(((const u16*)p)[i]);
  float v = ((const float*)p)[i];
  return kind == 1 ? rounded(v) : v;
}

GROUSE_DEVICE i64 key_row(const AttentionTile& t, const i32* table, const i32* selection, int shift, int x) {
  int p = t.list < 0 ? x : selection[t.list + x];
  return ((i64)table[t.base + (p >> shift)] << shift) + (p & ((1 << shift) - 1));
}

// o and lse (may be null) of a tile. vwidth is how far value heads are apart:
// values may be the first vd numbers of the keys. Dynamic memory: 16 vd floats.
GROUSE_KERNEL(attention, float* o, float* lse, const float* q, const void* k, const void* v, const AttentionTile* tiles, const i32* table, const i32* selection, i32 per, i32 kd, i32 vd, i32 vwidth, float scale, i32 shift, i32 kind) {
  GROUSE_SHARED(float, qs, 16 * 64);
  GROUSE_SHARED(float, ks, 32 * 65);
  GROUSE_SHARED(float, ps, 16 * 33);
  GROUSE_SHARED(float, scaled, 16);
  GROUSE_SHARED(i64, rows, 32);
  float* acc = (float*)grouse_dynamic;
  const AttentionTile t = tiles[blockIdx.x];
  int kh = blockIdx.y, kv_heads = gridDim.y, thread = threadIdx.x, lane = thread & 31, warp = thread >> 5;
  int keys = t.first + (t.from + t.m - 1) / per;
  int query_kind = kind ? 1 : 0;
  float top[4], sum[4];
  for (int r = 0; r < 4; r++) top[r] = NEGATIVE_INFINITY, sum[r] = 0;
  for (int i = thread; i < t.m * vd; i += blockDim.x) acc[i] = 0;
  for (int k0 = 0; k0 < keys; k0 += 32) {
    __syncthreads();
    if (thread < 32) rows[thread] = k0 + thread < keys ? key_row(t, table, selection, shift, k0 + thread) : -1;
    float s[4] = {0, 0, 0, 0};
    for (int d0 = 0; d0 < kd; d0 += 64) {
      __syncthreads();
      for (int e = thread; e < 16 * 64; e += blockDim.x) {
        int i = e / 64, c = d0 + e % 64, j = t.from + i;
        i64 at = ((i64)(t.row + j / per) * kv_heads * per + kh * per + j % per) * kd + c;
        qs[e] = i < t.m && c < kd ? load_element(q, at, query_kind) : 0.f;
      }
      for (int e = thread; e < 32 * 64; e += blockDim.x) {
        int i = e / 64, c = d0 + e % 64;
        ks[i * 65 + e % 64] = rows[i] >= 0 && c < kd ? load_element(k, (rows[i] * kv_heads + kh) * kd + c, kind) : 0.f;
      }
      __syncthreads();
      int n = min(64, kd - d0);
      for (int c = 0; c < n; c++) {
        float x = ks[lane * 65 + c];
        for (int r = 0; r < 4; r++) s[r] += qs[(warp + 4 * r) * 64 + c] * x;
      }
    }
    for (int r = 0; r < 4; r++) {
      int i = warp + 4 * r;
      bool sees = i < t.m && k0 + lane < t.first + (t.from + i) / per;
      float x = sees ? s[r] * scale : NEGATIVE_INFINITY;
      float now = fmaxf(top[r], warp_max(x));
      float p = sees ? expf(x - now) : 0.f;
      float f = now == top[r] ? 1.f : expf(top[r] - now);
      sum[r] = sum[r] * f + warp_sum(p);
      top[r] = now;
      ps[i * 33 + lane] = p;
      if (lane == 0) scaled[i] = f;
    }
    for (int c0 = 0; c0 < vd; c0 += 64) {
      __syncthreads();
      for (int e = thread; e < 32 * 64; e += blockDim.x) {
        int i = e / 64, c = c0 + e % 64;
        ks[i * 65 + e % 64] = rows[i] >= 0 && c < vd ? load_element(v, (rows[i] * kv_heads + kh) * vwidth + c, kind) : 0.f;
      }
      __syncthreads();
      int c = thread % 64;
      if (c0 + c < vd)
        for (int i = thread / 64; i < t.m; i += 2) {
          float a = acc[i * vd + c0 + c] * scaled[i];
          for (int j = 0; j < 32; j++) a += ps[i * 33 + j] * ks[j * 65 + c];
          acc[i * vd + c0 + c] = a;
        }
    }
  }
  __syncthreads();  // scaled may still be read
  for (int r = 0; r < 4; r++) {
    int i = warp + 4 * r, j = t.from + i;
    if (i < t.m && lane == 0) {
      scaled[i] = 1.f / sum[r];
      if (lse) lse[(i64)(t.row + j / per) * kv_heads * per + kh * per + j % per] = top[r] + logf(sum[r]);
    }
  }
  __syncthreads();
  for (int e = thread; e < t.m * vd; e += blockDim.x) {
    int i = e / vd, j = t.from + i;
    o[((i64)(t.row + j / per) * kv_heads * per + kh * per + j % per) * vd + e % vd] = acc[e] * scaled[i];
  }
}

// Stores rows of keys or values [n, width] at rows of a cache's layer.
GROUSE_KERNEL(cache_write, float* cache, const float* x, const i32* rows, i64 n, i32 width) {
  GRID_LOOP(i, n) {
    i64 row = quotient(i, width);
    cache[rows[row] * (i64)width + i - row * width] = x[i];
  }
}

GROUSE_KERNEL(cache_write_bf16, u16* cache, const float* x, const i32* rows, i64 n, i32 width) {
  GRID_LOOP(i, n) {
    i64 row = quotient(i, width);
    cache[rows[row] * (i64)width + i - row * width] = narrow(x[i]);
  }
}
