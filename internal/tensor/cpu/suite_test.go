package cpu_test

import (
	"testing"

	"github.com/grouse-rl/grouse/internal/tensor/cpu"
	"github.com/grouse-rl/grouse/internal/tensor/tensortest"
)

// The suite of all devices. Threads change no bit: the tolerance is none.
func TestDevice(t *testing.T) { tensortest.Run(t, cpu.New(3), 0) }
