package workflows

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/grouse-rl/grouse"
)

// Search attributes: what the Web UI's list and `grouse ls` filter by.
var (
	AttributeRecipe = temporal.NewSearchAttributeKeyKeyword("GrouseRecipe")
	AttributeStage  = temporal.NewSearchAttributeKeyKeyword("GrouseStage")
	AttributeState  = temporal.NewSearchAttributeKeyKeyword("GrouseState")
	AttributeStep   = temporal.NewSearchAttributeKeyInt64("GrouseStep")
	AttributeReward = temporal.NewSearchAttributeKeyFloat64("GrouseReward")
)

// finished tells of a finished step: a row in the tables, search attributes, a
// line in the timeline.
func (r *run) finished(ctx workflow.Context, row StepRow) error {
	r.Rows = append(r.Rows, row)
	if extra := len(r.Rows) - keptRows; extra > 0 {
		r.Rows = append([]StepRow(nil), r.Rows[extra:]...)
	}
	if err := r.tell(ctx); err != nil {
		return err
	}
	return r.note(ctx, r.name(row.Step)+" · "+outcome(row.Stats))
}

// note puts a line into the timeline: a summary tells what was planned, this
// what came of it.
func (r *run) note(ctx workflow.Context, text string) error {
	var told bool
	return workflow.SideEffectWithOptions(ctx, workflow.SideEffectOptions{Summary: text}, func(workflow.Context) any { return true }).Get(&told)
}

// outcome is a step in a few words: "reward .40 kl .004 loss .031".
func outcome(stats grouse.Metrics) string {
	var words []string
	for _, name := range []string{"reward", "kl", "loss"} {
		if v, ok := stats[name]; ok {
			words = append(words, name+" "+short(v))
		}
	}
	if len(words) == 0 {
		return "done"
	}
	return strings.Join(words, " ")
}

// short writes a number with two significant digits or two decimals, without
// the zero before the point.
func short(v float64) string {
	a := math.Abs(v)
	var s string
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return fmt.Sprint(v)
	case a == 0:
		return "0"
	case a < 0.0005:
		return fmt.Sprintf("%.1e", v)
	case a < 0.1:
		s = fmt.Sprintf("%.3f", v)
	default:
		s = fmt.Sprintf("%.2f", v)
	}
	return strings.Replace(s, "0.", ".", 1)
}

// tell updates what the Web UI shows of the run.
func (r *run) tell(ctx workflow.Context) error {
	workflow.SetCurrentDetails(ctx, r.details())
	if !r.SearchAttributes {
		return nil
	}
	set := []temporal.SearchAttributeUpdate{
		AttributeRecipe.ValueSet(r.Spec.Recipe), AttributeStage.ValueSet(r.stage().Name),
		AttributeState.ValueSet(r.State), AttributeStep.ValueSet(r.status().Step),
	}
	if n := len(r.Rows); n > 0 {
		if reward, ok := r.Rows[n-1].Stats["reward"]; ok && !math.IsNaN(reward) && !math.IsInf(reward, 0) {
			set = append(set, AttributeReward.ValueSet(math.Round(reward*1000)/1000))
		}
	}
	return workflow.UpsertTypedSearchAttributes(ctx, set...)
}

// details is the page's text: few blocks, the table in fixed width first. The
// Web UI pads no Markdown table and turns 9/5000 into a fraction.
func (r *run) details() string {
	var b strings.Builder
	s := r.status()
	b.WriteString("```\n")
	b.WriteString(fmt.Sprintf("%s · recipe %s · %s\n", s.Run, s.Recipe, s.State))
	b.WriteString(fmt.Sprintf("stage %s (%d of %d) · step %d of %d · chain %.8s\n", s.StageName, s.Stage+1, s.Stages, s.Step, s.Steps, r.Policy.Chain))
	if s.Reason != "" {
		b.WriteString(fmt.Sprintf("paused: %s\n", s.Reason))
	}
	for _, e := range r.Evals {
		b.WriteString(fmt.Sprintf("eval at step %d: %s %.3f on %d prompts\n", e.Step, e.Metric, e.Value, e.Prompts))
	}
	if len(r.Rows) > 0 {
		b.WriteString(table(r.Rows))
		if _, ok := r.Rows[len(r.Rows)-1].Stats["reward"]; ok {
			b.WriteString(fmt.Sprintf("\nreward %s\n", sparkline(r.Rows, "reward")))
		}
	}
	b.WriteString("```\n")
	return b.String()
}

// tableColumns are what the table can show. Those that no row has are left out;
// the page has room for some sixty characters.
var tableColumns = []struct{ title, name string }{
	{"reward", "reward"}, {"kl", "kl"}, {"entropy", "entropy"}, {"loss", "loss"},
	{"length", "completions/mean_length"}, {"s", "step_time"}, {"orch s", "time/orchestration_s"},
}

// table is the rows in fixed width, one line each.
func table(rows []StepRow) string {
	value := func(row StepRow, name string) (float64, bool) {
		v, ok := row.Stats[name]
		if !ok {
			v, ok = row.Times[name]
		}
		return v, ok
	}
	var b strings.Builder
	b.WriteString(fmt.Sprintf("\n%6s", "step"))
	var shown []string
	for _, c := range tableColumns {
		if slices.ContainsFunc(rows, func(row StepRow) bool { _, ok := value(row, c.name); return ok }) {
			b.WriteString(fmt.Sprintf("%8s", c.title))
			shown = append(shown, c.name)
		}
	}
	for _, row := range rows {
		b.WriteString(fmt.Sprintf("\n%6d", row.Step))
		for _, name := range shown {
			text := ""
			if v, ok := value(row, name); ok {
				if text = short(v); len(text) > 7 {
					text = fmt.Sprintf("%.0e", v)
				}
			}
			b.WriteString(fmt.Sprintf("%8s", text))
		}
	}
	b.WriteString("\n")
	return b.String()
}

// sparkline draws a metric of the rows, lowest to highest.
func sparkline(rows []StepRow, name string) string {
	marks := []rune("▁▂▃▄▅▆▇█")
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, row := range rows {
		if v, ok := row.Stats[name]; ok && !math.IsNaN(v) {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	var b strings.Builder
	for _, row := range rows {
		v, ok := row.Stats[name]
		switch {
		case !ok || math.IsNaN(v) || math.IsInf(v, 0):
			b.WriteRune(' ')
		case hi-lo <= 0 || math.IsInf(hi-lo, 0):
			b.WriteRune(marks[0])
		default:
			b.WriteRune(marks[int((v-lo)/(hi-lo)*float64(len(marks)-1))])
		}
	}
	return b.String()
}
