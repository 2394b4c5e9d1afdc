//go:build emu

#define GROUSE_CPU
#include "../kernels/all.cu"

// Saves the registers that a function must keep, then goes on where `to` left off.
asm(".text\n"
    ".globl emu_switch\n"
    ".type emu_switch,@function\n"
    "emu_switch:\n"
    "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
    "  movq %rsp,(%rdi)\n  movq %rsi,%rsp\n"
    "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
    "  ret\n"
    ".size emu_switch,.-emu_switch\n");

#include "emu.h"

extern "C" uint64_t emu_alloc(size_t n) {
  void* p = aligned_alloc(256, (n + 255) / 256 * 256);
  if (p) memset(p, 0xff, n);  // reads as NaN until it is written
#if defined(__SANITIZE_ADDRESS__)
  if (p) __asan_poison_memory_region((char*)p + n, (n + 255) / 256 * 256 - n);
#endif
  return (uint64_t)p;
}
extern "C" void emu_free(uint64_t p) { free((void*)p); }
extern "C" void emu_clear(uint64_t p, size_t n) { memset((void*)p, 0, n); }
extern "C" void emu_copy(uint64_t dst, uint64_t src, size_t n) { memmove((void*)dst, (void*)src, n); }
extern "C" void emu_upload(uint64_t dst, const void* src, size_t n) { memcpy((void*)dst, src, n); }
extern "C" void emu_download(void* dst, uint64_t src, size_t n) { memcpy(dst, (void*)src, n); }

extern "C" const char* emu_kinds(const char* name) {
  auto it = emu::kernels().find(name);
  return it == emu::kernels().end() ? nullptr : it->second.kinds.c_str();
}

extern "C" void emu_launch(const char* name, const int* grid, const int* block, int shared, const uint64_t* args, int order, int threads) {
  auto it = emu::kernels().find(name);
  size_t n = it->second.kinds.size();
  std::vector<void*> at(n);
  for (size_t i = 0; i < n; i++) at[i] = (void*)(args + i);
  auto dim = [](const int* d) { return dim3{(unsigned)d[0], (unsigned)d[1], (unsigned)d[2]}; };
  emu::launch(it->first.c_str(), dim(grid), dim(block), shared, [&] { it->second.call(at.data()); }, order, threads);
}

// element reads [i, j] of a matrix, transposed if asked for.
static float element(const emu_matrix& m, int i, int j, bool transposed) {
  size_t at = transposed ? (size_t)j * m.stride + i : (size_t)i * m.stride + j;
  return m.bf16 ? widen(((const u16*)m.data)[at]) : ((const float*)m.data)[at];
}

// Each output is one chain of float32 additions along K, in order.
extern "C" void emu_matmul(int M, int N, int K, emu_matrix a, emu_matrix b, emu_matrix c, int trans_a, int trans_b, float alpha, float beta) {
  std::vector<float> right((size_t)K * N), row(N);
  for (int k = 0; k < K; k++)
    for (int j = 0; j < N; j++) right[(size_t)k * N + j] = element(b, k, j, trans_b);
  for (int i = 0; i < M; i++) {
    std::fill(row.begin(), row.end(), 0.f);
    for (int k = 0; k < K; k++) {
      float x = element(a, i, k, trans_a);
      const float* y = &right[(size_t)k * N];
      for (int j = 0; j < N; j++) row[j] += x * y[j];
    }
    for (int j = 0; j < N; j++) {
      size_t at = (size_t)i * c.stride + j;
      float v = alpha * row[j];
      if (c.bf16) {
        u16* p = (u16*)c.data + at;
        *p = narrow(beta != 0 ? v + beta * widen(*p) : v);
      } else {
        float* p = (float*)c.data + at;
        *p = beta != 0 ? v + beta * *p : v;
      }
    }
  }
}
