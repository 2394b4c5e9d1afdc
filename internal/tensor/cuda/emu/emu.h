// What Go calls.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct {
  uint64_t data;
  int bf16, stride;
} emu_matrix;

#ifdef __cplusplus
extern "C" {
#endif
uint64_t emu_alloc(size_t n);
void emu_free(uint64_t p);
void emu_clear(uint64_t p, size_t n);
void emu_copy(uint64_t dst, uint64_t src, size_t n);
void emu_upload(uint64_t dst, const void* src, size_t n);
void emu_download(void* dst, uint64_t src, size_t n);
const char* emu_kinds(const char* name);
void emu_launch(const char* name, const int* grid, const int* block, int shared, const uint64_t* args, int order, int threads);
void emu_matmul(int M, int N, int K, emu_matrix a, emu_matrix b, emu_matrix c, int trans_a, int trans_b, float alpha, float beta);
#ifdef __cplusplus
}
#endif
