//go:build emu

// Kernels with bugs, for the tests of the emulation.
#define GROUSE_CPU
#include "../kernels/grouse.cuh"

GROUSE_KERNEL(fault_divergence, float* out) {
  if (threadIdx.x < 32) __syncthreads();
  else __syncwarp();
  *out = warp_sum(1);
  if (threadIdx.x < 16) __syncthreads();
  else __syncwarp();
}

GROUSE_KERNEL(fault_lines, float* out) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  *out = 1;
}

GROUSE_KERNEL(fault_half_warp, float* out) {
  if (threadIdx.x % 32 < 16) return;
  *out = warp_sum(1);
}

GROUSE_KERNEL(fault_none, float* out) {
  GROUSE_SHARED(float, part, 2);
  float v = warp_sum(1);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
  __syncthreads();
  *out = part[0] + part[1];
}

GROUSE_KERNEL(fault_no_barrier, float* out) {
  float* part = (float*)grouse_dynamic;
  part[threadIdx.x] = 1;
  float sum = 0;
  for (int i = 0; i < 64; i++) sum += part[i] == 1 ? 1 : 0;
  if (threadIdx.x == 0) *out = sum;
}

GROUSE_KERNEL(fault_unwritten, float* out) {
  GROUSE_SHARED(float, part, 4);
  if (threadIdx.x == 0) *out = part[3];
}

GROUSE_KERNEL(fault_out_of_bounds, float* out) {
  if (threadIdx.x == 0) out[1] = 1;  // of one
}
