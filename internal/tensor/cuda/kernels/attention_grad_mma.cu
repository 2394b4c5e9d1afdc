// attention_grad.cu with tensor cores, for bfloat16 and the usual widths of heads.
// Probabilities, their gradients and the output's gradient are rounded to bfloat16
// as operands; sums are float32. The order of every sum is that of the positions.
#include "grouse.cuh"

// A fragment of 16 rows of a matrix of halves, columns from..from+15; of words is
// the length of a row. b[0] and b[4] of the same place are one of 8 columns.
GROUSE_DEVICE void load_rows(u32 (&a)[4], const u32* m, int words, int row, int from, int g, int pair) {
  const u32* p = m + (row + g) * words + (from + pair) / 2;
  a[0] = p[0];
  a[1] = p[8 * words];
  a[2] = p[4];
  a[3] = p[8 * words + 4];
}

// The operand [16, 8] whose rows are rows from.. of a matrix of halves, its column
// col + g.
GROUSE_DEVICE void load_columns(u32 (&b)[2], const u16* m, int ld, int from, int col, int g, int pair) {
  const u16* p = m + (from + pair) * ld + col + g;
  b[0] = pack_halves(p[0], p[ld]);
  b[1] = pack_halves(p[8 * ld], p[9 * ld]);
}

// Sums [16, 32] as the left operand of two products of 16.
GROUSE_DEVICE void load_sums(u32 (&a)[4], const float (&c)[4][4], int s) {
  for (int x = 0; x < 4; x++) {
    const float* p = c[2 * s + (x >> 1)] + 2 * (x & 1);
    a[x] = pack_halves(narrow(p[0]), narrow(p[1]));
  }
}

template <int KD, int VD>
GROUSE_DEVICE void grad_q_tile(float* dq, const float* dout, const float* lse, const float* delta, const float* q, const float* k, const float* v, const AttentionTile& t, const i32* table, const i32* selection, int per, float scale) {
  constexpr int ldk = KD + 8, ldv = VD + 8;
  GROUSE_SHARED(u32, key_words, 32 * ldk / 2);
  GROUSE_SHARED(u32, value_words, 32 * ldv / 2);
  GROUSE_SHARED(i64, rows, 32);
  u16* ks = (u16*)key_words;
  u16* vs = (u16*)value_words;
  int kh = blockIdx.y, kv_heads = gridDim.y, thread = threadIdx.x, lane = thread & 31, i0 = (thread >> 5) * 16;
  int g = lane >> 2, pair = (lane & 3) * 2;
  int keys = t.first + (t.from + t.m - 1) / per;

  i64 head[2];
  int count[2];
  float sum[2] = {0, 0}, shift[2] = {0, 0};
  for (int r = 0; r < 2; r++) {
    int i = i0 + g + 8 * r, j = t.from + i;
    head[r] = i < t.m ? (i64)(t.row + j / per) * kv_heads * per + kh * per + j % per : -1;
    count[r] = i < t.m ? t.first + j / per : 0;
    if (head[r] >= 0) sum[r] = lse[head[r]], shift[r] = delta[head[r]];
  }
  u32 a[KD / 16][4], e[VD / 16][4];
  for (int x = 0; x < 4; x++) {
    int r = x & 1, c = (x >> 1) * 8 + pair;
    for (int s = 0; s < KD / 16; s++) {
      const float* p = q + head[r] * KD + s * 16 + c;
      a[s][x] = head[r] < 0 ? 0 : pack_halves(narrow(p[0]), narrow(p[1]));
    }
    for (int s = 0; s < VD / 16; s++) {
      const float* p = dout + head[r] * VD + s * 16 + c;
      e[s][x] = head[r] < 0 ? 0 : pack_halves(narrow(p[0]), narrow(p[1]));
    }
  }
  float acc[KD / 8][4];
  for (int n = 0; n < KD / 8; n++)
    for (int x = 0; x < 4; x++) acc[n][x] = 0;

  for (int k0 = 0; k0 < keys; k0 += 32) {
    __syncthreads();
    if (thread < 32) rows[thread] = k0 + thread < keys ? key_row(t, table, selection, 0, k0 + thread) : -1;
    __syncthreads();
    for (int x = thread; x < 32 * KD; x += blockDim.x) {
      int i = x / KD, c = x % KD;
      ks[i * ldk + c] = rows[i] >= 0 ? narrow(k[(rows[i] * kv_heads + kh) * KD + c]) : 0;
    }
    for (int x = thread; x < 32 * VD; x += blockDim.x) {
      int i = x / VD, c = x % VD;
      vs[i * ldv + c] = rows[i] >= 0 ? narrow(v[(rows[i] * kv_heads + kh) * VD + c]) : 0;
    }
    __syncthreads();
    if (i0 >= t.m) continue;  // the whole warp
    float c[4][4], dp[4][4];
    for (int n = 0; n < 4; n++) {
      for (int x = 0; x < 4; x++) c[n][x] = dp[n][x] = 0;
      for (int s = 0; s < KD / 16; s++) {
        const u32* b = key_words + ((n * 8 + g) * ldk + s * 16 + pair) / 2;
        u32 fragment[2] = {b[0], b[4]};
        mma_bf16(c[n], a[s], fragment);
      }
      for (int s = 0; s < VD / 16; s++) {
        const u32* b = value_words + ((n * 8 + g) * ldv + s * 16 + pair) / 2;
        u32 fragment[2] = {b[0], b[4]};
        mma_bf16(dp[n], e[s], fragment);
      }
      for (int x = 0; x < 4; x++) {
        int r = x >> 1;
        bool sees = k0 + n * 8 + pair + (x & 1) < count[r];
        c[n][x] = sees ? expf(c[n][x] * scale - sum[r]) * (dp[n][x] - shift[r]) * scale : 0.f;
      }
    }
    GROUSE_UNROLL
    for (int s = 0; s < 2; s++) {
      u32 d[4], b[2];
      load_sums(d, c, s);
      for (int n = 0; n < KD / 8; n++) {
        load_columns(b, ks, ldk, s * 16, n * 8, g, pair);
        mma_bf16(acc[n], d, b);
      }
    }
  }
  for (int r = 0; r < 2; r++)
    if (head[r] >= 0)
      for (int n = 0; n < KD / 8; n++)
        for (int x = 0; x < 2; x++) dq[head[r] * KD + n * 8 + pair + x] += acc[n][2 * r + x];
}

// 32 keys, 16 to a warp, with 32 queries at a time; scores lie transposed, keys as
// rows. 64 threads.
template <int KD, int VD>
GROUSE_DEVICE void grad_kv_tile(float* dk, float* dv, const float* dout, const float* lse, const float* delta, const float* q, const float* k, const float* v, const KeyTile& t, const KeyReader* readers, const u32* bits, int words, int per, float scale) {
  constexpr int ldk = KD + 8, ldv = VD + 8;
  GROUSE_SHARED(u32, key_words, 32 * ldk / 2);
  GROUSE_SHARED(u32, value_words, 32 * ldv / 2);
  GROUSE_SHARED(u32, query_words, 32 * ldk / 2);
  GROUSE_SHARED(u32, grad_words, 32 * ldv / 2);
  GROUSE_SHARED(float, sums, 32);
  GROUSE_SHARED(float, shifts, 32);
  u16* ks = (u16*)key_words;
  u16* vs = (u16*)value_words;
  u16* qs = (u16*)query_words;
  u16* es = (u16*)grad_words;
  int kh = blockIdx.y, kv_heads = gridDim.y, heads = kv_heads * per, thread = threadIdx.x, lane = thread & 31, i0 = (thread >> 5) * 16;
  int g = lane >> 2, pair = (lane & 3) * 2;
  for (int x = thread; x < 32 * KD; x += blockDim.x) {
    int i = x / KD, c = x % KD;
    ks[i * ldk + c] = i < t.n ? narrow(k[((i64)(t.row + i) * kv_heads + kh) * KD + c]) : 0;
  }
  for (int x = thread; x < 32 * VD; x += blockDim.x) {
    int i = x / VD, c = x % VD;
    vs[i * ldv + c] = i < t.n ? narrow(v[((i64)(t.row + i) * kv_heads + kh) * VD + c]) : 0;
  }
  float acc_k[KD / 8][4], acc_v[VD / 8][4];
  for (int x = 0; x < 4; x++) {
    for (int n = 0; n < KD / 8; n++) acc_k[n][x] = 0;
    for (int n = 0; n < VD / 8; n++) acc_v[n][x] = 0;
  }
  for (int y = t.from; y < t.to; y++) {
    const KeyReader reader = readers[y];
    int queries = reader.len * per;
    int skipped = max(0, t.position - reader.position) * per;
    for (int j0 = skipped / 32 * 32; j0 < queries; j0 += 32) {
      int m = min(32, queries - j0);
      __syncthreads();
      for (int x = thread; x < 32 * KD; x += blockDim.x) {
        int i = x / KD, c = x % KD, j = j0 + i;
        qs[i * ldk + c] = i < m ? narrow(q[((i64)(reader.row + j / per) * heads + kh * per + j % per) * KD + c]) : 0;
      }
      for (int x = thread; x < 32 * VD; x += blockDim.x) {
        int i = x / VD, c = x % VD, j = j0 + i;
        es[i * ldv + c] = i < m ? narrow(dout[((i64)(reader.row + j / per) * heads + kh * per + j % per) * VD + c]) : 0;
      }
      if (thread < 32) {
        int j = j0 + thread;
        i64 at = (i64)(reader.row + j / per) * heads + kh * per + j % per;
        sums[thread] = thread < m ? lse[at] : 0;
        shifts[thread] = thread < m ? delta[at] : 0;
      }
      __syncthreads();
      float c[4][4], dp[4][4];
      for (int n = 0; n < 4; n++)
        for (int x = 0; x < 4; x++) c[n][x] = dp[n][x] = 0;
      for (int s = 0; s < KD / 16; s++) {
        u32 a[4];
        load_rows(a, key_words, ldk / 2, i0, s * 16, g, pair);
        for (int n = 0; n < 4; n++) {
          const u32* b = query_words + ((n * 8 + g) * ldk + s * 16 + pair) / 2;
          u32 fragment[2] = {b[0], b[4]};
          mma_bf16(c[n], a, fragment);
        }
      }
      for (int s = 0; s < VD / 16; s++) {
        u32 a[4];
        load_rows(a, value_words, ldv / 2, i0, s * 16, g, pair);
        for (int n = 0; n < 4; n++) {
          const u32* b = grad_words + ((n * 8 + g) * ldv + s * 16 + pair) / 2;
          u32 fragment[2] = {b[0], b[4]};
          mma_bf16(dp[n], a, fragment);
        }
      }
      GROUSE_UNROLL
      for (int n = 0; n < 4; n++)
        GROUSE_UNROLL
        for (int x = 0; x < 4; x++) {
          int key = i0 + g + 8 * (x >> 1), i = n * 8 + pair + (x & 1), j = j0 + i, row = reader.row + j / per, position = t.position + key;
          bool sees = i < m && key < t.n && position <= reader.position + j / per;
          if (sees && bits) sees = bits[(i64)row * words + position / 32] >> (position % 32) & 1;
          float p = sees ? expf(c[n][x] * scale - sums[i]) : 0.f;
          c[n][x] = p;
          dp[n][x] = sees ? p * (dp[n][x] - shifts[i]) * scale : 0.f;
        }
      GROUSE_UNROLL
      for (int s = 0; s < 2; s++) {
        u32 a[4], b[2];
        load_sums(a, c, s);
        for (int n = 0; n < VD / 8; n++) {
          load_columns(b, es, ldv, s * 16, n * 8, g, pair);
          mma_bf16(acc_v[n], a, b);
        }
        load_sums(a, dp, s);
        for (int n = 0; n < KD / 8; n++) {
          load_columns(b, qs, ldk, s * 16, n * 8, g, pair);
          mma_bf16(acc_k[n], a, b);
        }
      }
    }
  }
  for (int r = 0; r < 2; r++) {
    int key = i0 + g + 8 * r;
    if (key >= t.n) continue;
    i64 at = (i64)(t.row + key) * kv_heads + kh;
    for (int x = 0; x < 2; x++) {
      for (int n = 0; n < KD / 8; n++) dk[at * KD + n * 8 + pair + x] += acc_k[n][2 * r + x];
      for (int n = 0; n < VD / 8; n++) dv[at * VD + n * 8 + pair + x] += acc_v[n][2 * r + x];
    }
  }
}

GROUSE_KERNEL(attention_grad_q_mma_64, float* dq, const float* dout, const float* lse, const float* delta, const float* q, const float* k, const float* v, const AttentionTile* tiles, const i32* table, const i32* selection, i32 per, float scale) {
  grad_q_tile<64, 64>(dq, dout, lse, delta, q, k, v, tiles[blockIdx.x], table, selection, per, scale);
}

GROUSE_KERNEL(attention_grad_q_mma_128, float* dq, const float* dout, const float* lse, const float* delta, const float* q, const float* k, const float* v, const AttentionTile* tiles, const i32* table, const i32* selection, i32 per, float scale) {
  grad_q_tile<128, 128>(dq, dout, lse, delta, q, k, v, tiles[blockIdx.x], table, selection, per, scale);
}

GROUSE_KERNEL(attention_grad_q_mma_192_128, float* dq, const float* dout, const float* lse, const float* delta, const float* q, const float* k, const float* v, const AttentionTile* tiles, const i32* table, const i32* selection, i32 per, float scale) {
  grad_q_tile<192, 128>(dq, dout, lse, delta, q, k, v, tiles[blockIdx.x], table, selection, per, scale);
}

GROUSE_KERNEL(attention_grad_kv_mma_64, float* dk, float* dv, const float* dout, const float* lse, const float* delta, const float* q, const float* k, const float* v, const KeyTile* tiles, const KeyReader* readers, const u32* bits, i32 words, i32 per, float scale) {
  grad_kv_tile<64, 64>(dk, dv, dout, lse, delta, q, k, v, tiles[blockIdx.x], readers, bits, words, per, scale);
}

GROUSE_KERNEL(attention_grad_kv_mma_128, float* dk, float* dv, const float* dout, const float* lse, const float* delta, const float* q, const float* k, const float* v, const KeyTile* tiles, const KeyReader* readers, const u32* bits, i32 words, i32 per, float scale) {
  grad_kv_tile<128, 128>(dk, dv, dout, lse, delta, q, k, v, tiles[blockIdx.x], readers, bits, words, per, scale);
}

GROUSE_KERNEL(attention_grad_kv_mma_192_128, float* dk, float* dv, const float* dout, const float* lse, const float* delta, const float* q, const float* k, const float* v, const KeyTile* tiles, const KeyReader* readers, const u32* bits, i32 words, i32 per, float scale) {
  grad_kv_tile<192, 128>(dk, dv, dout, lse, delta, q, k, v, tiles[blockIdx.x], readers, bits, words, per, scale);
}
