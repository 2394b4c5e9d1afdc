package grpo_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse/trainer/grpo"
)

var rewrite = flag.Bool("rewrite", false, "write the metrics table of docs/algorithms.md")

// The table at the end of docs/algorithms.md is grpo.Metrics.
func TestMetricsAreDocumented(t *testing.T) {
	const path, heading = "../../docs/algorithms.md", "| metric | formula | unit | name |\n"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(data), heading)
	var b strings.Builder
	b.WriteString(text + heading + "|---|---|---|---|\n")
	for _, m := range grpo.Metrics {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, strings.ReplaceAll(m.Formula, "|", `\|`), m.Unit, m.Source)
	}
	if *rewrite {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if b.String() != string(data) {
		t.Errorf("%s does not show grpo.Metrics: go test ./trainer/grpo -run TestMetricsAreDocumented -rewrite", path)
	}
}
