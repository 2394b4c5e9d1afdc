package sandbox

import "bytes"

// saysNoMemory reports whether a program that failed said that memory was why.
func saysNoMemory(stderr []byte) bool {
	return endsWith(stderr, "MemoryError") || endsWith(stderr, "std::bad_alloc") || endsWith(stderr, "out of memory") || endsWith(stderr, "Cannot allocate memory")
}

// saysNoProcess is the same for processes and threads.
func saysNoProcess(stderr []byte) bool {
	return endsWith(stderr, "Resource temporarily unavailable") || endsWith(stderr, "can't start new thread")
}

// endsWith looks at the last line.
func endsWith(stderr []byte, words string) bool {
	stderr = bytes.TrimSpace(stderr)
	return bytes.Contains(stderr[bytes.LastIndexByte(stderr, '\n')+1:], []byte(words))
}
