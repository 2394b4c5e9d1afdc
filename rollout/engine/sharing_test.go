package engine_test

import (
	"fmt"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/tensor"
	"github.com/grouse-rl/grouse/internal/tensor/cpu"
	"github.com/grouse-rl/grouse/rollout/engine"
)

// counter counts the tokens that were computed.
type counter struct {
	tensor.Device
	tokens int
}

func (c *counter) Embed(y, w tensor.Buffer, ids []int32, dim int) {
	c.tokens += len(ids)
	c.Device.Embed(y, w, ids, dim)
}

// Samples of a group that draw the same tokens are computed once until they part, and
// are what each is alone, bit for bit.
func TestSamplesShareTheirBeginning(t *testing.T) {
	for _, c := range []struct {
		family string
		opts   engine.Options
	}{{"llama3", engine.Options{}}, {"qwen3moe", engine.Options{}}, {"deepseek-sparse", engine.Options{}}, {"deepseek-sparse", engine.Options{Compressed: true}}, {"qwen3", engine.Options{MaxSequences: 3}}} {
		for _, temperature := range []float32{0, 0.3, 1} {
			for _, prompt := range []int{3, 16, 21} {
				t.Run(fmt.Sprintf("%s,compressed=%v,temperature=%v,prompt=%d", c.family, c.opts.Compressed, temperature, prompt), func(t *testing.T) {
					m := open(t, 2, c.family)
					r := engine.Request{N: 8, MaxTokens: 40, StopIDs: []int32{1}, Sampling: grouse.Sampling{Temperature: temperature, TopP: 1, TopK: 3},
						Key: rng.NewKey(rng.Rollout, "rl", 3), KeepRouting: true}
					for i := range prompt {
						r.Prompt = append(r.Prompt, int32(2+(5*i)%38))
					}
					run := func(reqs ...engine.Request) ([][]grouse.Rollout, int) {
						dev := &counter{Device: cpu.New(2)}
						e := engine.New(dev, c.opts)
						defer e.Close()
						e.SetPolicy(m, 1)
						out, err := e.GenerateAll(t.Context(), reqs, nil)
						if err != nil {
							t.Fatal(err)
						}
						return out, dev.tokens
					}
					together, computed := run(r)
					var alone []grouse.Rollout
					begun := map[string]bool{} // every beginning that is fed
					for i := range r.N {
						one := r
						one.N, one.FirstSample = 1, i
						out, _ := run(one)
						alone = append(alone, out[0]...)
						ids := out[0][0].ResponseIDs
						for p := range len(ids) - 1 {
							begun[fmt.Sprint(ids[:p+1])] = true
						}
					}
					same(t, "together", together[0], alone)
					if c.opts.MaxSequences == 0 && computed != prompt+len(begun) {
						t.Errorf("%d tokens were computed, want %d of the prompt and %d beginnings", computed, prompt, len(begun))
					}
				})
			}
		}
	}
}
