//go:build !amd64

package cpu

func setAVX2(bool) {}
