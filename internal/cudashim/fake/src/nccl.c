// Stand-in of NCCL between the threads of one process: each rank's call waits, when
// its stream runs, for the others' and adds up in order of ranks.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fake.h"

enum { MAX = 16 };
struct world { char id[128]; int n, arrived, round, aborted[MAX]; pthread_mutex_t mu; pthread_cond_t all; const void *send[MAX]; size_t bytes[MAX]; struct world *next; };
struct comm { struct world *w; int rank; };
struct id { char bytes[128]; };
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static struct world *worlds;
static int ids;

// Waits for all ranks; 1 if the rank has aborted instead.
static int together(struct world *w, int rank) {
  pthread_mutex_lock(&w->mu);
  int round = w->round;
  if (++w->arrived == w->n) {
    w->arrived = 0;
    w->round++;
    pthread_cond_broadcast(&w->all);
  }
  while (round == w->round && !w->aborted[rank]) pthread_cond_wait(&w->all, &w->mu);
  int aborted = w->aborted[rank];
  pthread_mutex_unlock(&w->mu);
  return aborted;
}

int ncclGetVersion(int *v) { const char *e = getenv("FAKE_NCCL_VERSION"); *v = e ? atoi(e) : 22809; return 0; }
const char *ncclGetErrorString(int code) { return code == 2 ? "unhandled system error" : code ? "an error of the stand-in" : "no error"; }
const char *ncclGetLastError(void *comm) { return "the stand-in was told to fail"; }
int ncclGetUniqueId(struct id *id) { TRY("ncclGetUniqueId"); memset(id, 0, sizeof *id); pthread_mutex_lock(&mu); sprintf(id->bytes, "fake %d", ++ids); pthread_mutex_unlock(&mu); return 0; }
int ncclCommInitRank(struct comm **c, int n, struct id id, int rank) {
  TRY("ncclCommInitRank");
  if (n < 1 || n > MAX || rank < 0 || rank >= n) return 4;
  pthread_mutex_lock(&mu);
  struct world *w = worlds;
  while (w && memcmp(w->id, id.bytes, 128)) w = w->next;
  if (!w) {
    w = calloc(1, sizeof *w);
    memcpy(w->id, id.bytes, 128);
    w->n = n;
    pthread_mutex_init(&w->mu, NULL);
    pthread_cond_init(&w->all, NULL);
    w->next = worlds;
    worlds = w;
  }
  pthread_mutex_unlock(&mu);
  if (w->n != n) return 4;
  *c = malloc(sizeof **c);
  **c = (struct comm){w, rank};
  together(w, rank);
  return 0;
}
int ncclCommDestroy(struct comm *c) { free(c); return 0; }
int ncclCommAbort(struct comm *c) {
  pthread_mutex_lock(&c->w->mu);
  c->w->aborted[c->rank] = 1;
  pthread_cond_broadcast(&c->w->all);
  pthread_mutex_unlock(&c->w->mu);
  free(c);
  return 0;
}
int ncclCommGetAsyncError(struct comm *c, int *e) { *e = 0; return 0; }
static __thread int groups;
int ncclGroupStart(void) { groups++; return 0; }
int ncclGroupEnd(void) { return groups-- > 0 ? 0 : 5; }

struct work { struct comm c; char what; const void *send; void *recv; size_t n; int type, op, root; };
static size_t size(int type) { return type == 7 ? 4 : type == 9 ? 2 : type == 1 || type == 0 ? 1 : 0; }
static float get(const void *p, int type, size_t i) { float f; if (type == 7) return ((const float *)p)[i]; uint32_t u = (uint32_t)((const uint16_t *)p)[i] << 16; memcpy(&f, &u, 4); return f; }
static void put(void *p, int type, size_t i, float f) { if (type == 7) { ((float *)p)[i] = f; return; } uint32_t u; memcpy(&u, &f, 4); ((uint16_t *)p)[i] = (u + 0x7fff + ((u >> 16) & 1)) >> 16; }
static int run(void *args) {
  struct work *k = args;
  struct world *w = k->c.w;
  size_t e = size(k->type);
  w->send[k->c.rank] = k->send;
  if (together(w, k->c.rank)) return 0;
  size_t n = k->what == 'g' ? k->n * w->n : k->n;
  char *out = malloc(n * e);
  for (size_t i = 0; i < n; i++) {
    if (k->what == 'g') { memcpy(out + i * e, (const char *)w->send[i / k->n] + i % k->n * e, e); continue; }
    if (k->what == 'b') { memcpy(out + i * e, (const char *)w->send[k->root] + i * e, e); continue; }
    size_t at = k->what == 's' ? k->c.rank * k->n + i : i;
    float s = 0;
    for (int r = 0; r < w->n; r++) { float v = get(w->send[r], k->type, at); s = k->op == 2 ? (r == 0 || v > s ? v : s) : s + v; }
    put(out, k->type, i, s);
  }
  together(w, k->c.rank); // nobody reads a buffer that is being overwritten
  memcpy(k->recv, out, n * e);
  free(out);
  return 0;
}
static int ask(const char *name, struct work k, size_t sends, size_t receives, struct fake_stream *s) {
  TRY(name);
  size_t e = size(k.type);
  if (!e || !fake_is_device((uintptr_t)k.send, sends * e) || !fake_is_device((uintptr_t)k.recv, receives * e)) return 4;
  fake_log("%s %zu type=%d", name, k.n, k.type);
  return fake_enqueue(s, run, &k, sizeof k) ? 1 : 0;
}
int ncclAllReduce(const void *send, void *recv, size_t n, int type, int op, struct comm *c, struct fake_stream *s) { return ask("ncclAllReduce", (struct work){*c, 'r', send, recv, n, type, op}, n, n, s); }
int ncclReduceScatter(const void *send, void *recv, size_t n, int type, int op, struct comm *c, struct fake_stream *s) { return ask("ncclReduceScatter", (struct work){*c, 's', send, recv, n, type, op}, n * c->w->n, n, s); }
int ncclAllGather(const void *send, void *recv, size_t n, int type, struct comm *c, struct fake_stream *s) { return ask("ncclAllGather", (struct work){*c, 'g', send, recv, n, type}, n, n * c->w->n, s); }
int ncclBroadcast(const void *send, void *recv, size_t n, int type, int root, struct comm *c, struct fake_stream *s) { return ask("ncclBroadcast", (struct work){*c, 'b', send, recv, n, type, 0, root}, n, n, s); }
