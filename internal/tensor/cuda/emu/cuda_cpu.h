// CUDA C on the processor: each thread of a block is a fiber. Blocks run one
// after another, or over several system threads; inside a block the fibers take
// turns at barriers, in the order that is asked for. It finds missing barriers
// (results differ between orders), barriers that some threads never reach, reads
// of shared memory that nobody wrote (NaN), warps that are not whole, and, with
// AddressSanitizer, accesses out of bounds.
//
// It is not bit-equal to a GPU: the order of sums inside mma, expf, logf and
// fused multiply-adds differ.
#pragma once
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>
#include <sys/mman.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

typedef uint16_t u16;
typedef uint32_t u32;
typedef int32_t i32;
typedef long long i64;

#define GROUSE_DEVICE static inline
#define __restrict__ __restrict
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

namespace emu {

#if !defined(__x86_64__)
#error "the emulation of CUDA switches fibers in x86-64 assembly"
#endif
extern "C" void emu_switch(void** save, void* to);

constexpr size_t stack_bytes = 64 << 10;
constexpr int max_threads = 256;  // the kernels' launch bounds
constexpr size_t max_shared = 227 << 10;

struct Barrier {
  int got = 0;
  unsigned generation = 0;
  int line = 0;  // where those that wait stand
};

struct Fiber {
  void* sp = nullptr;
  bool done = false;
  dim3 thread;
  unsigned index = 0;
  Barrier* waits = nullptr;
  unsigned generation = 0;  // of the barrier when it began to wait
  int turn = 0;             // which of the warp's two buffers is next
};

// A warp's lanes publish values in one of two buffers and meet; the other buffer
// may still be read then.
struct Warp {
  Barrier barrier;
  int live = 0;
  uint64_t value[2][32];
  u32 fragments[2][32][6];
};

struct Block {
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  Barrier barrier;
  int live = 0;
  Fiber* current = nullptr;
  void* scheduler = nullptr;  // its stack pointer
  dim3 index, block, grid;
  std::vector<void*> shared;  // static shared arrays by number
  std::vector<unsigned char> dynamic_memory;
  unsigned char* dynamic = nullptr;
  const std::function<void()>* body = nullptr;
  const char* kernel = "";
};

inline thread_local Block* now = nullptr;

[[noreturn]] inline void die(const char* what, int a = 0, int b = 0) {
  fprintf(stderr, "emu: kernel %s, block (%u, %u, %u): ", now->kernel, now->index.x, now->index.y, now->index.z);
  fprintf(stderr, what, a, b);
  fputc('\n', stderr);
  abort();
}

inline void yield() {
  Fiber* f = now->current;
  emu_switch(&f->sp, now->scheduler);
}

inline void open_if_full(Barrier& b, int live) {
  if (live > 0 && b.got >= live) {
    b.got = 0;
    b.generation++;
  }
}

inline void meet(Barrier& b, int live, int line) {
  if (b.got > 0 && b.line != line) die("threads stand at barriers of different lines, %d and %d", b.line, line);
  b.line = line;
  unsigned generation = b.generation;
  b.got++;
  open_if_full(b, live);
  if (b.generation != generation) return;
  Fiber* f = now->current;
  f->waits = &b;
  f->generation = generation;
  while (b.generation == generation) yield();
  f->waits = nullptr;
}

inline void sync_block(int line) { meet(now->barrier, now->live, line); }

inline Warp& sync_warp_begin(int* turn) {
  Fiber* f = now->current;
  Warp& w = now->warps[f->index / 32];
  if (w.live != 32) die("a warp operation with %d of 32 lanes: the others have returned", w.live);
  *turn = f->turn;
  f->turn ^= 1;
  return w;
}

inline void sync_warp(int line) {
  int turn;
  Warp& w = sync_warp_begin(&turn);
  meet(w.barrier, w.live, line);
}

inline void entry() {
  Block* b = now;
  (*b->body)();
  Fiber* f = b->current;
  f->done = true;
  b->live--;
  open_if_full(b->barrier, b->live);
  Warp& w = b->warps[f->index / 32];
  w.live--;
  open_if_full(w.barrier, w.live);
  yield();
  abort();
}

template <class T>
T exchange(T v, int from, u32 mask, int line) {
  static_assert(sizeof(T) <= 8);
  if (mask != 0xffffffffu) die("a shuffle that is not of the whole warp");
  int turn, lane = now->current->index & 31;
  Warp& w = sync_warp_begin(&turn);
  uint64_t bits = 0;
  memcpy(&bits, &v, sizeof v);
  w.value[turn][lane] = bits;
  meet(w.barrier, w.live, line);
  T out;
  memcpy(&out, &w.value[turn][from & 31], sizeof out);
  return out;
}

// The stacks of a block's fibers, kept between launches.
struct Stacks {
  unsigned char* base;
  static std::vector<unsigned char*>& kept() {
    static std::vector<unsigned char*> all;
    return all;
  }
  static std::mutex& mutex() {
    static std::mutex m;
    return m;
  }
  Stacks() {
    std::lock_guard<std::mutex> lock(mutex());
    if (!kept().empty()) {
      base = kept().back();
      kept().pop_back();
      return;
    }
    base = (unsigned char*)mmap(nullptr, stack_bytes * max_threads, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
      perror("emu: stacks");
      abort();
    }
  }
  ~Stacks() {
    std::lock_guard<std::mutex> lock(mutex());
    kept().push_back(base);
  }
};

inline void* start_of(unsigned char* stacks, unsigned i) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stacks + stack_bytes * i, stack_bytes);
#endif
  void** s = (void**)(stacks + stack_bytes * (i + 1));
  *--s = nullptr;
  *--s = (void*)entry;
  for (int k = 0; k < 6; k++) *--s = nullptr;  // the registers that emu_switch pops
  return s;
}

inline void run_block(Block& b, unsigned char* stacks, unsigned q, int order) {
  unsigned n = b.block.x * b.block.y * b.block.z;
  b.fibers.assign(n, Fiber());
  b.warps.resize((n + 31) / 32);
  for (Warp& w : b.warps) w.barrier = Barrier(), w.live = 0;
  b.barrier = Barrier();
  b.live = n;
  if (b.dynamic) memset(b.dynamic, 0xff, b.dynamic_memory.size() - 15);  // reads as NaN until it is written
  for (void*& p : b.shared) free(p), p = nullptr;
  for (unsigned i = 0; i < n; i++) {
    Fiber& f = b.fibers[i];
    f.index = i;
    f.thread = {i % b.block.x, i / b.block.x % b.block.y, i / (b.block.x * b.block.y)};
    b.warps[i / 32].live++;
    f.sp = start_of(stacks, i);
  }
  while (b.live > 0) {
    bool moved = false;
    for (unsigned j = 0; j < n; j++) {
      unsigned i = order == 0 ? j : order == 1 ? n - 1 - j : (j * 7919u + q) % n;  // 7919 is prime: a permutation
      Fiber& f = b.fibers[i];
      if (f.done || (f.waits && f.waits->generation == f.generation)) continue;
      moved = true;
      b.current = &f;
      emu_switch(&b.scheduler, f.sp);
    }
    if (!moved) die("%d threads wait at a barrier that the others never reach", b.live);
  }
}

// launch runs a grid: order 0 forward, 1 reverse, 2 scattered, the same for the
// blocks and for the fibers of a block.
inline void launch(const char* kernel, dim3 grid, dim3 block, size_t shared, const std::function<void()>& body, int order, int threads) {
  unsigned total = grid.x * grid.y * grid.z;
  std::atomic<unsigned> next{0};
  auto work = [&] {
    Stacks stacks;
    Block b;
    b.kernel = kernel;
    b.block = block;
    b.grid = grid;
    b.body = &body;
    if (shared) {
      b.dynamic_memory.resize(shared + 15);
      b.dynamic = (unsigned char*)(((uintptr_t)b.dynamic_memory.data() + 15) & ~(uintptr_t)15);
    }
    now = &b;
    for (unsigned q; (q = next++) < total;) {
      unsigned i = order == 0 ? q : order == 1 ? total - 1 - q : (unsigned)((q * 2147483647ull + total / 2) % total);
      b.index = {i % grid.x, i / grid.x % grid.y, i / (grid.x * grid.y)};
      run_block(b, stacks.base, q, order);
    }
    for (void* p : b.shared) free(p);
    now = nullptr;
  };
  if (threads <= 1 || total == 1) {
    work();
    return;
  }
  std::vector<std::thread> all;
  for (int i = 0; i < threads; i++) all.emplace_back(work);
  for (std::thread& t : all) t.join();
}

// A static shared array: the first fiber to come makes it.
template <class T>
T* shared_array(unsigned number, size_t n) {
  Block* b = now;
  if (b->shared.size() <= number) b->shared.resize(number + 1);
  if (!b->shared[number]) {
    b->shared[number] = aligned_alloc(64, (n * sizeof(T) + 63) / 64 * 64);
    memset(b->shared[number], 0xff, n * sizeof(T));
#if defined(__SANITIZE_ADDRESS__)
    __asan_poison_memory_region((char*)b->shared[number] + n * sizeof(T), (n * sizeof(T) + 63) / 64 * 64 - n * sizeof(T));
#endif
  }
  return (T*)b->shared[number];
}

// Kernels by name, with the kinds of their parameters: p pointer, i i32, l i64,
// f float.
struct Kernel {
  std::function<void(void**)> call;
  std::string kinds;
};
inline std::map<std::string, Kernel>& kernels() {
  static std::map<std::string, Kernel> all;
  return all;
}
template <class A>
constexpr char kind() {
  if constexpr (std::is_pointer_v<A>) return 'p';
  else if constexpr (std::is_same_v<A, i32>) return 'i';
  else if constexpr (std::is_same_v<A, i64>) return 'l';
  else {
    static_assert(std::is_same_v<A, float>, "a kernel's parameters are pointers, i32, i64 and float");
    return 'f';
  }
}
template <class... A, size_t... I>
void call(void (*k)(A...), void** a, std::index_sequence<I...>) {
  k(*(std::decay_t<A>*)a[I]...);
}
template <class... A>
int add_kernel(const char* name, void (*k)(A...)) {
  kernels()[name] = {[k](void** a) { call(k, a, std::index_sequence_for<A...>()); }, {kind<std::decay_t<A>>()...}};
  return 0;
}

struct Coordinate {
  int which, axis;
  operator unsigned() const {
    const dim3& d = which == 0 ? now->current->thread : which == 1 ? now->index : which == 2 ? now->block : now->grid;
    return axis == 0 ? d.x : axis == 1 ? d.y : d.z;
  }
};
struct Coordinates {
  Coordinate x, y, z;
  constexpr Coordinates(int which) : x{which, 0}, y{which, 1}, z{which, 2} {}
};

}  // namespace emu

static constexpr emu::Coordinates threadIdx(0), blockIdx(1), blockDim(2), gridDim(3);

#define GROUSE_KERNEL(name, ...)                               \
  static void name(__VA_ARGS__);                               \
  static const int added_##name = emu::add_kernel(#name, name); \
  static void name(__VA_ARGS__)
#define GROUSE_SHARED(T, name, n) T* const name = emu::shared_array<T>(__COUNTER__, n)
#define GROUSE_CONSTANT static const
#define GROUSE_UNROLL
#define grouse_dynamic (emu::now->dynamic)

#define __syncthreads() emu::sync_block(__LINE__)
#define __syncwarp() emu::sync_warp(__LINE__)
#define __shfl_xor_sync(mask, v, o) emu::exchange((v), (int)(emu::now->current->index & 31) ^ (o), mask, __LINE__)
#define __shfl_sync(mask, v, lane) emu::exchange((v), (lane), mask, __LINE__)
#define __shfl_up_sync(mask, v, o) emu::shuffle_up((v), (o), mask, __LINE__)
#define __ballot_sync(mask, p) emu::ballot((p), mask, __LINE__)

namespace emu {
template <class T>
T shuffle_up(T v, int o, u32 mask, int line) {
  int lane = now->current->index & 31;
  return exchange(v, lane < o ? lane : lane - o, mask, line);
}
inline u32 ballot(bool p, u32 mask, int line) {
  if (mask != 0xffffffffu) die("a ballot that is not of the whole warp");
  int turn, lane = now->current->index & 31;
  Warp& w = sync_warp_begin(&turn);
  w.value[turn][lane] = p;
  meet(w.barrier, w.live, line);
  u32 out = 0;
  for (int i = 0; i < 32; i++) out |= (u32)w.value[turn][i] << i;
  return out;
}
}  // namespace emu

static inline int min(int a, int b) { return a < b ? a : b; }
static inline int max(int a, int b) { return a > b ? a : b; }
static inline int atomicAdd(int* p, int v) { return std::atomic_ref<int>(*p).fetch_add(v); }
static inline int __popc(u32 v) { return __builtin_popcount(v); }
static inline float rsqrtf(float x) { return 1.f / sqrtf(x); }
static inline float from_bits(u32 u) {
  float f;
  memcpy(&f, &u, 4);
  return f;
}
static inline double double_from_bits(unsigned long long u) {
  double d;
  memcpy(&d, &u, 8);
  return d;
}
static inline u32 to_bits(float f) {
  u32 u;
  memcpy(&u, &f, 4);
  return u;
}

// mma.m16n8k16: every lane publishes its fragments, then computes its own four
// outputs. Lane l holds, with g = l / 4 and t = l % 4: of a, rows g and g + 8,
// columns 2t, 2t+1, 2t+8, 2t+9; of b, those rows of column g; of d, rows g and
// g + 8 of columns 2t, 2t+1.
static inline void mma_bf16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
  int turn, lane = emu::now->current->index & 31;
  emu::Warp& w = emu::sync_warp_begin(&turn);
  u32(*all)[6] = w.fragments[turn];
  for (int i = 0; i < 4; i++) all[lane][i] = a[i];
  for (int i = 0; i < 2; i++) all[lane][4 + i] = b[i];
  emu::meet(w.barrier, w.live, __LINE__);
  auto half = [](u32 v, int high) { return from_bits(high ? v & 0xffff0000u : v << 16); };
  for (int i = 0; i < 4; i++) {
    int row = lane / 4 + (i >= 2 ? 8 : 0), col = lane % 4 * 2 + (i & 1);
    float sum = d[i];
    for (int k = 0; k < 16; k++) {
      u32 av = all[row % 8 * 4 + k % 8 / 2][(row >= 8 ? 1 : 0) + (k >= 8 ? 2 : 0)];
      u32 bv = all[col * 4 + k % 8 / 2][4 + (k >= 8 ? 1 : 0)];
      sum += half(av, k & 1) * half(bv, k & 1);
    }
    d[i] = sum;
  }
}
