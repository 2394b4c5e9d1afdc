//go:build emu && !asan

package emu

const sanitized = false
