package devserver

import (
	"fmt"
	"net"

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

// anyFree returns n free ports of the system's choice.
func anyFree(n int, taken map[int]bool) ([]int, error) {
	var ports []int
	var open []net.Listener // all at once, so that they differ
	defer func() {
		for _, l := range open {
			_ = l.Close() // nothing was accepted
		}
	}()
	for len(ports) < n {
		l, err := net.Listen("tcp", loopback+":0")
		if err != nil {
			return nil, grouse.Errorf(grouse.Unavailable, "no free port on %s: %w", loopback, err).WithFix("check `ulimit -n` and what else listens")
		}
		open = append(open, l)
		if p := l.Addr().(*net.TCPAddr).Port; !taken[p] {
			taken[p] = true
			ports = append(ports, p)
		}
	}
	return ports, nil
}
