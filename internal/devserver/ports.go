package devserver

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/grouse-rl/grouse"
)

const loopback = "127.0.0.1"

// firstFree returns the first port from port on that nobody listens on, and
// that is not in taken.
func firstFree(port int, taken map[int]bool) (int, error) {
	for p := port; p < port+portSteps && p <= 65535; p++ {
		if taken[p] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", loopback, p))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return 0, fmt.Errorf("try port %d: %w", p, err)
		}
		taken[p] = true
		return p, nil
	}
	return 0, grouse.Errorf(grouse.Unavailable, "no port from %d to %d is free on %s", port, port+portSteps-1, loopback).
		WithFix("name another first port, or end what listens there")
}

// innerPorts is where the ports that only the server's own parts use lie: below
// those that the system gives to outgoing connections, one of which may take a
// port between the moment it is found free and the moment it is listened on.
const innerPorts, innerSpan = 20000, 12000

// anyFree returns n free ports. Processes begin at places of their own.
func anyFree(n int, taken map[int]bool) ([]int, error) {
	var ports []int
	at := os.Getpid() * 37 % innerSpan
	for range innerSpan {
		if len(ports) == n {
			return ports, nil
		}
		p := innerPorts + at
		at = (at + 1) % innerSpan
		if taken[p] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", loopback, p))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return nil, fmt.Errorf("try port %d: %w", p, err)
		}
		taken[p] = true
		ports = append(ports, p)
	}
	return nil, grouse.Errorf(grouse.Unavailable, "no %d free ports from %d to %d on %s", n, innerPorts, innerPorts+innerSpan-1, loopback).
		WithFix("check `ulimit -n` and what else listens")
}

// lockPorts makes servers of this user that start at the same time look for
// ports one after the other: each listens before the next one looks. It is a
// courtesy: without the lock, or after ten seconds, the start goes on.
func lockPorts(ctx context.Context) (unlock func()) {
	f, err := os.OpenFile(filepath.Join(os.TempDir(), fmt.Sprintf("grouse-ports-%d.lock", os.Getuid())), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return func() {}
	}
	for begin := time.Now(); time.Since(begin) < 10*time.Second && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			break
		}
	}
	return func() { _ = f.Close() } // and with it the lock
}
