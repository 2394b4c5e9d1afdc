// What the kernels need of their surroundings. With NVRTC they are CUDA C; with
// GROUSE_CPU they are C++20 on the processor (../emu/cuda_cpu.h). Kernels
// include no NVIDIA header, so that no machine needs one to compile them.
//
//   GROUSE_KERNEL(name, parameters...) { body }   at most 256 threads a block,
//       blockDim.x a multiple of 32; parameters are pointers, i32, i64, float
//   GROUSE_SHARED(T, name, n)    static shared memory
//   grouse_dynamic               dynamic shared memory, aligned to 16 bytes
//   GROUSE_CONSTANT              before an array of constants
//   GROUSE_UNROLL                before a loop whose arrays are to stay in registers
#pragma once

#ifdef GROUSE_CPU
#include "cuda_cpu.h"
#else
typedef unsigned short u16;
typedef unsigned int u32;
typedef int i32;
typedef long long i64;
#define GROUSE_KERNEL(name, ...) extern "C" __global__ void __launch_bounds__(256) name(__VA_ARGS__)
#define GROUSE_DEVICE static __device__ __forceinline__
#define GROUSE_SHARED(T, name, n) __shared__ T name[n]
#define GROUSE_CONSTANT static __constant__
#define GROUSE_UNROLL _Pragma("unroll")
extern __shared__ __align__(16) unsigned char grouse_dynamic[];

GROUSE_DEVICE float from_bits(u32 u) { return __uint_as_float(u); }
GROUSE_DEVICE u32 to_bits(float f) { return __float_as_uint(f); }
GROUSE_DEVICE double double_from_bits(unsigned long long u) { return __longlong_as_double((long long)u); }

// d [16, 8] += a [16, 16] b [16, 8] of a warp, bfloat16 with float32 sums; the
// fragments lie as the PTX manual says of mma.m16n8k16.
GROUSE_DEVICE void mma_bf16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif

#define FULL_WARP 0xffffffffu
#define NEGATIVE_INFINITY from_bits(0xff800000u)

// bfloat16 is the upper half of a float32; rounding is to the nearest, ties to
// even, NaN stays NaN: the CPU device's rule.
GROUSE_DEVICE float widen(u16 h) { return from_bits((u32)h << 16); }
GROUSE_DEVICE u16 narrow(float f) {
  u32 u = to_bits(f);
  if ((u & 0x7fffffffu) > 0x7f800000u) return (u16)((u >> 16) | 0x40u);
  return (u16)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}
GROUSE_DEVICE float rounded(float f) { return widen(narrow(f)); }

// Reductions in a fixed order: a tree over the lanes, then one over the warps.
// Every thread gets the result. red is 32 floats of shared memory.
GROUSE_DEVICE float warp_sum(float v) {
  for (int o = 16; o > 0; o >>= 1) v += __shfl_xor_sync(FULL_WARP, v, o);
  return v;
}
GROUSE_DEVICE float warp_max(float v) {
  for (int o = 16; o > 0; o >>= 1) v = fmaxf(v, __shfl_xor_sync(FULL_WARP, v, o));
  return v;
}
GROUSE_DEVICE float block_sum(float v, float* red) {
  v = warp_sum(v);
  int warps = blockDim.x >> 5;
  if (warps == 1) return v;
  __syncthreads();  // red may still be read
  if ((threadIdx.x & 31u) == 0) red[threadIdx.x >> 5] = v;
  __syncthreads();
  int lane = threadIdx.x & 31u;
  return warp_sum(lane < warps ? red[lane] : 0.f);
}
GROUSE_DEVICE float block_max(float v, float* red) {
  v = warp_max(v);
  int warps = blockDim.x >> 5;
  if (warps == 1) return v;
  __syncthreads();
  if ((threadIdx.x & 31u) == 0) red[threadIdx.x >> 5] = v;
  __syncthreads();
  int lane = threadIdx.x & 31u;
  return warp_max(lane < warps ? red[lane] : NEGATIVE_INFINITY);
}

// The elements that a thread of a one-dimensional grid goes through.
#define GRID_LOOP(i, n) \
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += (i64)gridDim.x * blockDim.x)

// i / d for i >= 0: 64-bit division is slow, and few arrays need it.
GROUSE_DEVICE i64 quotient(i64 i, i32 d) { return i >> 32 ? i / d : (i64)((u32)i / (u32)d); }
