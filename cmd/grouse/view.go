package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"go.temporal.io/sdk/client"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/activities"
	"github.com/grouse-rl/grouse/workflows"
)

// view shows a run: JSON Lines on stdout, a live block on a terminal, or a plain
// line a step.
type view struct {
	a      *app
	spec   grouse.RunSpec
	asJSON bool
	live   bool
	began  time.Time

	mu       sync.Mutex
	progress *mpb.Progress // of the current stage
	bar      *mpb.Bar
	stage    int
	last     map[string]bool // events shown
	rewards  []float64
	text     []*mpb.Bar // the lines below the bar
	lines    []string   // what they say
	quietFor time.Time
	finished bool // the done line was told: it is the last on stdout
}

func newView(a *app, spec grouse.RunSpec, asJSON bool) *view {
	v := &view{a: a, spec: spec, asJSON: asJSON, began: time.Now(), stage: -1, last: map[string]bool{}, quietFor: time.Now()}
	if f, ok := a.stderr.(*os.File); ok && !asJSON {
		v.live = isatty.IsTerminal(f.Fd()) && os.Getenv("TERM") != "dumb"
	}
	return v
}

// say prints a line for people.
func (v *view) say(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.print(fmt.Sprintf(format, args...))
}

func (v *view) print(line string) {
	if v.progress != nil {
		_, _ = v.progress.Write([]byte(line + "\n"))
		return
	}
	fmt.Fprintln(v.a.stderr, line)
}

// out prints a JSON line on stdout.
func (v *view) out(o any) {
	raw, err := json.Marshal(o)
	if err != nil {
		raw = fmt.Appendf(nil, `{"event":"error","message":%q}`, err.Error())
	}
	fmt.Fprintf(v.a.stdout, "%s\n", raw)
}

// addresses says where to look.
func (v *view) addresses(s *servers, run string) {
	i, dashboard := s.info, ""
	if s.page != nil {
		dashboard = s.page.url + "#/" + run
	}
	if v.asJSON {
		v.out(map[string]any{"event": "start", "run": run, "recipe": v.spec.Recipe, "seed": v.spec.Seed, "temporal": i.Temporal, "ui": i.UI, "dashboard": dashboard})
	}
	v.say("run %s · recipe %s · seed %d", run, v.spec.Recipe, v.spec.Seed)
	if dashboard != "" {
		v.say("  dashboard        %s", dashboard)
	}
	if i.UI != "" {
		v.say("  Temporal Web UI  %s/namespaces/%s/workflows/%s", i.UI, i.Namespace, run)
	}
	v.say("  Temporal         %s", i.Temporal)
	v.say("  state            %s", v.a.home)
}

// event shows something that happened.
func (v *view) event(e activities.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	key := fmt.Sprintf("%s/%d/%d", e.Kind, e.Stage, e.Step)
	if (e.Kind == "step" || e.Kind == "sft" || e.Kind == "eval") && v.last[key] {
		return
	}
	v.last[key] = true
	v.quietFor = time.Now()
	if v.asJSON && !v.finished {
		o := map[string]any{"event": e.Kind, "stage": v.stageName(e.Stage), "step": e.Step}
		if e.Stats != nil {
			o["metrics"] = e.Stats
		}
		if e.Times != nil {
			o["times"] = e.Times
		}
		if e.Text != "" {
			o["text"] = e.Text
		}
		v.out(o)
		return
	}
	switch e.Kind {
	case "step", "sft":
		v.enter(e.Stage)
		v.show(e)
	case "eval":
		v.print(fmt.Sprintf("held-out %s at step %d: %s", v.spec.Eval.Metric, e.Step, percent(evalValue(v.spec.Eval.Metric, e.Stats))))
	case "checkpoint":
		if !v.live {
			v.print(fmt.Sprintf("checkpoint at step %d", e.Step))
		}
	case "restore", "warning":
		v.print(e.Kind + ": " + e.Text)
	}
}

// evalValue is the metric's value: accuracy and avg@N are the mean share of right
// answers.
func evalValue(metric string, m grouse.Metrics) float64 {
	if x, ok := m["eval/"+metric]; ok {
		return x
	}
	return m["eval/accuracy"]
}

func (v *view) stageName(i int) string {
	if i < 0 || i >= len(v.spec.Stages) {
		return ""
	}
	return v.spec.Stages[i].Name
}

// enter begins the screen of a stage.
func (v *view) enter(stage int) {
	if stage == v.stage {
		return
	}
	v.leave()
	v.stage = stage
	s := v.spec.Stages[stage]
	what := map[grouse.StageKind]string{grouse.StageSFT: "supervised fine-tuning on worked examples", grouse.StageRL: "reinforcement learning (GRPO)", grouse.StageRejectionSampling: "rejection sampling"}[s.Kind]
	v.print(fmt.Sprintf("── %s: %s, %d steps", s.Name, what, s.Steps))
	v.rewards = nil
	if !v.live {
		return
	}
	v.progress = mpb.New(mpb.WithOutput(v.a.stderr), mpb.WithWidth(40), mpb.WithRefreshRate(150*time.Millisecond))
	v.bar = v.progress.New(int64(s.Steps), mpb.BarStyle().Lbound("").Filler("█").Tip("█").Padding("░").Rbound(""),
		mpb.PrependDecorators(decor.Name(s.Name+" "), decor.CountersNoUnit("%d/%d ")),
		mpb.AppendDecorators(decor.Name(" "), decor.OnComplete(decor.AverageETA(decor.ET_STYLE_MMSS), "done"), decor.Name(" left")))
	below := 4
	if s.Kind == grouse.StageSFT {
		below = 1
	}
	v.lines, v.text = make([]string, below), nil
	for i := range below {
		v.text = append(v.text, v.progress.New(0, mpb.NopStyle(), mpb.PrependDecorators(decor.Any(func(decor.Statistics) string {
			v.mu.Lock()
			defer v.mu.Unlock()
			return v.lines[i]
		}))))
	}
}

// leave ends the screen of a stage.
func (v *view) leave() {
	if v.progress == nil {
		return
	}
	p, bars := v.progress, append([]*mpb.Bar{v.bar}, v.text...)
	v.progress, v.bar, v.text = nil, nil, nil
	v.mu.Unlock() // the lines below the bar take the lock
	for _, b := range bars {
		if !b.Completed() {
			b.Abort(false)
		}
	}
	p.Wait()
	v.mu.Lock()
}

// show is a step's numbers.
func (v *view) show(e activities.Event) {
	m := e.Stats
	s := v.spec.Stages[e.Stage]
	var text string
	if e.Kind == "sft" {
		text = fmt.Sprintf("loss %.4f · grad %.2f · lr %.2g", m["loss"], m["grad_norm"], m["learning_rate"])
	} else {
		v.rewards = append(v.rewards, m["reward"])
		text = fmt.Sprintf("reward %.3f", m["reward"])
		if kl, ok := m["kl"]; ok {
			text += fmt.Sprintf(" · kl %.4f", kl)
		}
		text += fmt.Sprintf(" · entropy %.3f · length %.1f · grad %.2f", m["entropy"], m["completions/mean_length"], m["grad_norm"])
		if t := e.Times["step_time"]; t > 0 {
			text += fmt.Sprintf(" · %.2f s", t)
		}
	}
	if !v.live {
		v.print(fmt.Sprintf("%s %d/%d · %s", s.Name, e.Step, s.Steps, text))
		return
	}
	v.lines[0] = "  " + text
	if e.Kind == "step" {
		v.lines[1], v.lines[2] = "  "+sparkline(v.rewards, 60)+"  reward", "  "+spent(e.Times)
		if sample := sampleOf(e); sample != "" {
			v.lines[3] = "  " + sample
		}
	}
	v.bar.SetCurrent(e.Step)
}

// sampleOf is one completion of every tenth step.
func sampleOf(e activities.Event) string {
	if e.Step%10 != 1 || len(e.Groups) == 0 || len(e.Groups[0].Group.Rollouts) == 0 {
		return ""
	}
	g := e.Groups[0]
	text := visible(g.Group.Rollouts[0].Text)
	if len(text) > 90 {
		text = strings.ToValidUTF8(text[:90], "") + "…"
	}
	reward := 0.0
	if g.Scores[0].Reward != nil {
		reward = *g.Scores[0].Reward
	}
	return fmt.Sprintf("sample %s: %s  (reward %.2f)", g.Group.Prompt.RowID, text, reward)
}

// visible makes control characters of model output harmless on a terminal.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if r < 0x20 || (r >= 0x7f && r < 0xa0) || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069) {
			return '�'
		}
		return r
	}, s)
}

// spent says where the time of a step went.
func spent(t grouse.Metrics) string {
	var parts []string
	for _, p := range [][2]string{{"time/sample_s", "generate"}, {"time/score_s", "score"}, {"time/train_s", "train"}, {"time/orchestration_s", "orchestration"}} {
		if v, ok := t[p[0]]; ok {
			parts = append(parts, fmt.Sprintf("%s %.2f s", p[1], v))
		}
	}
	if v, ok := t["tokens_per_s"]; ok {
		parts = append(parts, fmt.Sprintf("%.0f tokens/s", v))
	}
	return strings.Join(parts, " · ")
}

func percent(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) }

// sparkline draws the last n values, averaged to fit.
func sparkline(values []float64, n int) string {
	if len(values) == 0 {
		return ""
	}
	per := (len(values) + n - 1) / n
	var cells []float64
	for i := 0; i < len(values); i += per {
		sum, k := 0.0, 0
		for _, v := range values[i:min(len(values), i+per)] {
			sum, k = sum+v, k+1
		}
		cells = append(cells, sum/float64(k))
	}
	lo, hi := cells[0], cells[0]
	for _, c := range cells {
		lo, hi = min(lo, c), max(hi, c)
	}
	ticks := []rune("▁▂▃▄▅▆▇█")
	var b strings.Builder
	for _, c := range cells {
		i := 0
		if hi > lo {
			i = int((c - lo) / (hi - lo) * float64(len(ticks)-1))
		}
		b.WriteRune(ticks[i])
	}
	return b.String()
}

// status tells, when nothing was heard for half a minute, what the run waits for.
func (v *view) status(c client.Client, id string) {
	v.mu.Lock()
	quiet := time.Since(v.quietFor) > 30*time.Second
	if quiet {
		v.quietFor = time.Now()
	}
	v.mu.Unlock()
	if !quiet {
		return
	}
	ctx, cancel := context.WithTimeout(v.a.ctx, 5*time.Second)
	defer cancel()
	var s workflows.Status
	if q, err := c.QueryWorkflow(ctx, id, "", workflows.QueryStatus); err == nil && q.Get(&s) == nil {
		line := "still at: " + s.Doing
		if s.Waiting != "" {
			line += ", waiting for " + s.Waiting
		}
		if s.State == workflows.StatePaused {
			line = "paused: " + s.Reason
		}
		v.say("%s", line)
	}
}

// finish prints what a run came to.
func (v *view) finish(d done) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.leave()
	v.finished = true
	if v.asJSON {
		v.out(d)
		return
	}
	metric := v.spec.Eval.Metric
	before, after := d.Eval["before"][metric], d.Eval["after"][metric]
	line := fmt.Sprintf("done: %d steps in %s", d.Steps, time.Since(v.began).Round(time.Second))
	if b, ok := before.(float64); ok {
		if a, ok := after.(float64); ok {
			line += fmt.Sprintf(" · held-out %s %s → %s", metric, percent(b), percent(a))
		}
	}
	v.print(line)
	v.print("  weights  " + d.WeightsSHA256)
	v.print("  chain    " + d.Chain)
	v.print("  talk to it: grouse chat " + d.Run + "    look at it: grouse show " + d.Run)
}

func (v *view) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.leave()
}
