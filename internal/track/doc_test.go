package track_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse/internal/config"
	"github.com/grouse-rl/grouse/internal/track"
)

// The recipe on the cookbook's page is one, and the page names every tracker.
func TestCookbook(t *testing.T) {
	raw, err := os.ReadFile("../../docs/cookbook/trackers.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	_, block, _ := strings.Cut(page, "```yaml\n")
	block, _, ok := strings.Cut(block, "```")
	if !ok {
		t.Fatal("no yaml block")
	}
	r, err := config.Parse([]byte("model: ./m\ndomains: {d: {data: x.jsonl, rewards: [math]}}\n"+block), "page", config.Options{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	var used []string
	for _, s := range r.Spec.Trackers {
		used = append(used, s.Use)
	}
	if !reflect.DeepEqual(used, track.Names) {
		t.Errorf("the page uses %v, there are %v", used, track.Names)
	}
	for use, keys := range track.Parameters() {
		_, row, _ := strings.Cut(page, "| `"+use+"` |")
		row, _, _ = strings.Cut(row, "\n")
		for _, key := range keys {
			if !strings.Contains(row, "`"+key+"`") {
				t.Errorf("the row of %s does not name %s", use, key)
			}
		}
	}
}
