package engine_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
	"github.com/grouse-rl/grouse/rollout/engine"
)

// traffic counts transfers to and from the host, and buffers of one size.
type traffic struct {
	tensor.Device
	size                      int
	read, written, made, free int
}

func (d *traffic) Read(dst []float32, b tensor.Buffer)  { d.read++; d.Device.Read(dst, b) }
func (d *traffic) Write(b tensor.Buffer, src []float32) { d.written++; d.Device.Write(b, src) }
func (d *traffic) New(n int) tensor.Buffer {
	if n == d.size {
		d.made++
	}
	return d.Device.New(n)
}

// Free spoils what is not to be used again.
func (d *traffic) Free(b tensor.Buffer) {
	if b.Len() == d.size {
		d.free++
	}
	d.Device.Write(b, spoiled(b.Len()))
	d.Device.Free(b)
}

func spoiled(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(math.NaN())
	}
	return x
}

// Hidden states stay on the device, those of prompts until their group ends: whether all
// samples begin at once or one after the other, and whatever the settings of other groups.
func TestHiddenStatesStayOnTheDevice(t *testing.T) {
	m := open(t, 2, "qwen3")
	reqs := append(requests(4, samplings["full"]), requests(4, samplings["truncated"])...)
	reqs = append(reqs, requests(4, samplings["greedy"])...)
	want := generate(t, m, 1, engine.Options{}, reqs)
	for _, sequences := range []int{1, 3, 100} {
		t.Run(fmt.Sprintf("sequences=%d", sequences), func(t *testing.T) {
			dev := &traffic{Device: cpu.New(2), size: m.Config.HiddenSize}
			e := engine.New(dev, engine.Options{MaxSequences: sequences})
			e.SetPolicy(m, 9)
			got, err := e.GenerateAll(t.Context(), reqs, nil)
			e.Close()
			if err != nil {
				t.Fatal(err)
			}
			for i := range reqs {
				same(t, fmt.Sprintf("request %d", i), got[i], want[i])
			}
			if dev.read != 0 || dev.written != 0 {
				t.Errorf("%d reads and %d writes of buffers, want none", dev.read, dev.written)
			}
			if dev.made != len(reqs) || dev.free != dev.made {
				t.Errorf("%d hidden states of prompts were kept and %d freed, want %d", dev.made, dev.free, len(reqs))
			}
		})
	}
}
