package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/chat"
	"github.com/grouse-rl/grouse/internal/rng"
	"github.com/grouse-rl/grouse/internal/tensor/devices"
	"github.com/grouse-rl/grouse/rollout/engine"
)

type chatCmd struct {
	Model       string  `arg:"" help:"${modelHelp}"`
	System      string  `help:"System prompt." placeholder:"TEXT"`
	Temperature float32 `help:"0 always takes the most probable token." default:"0.7"`
	TopP        float32 `name:"top-p" default:"0.95" help:"Nucleus."`
	MaxTokens   int     `help:"Longest answer." default:"512"`
	Seed        uint64  `help:"Random seed." default:"1"`
}

// Run reads lines from standard input and answers each as it is generated.
func (c *chatCmd) Run(a *app) error {
	p, _, err := openModel(a, c.Model, "", true)
	if err != nil {
		return err
	}
	e := engine.New(devices.Beside(p.Model.Device()), engine.Options{})
	defer e.Close()
	e.SetPolicy(p.Model, 0)
	fmt.Fprintf(a.stderr, "%s, %s. An empty line or Ctrl-D ends.\n", c.Model, p.Model.Config)
	var history []grouse.Message
	if c.System != "" {
		history = append(history, grouse.Message{Role: "system", Content: c.System})
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for turn := uint32(0); ; turn++ {
		fmt.Fprint(a.stderr, "> ")
		if !in.Scan() || strings.TrimSpace(in.Text()) == "" {
			return in.Err()
		}
		text := in.Text()
		if !p.Template.Plain() {
			history = append(history, grouse.Message{Role: "user", Content: text})
			o := chat.Options{AddGenerationPrompt: true}
			o.BOS, _ = p.Tokenizer.Token(p.Tokenizer.BOS())
			o.EOS, _ = p.Tokenizer.Token(p.Tokenizer.EOS())
			if text, err = p.Template.Render(history, o); err != nil {
				return err
			}
		}
		stream := p.Tokenizer.NewStream(false)
		stop := map[int32]bool{}
		for _, id := range p.StopIDs() {
			stop[id] = true
		}
		out, err := e.Generate(a.ctx, engine.Request{
			Prompt: p.Tokenizer.Encode(text, p.Template.Plain()), N: 1, MaxTokens: c.MaxTokens, StopIDs: p.StopIDs(), Decode: p.Decode,
			Sampling: grouse.Sampling{Temperature: c.Temperature, TopP: c.TopP}, Key: rng.NewKey(rng.Eval, "chat", c.Seed), Step: turn,
			Token: func(_ int, id int32, _ float32) {
				if !stop[id] {
					fmt.Fprint(a.stdout, visible(stream.Push(id)))
				}
			},
		})
		if err != nil {
			return err
		}
		fmt.Fprintln(a.stdout)
		history = append(history, grouse.Message{Role: "assistant", Content: out[0].Text})
	}
}
