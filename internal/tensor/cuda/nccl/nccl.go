//go:build cuda && cgo

package nccl

/*
#include <stddef.h>
#include <stdint.h>
// Our own declarations of NCCL's public functions.
typedef struct { char bytes[128]; } nccl_id;
int ncclGetVersion(int *version);
int ncclGetUniqueId(nccl_id *id);
int ncclCommInitRank(void **comm, int size, nccl_id id, int rank);
int ncclCommDestroy(void *comm);
int ncclCommAbort(void *comm);
int ncclCommGetAsyncError(void *comm, int *result);
const char *ncclGetErrorString(int result);
const char *ncclGetLastError(void *comm);
int ncclGroupStart(void);
int ncclGroupEnd(void);
int ncclAllReduce(const void *send, void *recv, size_t n, int type, int op, void *comm, void *stream);
int ncclReduceScatter(const void *send, void *recv, size_t n, int type, int op, void *comm, void *stream);
int ncclAllGather(const void *send, void *recv, size_t n, int type, void *comm, void *stream);
int ncclBroadcast(const void *send, void *recv, size_t n, int type, int root, void *comm, void *stream);

// Addresses of the device come as numbers.
static int all_reduce(uint64_t send, uint64_t recv, size_t n, int type, int op, void *comm, void *stream) { return ncclAllReduce((void *)send, (void *)recv, n, type, op, comm, stream); }
static int reduce_scatter(uint64_t send, uint64_t recv, size_t n, int type, int op, void *comm, void *stream) { return ncclReduceScatter((void *)send, (void *)recv, n, type, op, comm, stream); }
static int all_gather(uint64_t send, uint64_t recv, size_t n, int type, void *comm, void *stream) { return ncclAllGather((void *)send, (void *)recv, n, type, comm, stream); }
static int broadcast(uint64_t send, uint64_t recv, size_t n, int type, int root, void *comm, void *stream) { return ncclBroadcast((void *)send, (void *)recv, n, type, root, comm, stream); }
*/
import "C"

import (
	"fmt"
	"sync"
	"time"
	"unsafe"

	"github.com/grouse-rl/grouse/internal/cudashim"
	"github.com/grouse-rl/grouse/internal/tensor/cuda/driver"
)

// Type is the type of elements.
type Type int

// Types.
const (
	Uint8    Type = 1
	Float32  Type = 7
	BFloat16 Type = 9
)

// Op is how elements of several ranks become one.
type Op int

// Operations.
const (
	Sum Op = 0
	Max Op = 2
)

// Device is the thread and stream that communication is queued on: a gpu.Device.
type Device interface {
	With(what string, f func(stream unsafe.Pointer) error)
	Sync() error
}

// Version returns the library's, as Hello wants it.
func Version() (string, error) {
	o, err := cudashim.Open(cudashim.NCCL)
	return o.Version, err
}

// ID names a communicator; one rank makes it and tells the others.
type ID [128]byte

// UniqueID makes the name of a communicator; one rank does.
func UniqueID() (ID, error) {
	if _, err := cudashim.Open(cudashim.NCCL); err != nil {
		return ID{}, err
	}
	var id C.nccl_id
	if err := check("ncclGetUniqueId", C.ncclGetUniqueId(&id), nil); err != nil {
		return ID{}, err
	}
	return *(*ID)(unsafe.Pointer(&id)), nil
}

// Comm is one rank's end of a communicator. Its calls are queued; their errors
// stick to the device.
type Comm struct {
	dev        Device
	comm       unsafe.Pointer
	Rank, Size int

	mu      sync.Mutex // held by calls of the library with comm
	aborted bool       // comm is no more
}

func check(what string, code C.int, comm unsafe.Pointer) error {
	if code == 0 {
		return nil
	}
	err := fmt.Errorf("%s: NCCL: %s", what, C.GoString(C.ncclGetErrorString(code)))
	if last := C.ncclGetLastError(comm); last != nil && *last != 0 {
		err = fmt.Errorf("%w (%s)", err, C.GoString(last))
	}
	return err
}

// Join waits for all ranks; each gives the ID that Meet returned.
func Join(dev Device, size, rank int, id ID) (*Comm, error) {
	if _, err := cudashim.Open(cudashim.NCCL); err != nil {
		return nil, err
	}
	c := &Comm{dev: dev, Rank: rank, Size: size}
	dev.With("join the other GPUs", func(unsafe.Pointer) error {
		return check("ncclCommInitRank", C.ncclCommInitRank(&c.comm, C.int(size), *(*C.nccl_id)(unsafe.Pointer(&id)), C.int(rank)), nil)
	})
	if err := dev.Sync(); err != nil {
		return nil, err
	}
	return c, nil
}

// queue asks for a call; after Abort it is not made, and that is no error of the device.
func (c *Comm) queue(what string, f func(stream unsafe.Pointer) C.int) {
	c.dev.With(what, func(stream unsafe.Pointer) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.aborted {
			return nil
		}
		return check(what, f(stream), c.comm)
	})
}

// AllReduce sets recv [n] of every rank to the ranks' send [n], added up.
func (c *Comm) AllReduce(send, recv driver.Ptr, n int, t Type, op Op) {
	c.queue("ncclAllReduce", func(s unsafe.Pointer) C.int {
		return C.all_reduce(C.uint64_t(send), C.uint64_t(recv), C.size_t(n), C.int(t), C.int(op), c.comm, s)
	})
}

// ReduceScatter sets recv [n] of rank r to stretch r of the ranks' send [Size n],
// added up.
func (c *Comm) ReduceScatter(send, recv driver.Ptr, n int, t Type, op Op) {
	c.queue("ncclReduceScatter", func(s unsafe.Pointer) C.int {
		return C.reduce_scatter(C.uint64_t(send), C.uint64_t(recv), C.size_t(n), C.int(t), C.int(op), c.comm, s)
	})
}

// AllGather sets recv [Size n] of every rank to the ranks' send [n], in order.
func (c *Comm) AllGather(send, recv driver.Ptr, n int, t Type) {
	c.queue("ncclAllGather", func(s unsafe.Pointer) C.int {
		return C.all_gather(C.uint64_t(send), C.uint64_t(recv), C.size_t(n), C.int(t), c.comm, s)
	})
}

// Broadcast sets recv [n] of every rank to root's send [n].
func (c *Comm) Broadcast(send, recv driver.Ptr, n int, t Type, root int) {
	c.queue("ncclBroadcast", func(s unsafe.Pointer) C.int {
		return C.broadcast(C.uint64_t(send), C.uint64_t(recv), C.size_t(n), C.int(t), C.int(root), c.comm, s)
	})
}

// Group makes one launch of what f asks for.
func (c *Comm) Group(f func()) {
	c.queue("ncclGroupStart", func(unsafe.Pointer) C.int { return C.ncclGroupStart() })
	f()
	c.queue("ncclGroupEnd", func(unsafe.Pointer) C.int { return C.ncclGroupEnd() })
}

// Err returns a fault of the communication that was found meanwhile: a rank that
// went away, say.
func (c *Comm) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.aborted {
		return nil
	}
	var result C.int
	if err := check("ncclCommGetAsyncError", C.ncclCommGetAsyncError(c.comm, &result), c.comm); err != nil {
		return err
	}
	return check("communication", result, c.comm)
}

// abortWait is how long Abort waits for a call of the library to return: one that takes
// longer waits itself for a rank that is gone, and is ended.
const abortWait = 5 * time.Second

// Abort ends communication that is under way, from any goroutine: after it Sync
// returns, with an error or without, and the Comm is of no more use.
func (c *Comm) Abort() error {
	for began := time.Now(); !c.mu.TryLock(); time.Sleep(time.Millisecond) {
		if time.Since(began) > abortWait {
			return check("ncclCommAbort", C.ncclCommAbort(c.comm), nil)
		}
	}
	defer c.mu.Unlock()
	if c.aborted {
		return nil
	}
	c.aborted = true
	return check("ncclCommAbort", C.ncclCommAbort(c.comm), nil)
}

// Close leaves the communicator, when what was asked for is done.
func (c *Comm) Close() error {
	c.queue("ncclCommDestroy", func(unsafe.Pointer) C.int { return C.ncclCommDestroy(c.comm) })
	return c.dev.Sync()
}
