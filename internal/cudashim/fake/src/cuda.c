// Stand-in of the CUDA driver; see doc.go.
#include <ctype.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fake.h"

typedef unsigned long long ptr;
enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101, INVALID_IMAGE = 200, INVALID_CONTEXT = 201,
  NO_BINARY = 209, INVALID_PTX = 218, UNSUPPORTED_PTX = 222, NOT_FOUND = 500, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901 };

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER; // of the tables below
static int broken; // an error of a kernel stays until the context goes, as on a GPU

void fake_log(const char *format, ...) {
  const char *path = getenv("FAKE_CUDA_LOG");
  if (!path || !*path) return;
  char line[512];
  va_list ap;
  va_start(ap, format);
  int n = vsnprintf(line, sizeof line - 1, format, ap);
  va_end(ap);
  if (n > (int)sizeof line - 2) n = sizeof line - 2;
  line[n] = '\n';
  FILE *f = fopen(path, "a");
  if (!f) return;
  fwrite(line, 1, n + 1, f);
  fclose(f);
}

int fake_failure(const char *name) {
  static struct { char name[64]; int calls; } counts[64];
  pthread_mutex_lock(&mu);
  int calls = 0;
  for (int i = 0; i < 64; i++) {
    if (!counts[i].name[0]) strncpy(counts[i].name, name, 63);
    if (!strcmp(counts[i].name, name)) { calls = ++counts[i].calls; break; }
  }
  const char *want = getenv("FAKE_CUDA_FAIL");
  static char before[256];
  if (strncmp(before, want ? want : "", 255)) { // another wish: counting begins anew
    strncpy(before, want ? want : "", 255);
    for (int i = 0; i < 64; i++) counts[i].calls = 0;
    for (int i = 0; i < 64; i++) if (!strcmp(counts[i].name, name)) calls = counts[i].calls = 1;
  }
  pthread_mutex_unlock(&mu);
  size_t n = strlen(name);
  while (want && *want) {
    if (!strncmp(want, name, n) && (want[n] == '=' || want[n] == '@')) {
      int at = 0, code = 0;
      if (want[n] == '@' && sscanf(want + n, "@%d=%d", &at, &code) == 2 && at == calls) return code;
      if (want[n] == '=' && sscanf(want + n, "=%d", &code) == 1) return code;
    }
    want = strchr(want, ',');
    if (want) want++;
  }
  return 0;
}

static int env(const char *name, int otherwise) { const char *v = getenv(name); return v && *v ? atoi(v) : otherwise; }

// The device, and the context that a thread must have.
static __thread int current;
#define CONTEXT(name)                           \
  do {                                          \
    if (!current) return INVALID_CONTEXT;       \
    TRY(name);                                  \
    if (broken) return broken;                  \
  } while (0)


int cuInit(unsigned flags) { TRY("cuInit"); return env("FAKE_CUDA_DEVICES", 1) ? OK : NO_DEVICE; }
int cuDriverGetVersion(int *v) { *v = env("FAKE_CUDA_VERSION", 12040); return OK; }
int cuDeviceGetCount(int *n) { *n = env("FAKE_CUDA_DEVICES", 1); return OK; }
int cuDeviceGet(int *d, int i) { if (i < 0 || i >= env("FAKE_CUDA_DEVICES", 1)) return INVALID_DEVICE; *d = i; return OK; }
int cuDeviceGetName(char *name, int n, int d) { snprintf(name, n, "Fake GPU %d", d); return OK; }
int cuDeviceTotalMem_v2(size_t *bytes, int d) { *bytes = (size_t)4 << 30; return OK; }
int cuDeviceGetAttribute(int *v, int attribute, int d) {
  const char *cc = getenv("FAKE_CUDA_CC");
  int major = 9, minor = 0;
  if (cc) sscanf(cc, "%d.%d", &major, &minor);
  switch (attribute) {
    case 16: *v = 132; return OK;     // multiprocessors
    case 75: *v = major; return OK;   // compute capability
    case 76: *v = minor; return OK;
    case 97: *v = 227 << 10; return OK; // shared memory of a block, opted in
  }
  return INVALID_VALUE;
}
int cuDevicePrimaryCtxRetain(void **ctx, int d) { TRY("cuDevicePrimaryCtxRetain"); fake_log("retain %d", d); *ctx = (void *)(uintptr_t)(d + 1); return OK; }
int cuDevicePrimaryCtxRelease_v2(int d) { fake_log("release %d", d); broken = OK; return OK; }
int cuCtxSetCurrent(void *ctx) { current = (int)(uintptr_t)ctx; return OK; }

// Memory.
struct block { ptr at; size_t bytes; int pinned; struct block *next; };
static struct block *blocks;
static size_t used;

static int within(ptr p, size_t n, int pinned) {
  pthread_mutex_lock(&mu);
  int found = 0;
  for (struct block *b = blocks; b && !found; b = b->next) found = b->pinned == pinned && p >= b->at && p + n <= b->at + b->bytes;
  pthread_mutex_unlock(&mu);
  return found;
}
int fake_is_device(ptr p, size_t n) { return within(p, n, 0); }

static ptr allocate(size_t bytes, int pinned) {
  ptr p = (ptr)(uintptr_t)aligned_alloc(256, (bytes + 255) / 256 * 256);
  memset((void *)(uintptr_t)p, 0xff, bytes);
  struct block *b = malloc(sizeof *b);
  *b = (struct block){p, bytes, pinned, NULL};
  pthread_mutex_lock(&mu);
  b->next = blocks;
  blocks = b;
  if (!pinned) used += bytes;
  pthread_mutex_unlock(&mu);
  return p;
}

static int release(ptr p, int pinned) {
  pthread_mutex_lock(&mu);
  for (struct block **b = &blocks; *b; b = &(*b)->next)
    if ((*b)->at == p && (*b)->pinned == pinned) {
      struct block *gone = *b;
      *b = gone->next;
      if (!pinned) used -= gone->bytes;
      free((void *)(uintptr_t)p);
      free(gone);
      pthread_mutex_unlock(&mu);
      return OK;
    }
  pthread_mutex_unlock(&mu);
  return INVALID_VALUE;
}

// Streams: a list of what is to be done.
struct op { int (*run)(void *); void *args; size_t size; };
struct list { struct op *ops; long n, cap; };
struct fake_stream { struct list todo; long done, begun; int capturing, invalid; struct list captured; struct fake_stream *next; };
static struct fake_stream *streams;

static void append(struct list *l, struct op o) {
  if (l->n == l->cap) l->ops = realloc(l->ops, (l->cap = l->cap ? 2 * l->cap : 64) * sizeof *l->ops);
  l->ops[l->n++] = o;
}
static struct op op(int (*run)(void *), const void *args, size_t size) {
  void *copy = malloc(size);
  memcpy(copy, args, size);
  return (struct op){run, copy, size};
}
int fake_enqueue(struct fake_stream *s, int (*run)(void *), const void *args, size_t size) {
  if (!s) return INVALID_VALUE;
  append(s->capturing ? &s->captured : &s->todo, op(run, args, size));
  return OK;
}
static int run_until(struct fake_stream *s, long until) {
  for (; s->done < until; s->done++) {
    struct op *o = &s->todo.ops[s->done];
    if (!broken) { int e = o->run(o->args); if (e) broken = e; }
    free(o->args);
  }
  return broken;
}
#define NOT_CAPTURED(s) do { if ((s) && (s)->capturing) { (s)->invalid = 1; return CAPTURE_UNSUPPORTED; } } while (0)
static int any_captures(void) { for (struct fake_stream *s = streams; s; s = s->next) if (s->capturing) { s->invalid = 1; return 1; } return 0; }
static void run_all(void) { for (struct fake_stream *s = streams; s; s = s->next) run_until(s, s->todo.n); }

int cuStreamCreate(struct fake_stream **s, unsigned flags) {
  CONTEXT("cuStreamCreate");
  *s = calloc(1, sizeof **s);
  (*s)->next = streams;
  streams = *s;
  fake_log("stream flags=%u", flags);
  return OK;
}
int cuStreamDestroy_v2(struct fake_stream *s) {
  CONTEXT("cuStreamDestroy");
  run_until(s, s->todo.n);
  for (struct fake_stream **p = &streams; *p; p = &(*p)->next) if (*p == s) { *p = s->next; break; }
  free(s->todo.ops);
  free(s);
  return OK;
}
int cuStreamSynchronize(struct fake_stream *s) { CONTEXT("cuStreamSynchronize"); NOT_CAPTURED(s); return run_until(s, s->todo.n); }
int cuCtxSynchronize(void) { CONTEXT("cuCtxSynchronize"); run_all(); return broken; }

struct event { struct fake_stream *s; long at; };
int cuEventCreate(struct event **e, unsigned flags) { CONTEXT("cuEventCreate"); *e = calloc(1, sizeof **e); return OK; }
int cuEventDestroy_v2(struct event *e) { free(e); return OK; }
int cuEventRecord(struct event *e, struct fake_stream *s) { CONTEXT("cuEventRecord"); e->s = s; e->at = s->todo.n; return OK; }
int cuEventSynchronize(struct event *e) { CONTEXT("cuEventSynchronize"); NOT_CAPTURED(e->s); return e->s ? run_until(e->s, e->at) : OK; }
struct wait { struct fake_stream *s; long at; };
static int wait_for(void *a) { struct wait *w = a; return w->s ? run_until(w->s, w->at) : OK; }
int cuStreamWaitEvent(struct fake_stream *s, struct event *e, unsigned flags) { // for what e was recorded after by now
  CONTEXT("cuStreamWaitEvent");
  NOT_CAPTURED(s);
  fake_log("wait");
  struct wait w = {e->s, e->at};
  return fake_enqueue(s, wait_for, &w, sizeof w);
}
int cuEventElapsedTime(float *ms, struct event *a, struct event *b) { CONTEXT("cuEventElapsedTime"); *ms = 0.5f; return OK; }

int cuMemAlloc_v2(ptr *p, size_t n) {
  CONTEXT("cuMemAlloc");
  if (any_captures()) return CAPTURE_UNSUPPORTED;
  if (used + n > (size_t)4 << 30) return OUT_OF_MEMORY;
  *p = allocate(n, 0);
  fake_log("alloc %zu", n);
  return OK;
}
int cuMemFree_v2(ptr p) { CONTEXT("cuMemFree"); run_all(); fake_log("free"); return release(p, 0); }
int cuMemHostAlloc(void **p, size_t n, unsigned flags) { CONTEXT("cuMemHostAlloc"); *p = (void *)(uintptr_t)allocate(n, 1); fake_log("pinned %zu", n); return OK; }
int cuMemFreeHost(void *p) { CONTEXT("cuMemFreeHost"); run_all(); return release((ptr)(uintptr_t)p, 1); }
int cuMemGetInfo_v2(size_t *free_, size_t *total) { CONTEXT("cuMemGetInfo"); *total = (size_t)4 << 30; *free_ = *total - used; return OK; }

struct copy { void *to; const void *from; size_t n; };
static int copy(void *a) { struct copy *c = a; memmove(c->to, c->from, c->n); return OK; }
static int do_copy(struct fake_stream *s, ptr to, ptr from, size_t n) {
  struct copy c = {(void *)(uintptr_t)to, (const void *)(uintptr_t)from, n};
  return fake_enqueue(s, copy, &c, sizeof c);
}
int cuMemcpyHtoDAsync_v2(ptr to, const void *from, size_t n, struct fake_stream *s) {
  CONTEXT("cuMemcpyHtoDAsync");
  if (!fake_is_device(to, n) || !within((ptr)(uintptr_t)from, n, 1)) return INVALID_VALUE; // ours is always pinned
  fake_log("upload %zu", n);
  return do_copy(s, to, (ptr)(uintptr_t)from, n);
}
int cuMemcpyDtoHAsync_v2(void *to, ptr from, size_t n, struct fake_stream *s) {
  CONTEXT("cuMemcpyDtoHAsync");
  if (!fake_is_device(from, n) || !within((ptr)(uintptr_t)to, n, 1)) return INVALID_VALUE;
  fake_log("download %zu", n);
  return do_copy(s, (ptr)(uintptr_t)to, from, n);
}
int cuMemcpyDtoDAsync_v2(ptr to, ptr from, size_t n, struct fake_stream *s) {
  CONTEXT("cuMemcpyDtoDAsync");
  if (!fake_is_device(to, n) || !fake_is_device(from, n)) return INVALID_VALUE;
  fake_log("copy %zu", n);
  return do_copy(s, to, from, n);
}
struct set { ptr p; size_t pitch, width, height; unsigned char value; };
static int set(void *a) { struct set *s = a; for (size_t i = 0; i < s->height; i++) memset((void *)(uintptr_t)(s->p + i * s->pitch), s->value, s->width); return OK; }
int cuMemsetD8Async(ptr p, unsigned char value, size_t n, struct fake_stream *s) {
  CONTEXT("cuMemsetD8Async");
  if (!fake_is_device(p, n)) return INVALID_VALUE;
  fake_log("clear %zu", n);
  struct set a = {p, n, n, 1, value};
  return fake_enqueue(s, set, &a, sizeof a);
}
int cuMemsetD2D8Async(ptr p, size_t pitch, unsigned char value, size_t width, size_t height, struct fake_stream *s) {
  CONTEXT("cuMemsetD2D8Async");
  if (!fake_is_device(p, (height - 1) * pitch + width)) return INVALID_VALUE;
  fake_log("clear %zux%zu", height, width);
  struct set a = {p, pitch, width, height, value};
  return fake_enqueue(s, set, &a, sizeof a);
}

// Modules: PTX, of which the entries and the sizes of their parameters are read,
// or what the stand-in of NVRTC makes, which is the same after its first line.
struct kernel { char name[64]; int params, bytes[64]; int dynamic; struct kernel *next; };
struct module { struct kernel *kernels; };

int cuModuleLoadData(struct module **m, const char *image) {
  CONTEXT("cuModuleLoadData");
  int cubin = !strncmp(image, "FAKE CUBIN ", 11), major, minor, target = 0, have = 0;
  const char *at;
  cuDeviceGetAttribute(&major, 75, 0);
  cuDeviceGetAttribute(&minor, 76, 0);
  have = 10 * major + minor;
  if (cubin) {
    if (sscanf(image, "FAKE CUBIN sm_%d", &target) != 1) return INVALID_IMAGE;
    if (target != have) return NO_BINARY;
  } else {
    int isa = 0, isa_minor = 0;
    if (!(at = strstr(image, ".version ")) || sscanf(at, ".version %d.%d", &isa, &isa_minor) != 2) return INVALID_PTX;
    if (10 * isa + isa_minor > env("FAKE_CUDA_PTX", 84)) return UNSUPPORTED_PTX;
    if (!(at = strstr(image, ".target sm_")) || sscanf(at, ".target sm_%d", &target) != 1) return INVALID_PTX;
    if (target > have) return NO_BINARY;
  }
  *m = calloc(1, sizeof **m);
  for (at = image; (at = strstr(at, ".entry ")); ) {
    struct kernel *k = calloc(1, sizeof *k);
    at += 7;
    for (int i = 0; i < 63 && (isalnum((unsigned char)*at) || *at == '_'); at++) k->name[i++] = *at;
    const char *end = strchr(at, ')');
    while (end && (at = strstr(at, ".param .")) && at < end) {
      at += 9;
      k->bytes[k->params++] = atoi(at) / 8; // past the letter of .u64, .f32
    }
    if (!(at = end)) return INVALID_PTX;
    k->next = (*m)->kernels;
    (*m)->kernels = k;
  }
  fake_log("module %s", cubin ? "cubin" : "ptx");
  return OK;
}
int cuModuleUnload(struct module *m) { return OK; }
int cuModuleGetFunction(struct kernel **f, struct module *m, const char *name) {
  CONTEXT("cuModuleGetFunction");
  for (*f = m->kernels; *f; *f = (*f)->next) if (!strcmp((*f)->name, name)) return OK;
  return NOT_FOUND;
}
int cuFuncGetAttribute(int *v, int attribute, struct kernel *k) {
  *v = attribute == 0 ? 256 : attribute == 1 ? 128 : attribute == 4 ? 32 : 0; // threads, static shared bytes, registers
  return OK;
}
int cuFuncSetAttribute(struct kernel *k, int attribute, int v) {
  CONTEXT("cuFuncSetAttribute");
  if (attribute != 8 || v > (227 << 10) - 128) return INVALID_VALUE;
  fake_log("dynamic %s %d", k->name, v);
  k->dynamic = v;
  return OK;
}

struct launch { char name[64]; unsigned char args[64][8]; };
static int launch(void *a) {
  struct launch *l = a;
  char fail[80];
  snprintf(fail, sizeof fail, "run:%s", l->name);
  int e = fake_failure(fail);
  if (e) return e;
  if (!strcmp(l->name, "axpy")) { // y[i] = a x[i] + y[i] + b for i < n
    float *y = *(float **)l->args[0], *x = *(float **)l->args[1], f = *(float *)l->args[2];
    long long n = *(long long *)l->args[3];
    int b = *(int *)l->args[4];
    if (!fake_is_device((ptr)(uintptr_t)y, n * 4) || !fake_is_device((ptr)(uintptr_t)x, n * 4)) return 700;
    for (long long i = 0; i < n; i++) y[i] = f * x[i] + y[i] + (float)b;
  }
  return OK;
}
int cuLaunchKernel(struct kernel *k, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, struct fake_stream *s, void **params, void **extra) {
  CONTEXT("cuLaunchKernel");
  if (!gx || !gy || !gz || bx * by * bz == 0 || bx * by * bz > 256 || shared > (k->dynamic > 49152 ? (unsigned)k->dynamic : 49152)) return INVALID_VALUE;
  struct launch l = {0};
  strcpy(l.name, k->name);
  char text[400] = "";
  for (int i = 0; i < k->params; i++) {
    memcpy(l.args[i], params[i], k->bytes[i]);
    unsigned long long v = 0;
    memcpy(&v, params[i], k->bytes[i]);
    if (strlen(text) < 360) sprintf(text + strlen(text), " %d:%llx", k->bytes[i], v);
  }
  fake_log("launch %s grid=%u,%u,%u block=%u,%u,%u shared=%u%s", k->name, gx, gy, gz, bx, by, bz, shared, text);
  return fake_enqueue(s, launch, &l, sizeof l);
}

// Graphs.
struct graph { struct list ops; };
int cuStreamBeginCapture_v2(struct fake_stream *s, int mode) {
  CONTEXT("cuStreamBeginCapture");
  if (s->capturing) return INVALID_VALUE;
  s->capturing = 1;
  s->invalid = 0;
  s->captured = (struct list){0};
  fake_log("capture mode=%d", mode);
  return OK;
}
int cuStreamEndCapture(struct fake_stream *s, struct graph **g) {
  if (!current) return INVALID_CONTEXT;
  *g = NULL;
  if (!s->capturing) return INVALID_VALUE;
  s->capturing = 0;
  if (s->invalid) return CAPTURE_INVALIDATED;
  TRY("cuStreamEndCapture");
  *g = malloc(sizeof **g);
  (*g)->ops = s->captured;
  fake_log("captured %ld", s->captured.n);
  return OK;
}
static void copy_ops(struct list *to, struct list *from) { for (long i = 0; i < from->n; i++) append(to, op(from->ops[i].run, from->ops[i].args, from->ops[i].size)); }
static void free_graph(struct graph *g) { for (long i = 0; i < g->ops.n; i++) free(g->ops.ops[i].args); free(g->ops.ops); free(g); }
int cuGraphInstantiateWithFlags(struct graph **e, struct graph *g, unsigned long long flags) { CONTEXT("cuGraphInstantiate"); *e = calloc(1, sizeof **e); copy_ops(&(*e)->ops, &g->ops); return OK; }
int cuGraphLaunch(struct graph *e, struct fake_stream *s) { CONTEXT("cuGraphLaunch"); fake_log("graph %ld", e->ops.n); copy_ops(s->capturing ? &s->captured : &s->todo, &e->ops); return OK; }
int cuGraphDestroy(struct graph *g) { free_graph(g); return OK; }
int cuGraphExecDestroy(struct graph *g) { free_graph(g); return OK; }

int cuGetErrorName(int code, const char **name) {
  *name = code == 1 ? "CUDA_ERROR_INVALID_VALUE" : code == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : code == 222 ? "CUDA_ERROR_UNSUPPORTED_PTX_VERSION" : code == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR_OTHER";
  return OK;
}
int cuGetErrorString(int code, const char **text) { *text = code == 700 ? "an illegal memory access was encountered" : "an error of the stand-in"; return OK; }
