package worker

import "strings"

// difference shows the lines that two texts do not share, the first dozen.
func difference(old, now string) string {
	count := map[string]int{}
	for _, l := range strings.Split(old, "\n") {
		count[l]++
	}
	var added []string
	for _, l := range strings.Split(now, "\n") {
		if count[l] > 0 {
			count[l]--
		} else {
			added = append(added, "  + "+strings.TrimSpace(l))
		}
	}
	var out []string
	for _, l := range strings.Split(old, "\n") {
		if count[l] > 0 {
			count[l]--
			out = append(out, "  - "+strings.TrimSpace(l))
		}
	}
	out = append(out, added...)
	if len(out) > 12 {
		out = append(out[:12], "  ...")
	}
	return strings.Join(out, "\n")
}
