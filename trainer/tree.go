package trainer

import (
	"slices"

	"github.com/grouse-rl/grouse"
)

// tree is a group's rollouts with what they have in common laid out once: the prompt,
// and every beginning that some of them share. A row's hidden state depends on the
// tokens up to it and nothing else, so it is the same bits for each of them; its
// gradient is the sum over what continues it, in order.
type tree struct {
	segs []segment // a segment stands before those that continue it
	rows int
	at   [][]int32 // at[i][p]: the row of position p of rollout i, prompt included
}

// segment is a run of tokens without a branch.
type segment struct {
	ids     []int32
	prefix  int     // the segment it continues; -1: none
	experts []int16 // as recorded, which may be less than all rows or nothing
}

// path is what a rollout feeds to the model: prompt and response but its last token.
type path struct {
	ids     []int32
	experts []int16 // [rows, width]
}

// plant grows the tree of some paths. With kept routing (width > 0 experts a row) rows
// are shared if their experts are the same too: our engine's are, another engine may
// have computed a prompt several times and not always alike.
func plant(paths []path, width int) *tree {
	t := &tree{at: make([][]int32, len(paths))}
	all := make([]int, len(paths))
	for i := range paths {
		all[i], t.at[i] = i, make([]int32, 0, len(paths[i].ids))
	}
	t.grow(paths, width, all, 0, -1)
	return t
}

// grow adds what the members, alike before position p, have from there on.
func (t *tree) grow(paths []path, width int, members []int, p, prefix int) {
	longer := func(from []int, p int) (out []int) {
		for _, i := range from {
			if len(paths[i].ids) > p {
				out = append(out, i)
			}
		}
		return out
	}
	alike := func(i, j, p int) bool {
		return paths[i].ids[p] == paths[j].ids[p] && slices.Equal(paths[i].expertsAt(p, p+1, width), paths[j].expertsAt(p, p+1, width))
	}
	for members = longer(members, p); len(members) > 0; {
		var same, others []int
		for _, i := range members {
			if alike(members[0], i, p) {
				same = append(same, i)
			} else {
				others = append(others, i)
			}
		}
		longest, end := same[0], p+1 // who ends on the way does not end the segment
		for on := longer(same, end); len(on) > 0; on = longer(on, end) {
			if slices.ContainsFunc(on, func(i int) bool { return !alike(on[0], i, end) }) {
				break
			}
			longest = on[0]
			end++
		}
		for _, i := range same {
			for q := p; q < min(end, len(paths[i].ids)); q++ {
				t.at[i] = append(t.at[i], int32(t.rows+q-p))
			}
		}
		t.segs = append(t.segs, segment{paths[longest].ids[p:end], prefix, paths[longest].expertsAt(p, end, width)})
		t.rows += end - p
		t.grow(paths, width, same, end, len(t.segs)-1)
		members = others
	}
}

// expertsAt returns what is recorded of rows p..q-1.
func (x *path) expertsAt(p, q, width int) []int16 {
	n := len(x.experts)
	return x.experts[min(p*width, n):min(q*width, n)]
}

// treeOf plants a group's rollouts.
func treeOf(g *grouse.Group, width int) *tree {
	paths := make([]path, len(g.Rollouts))
	for i := range g.Rollouts {
		r := &g.Rollouts[i]
		paths[i] = path{ids: slices.Concat(g.Prompt.TokenIDs, r.ResponseIDs[:max(0, len(r.ResponseIDs)-1)])}
		if width > 0 {
			paths[i].experts = r.Routing.Experts
		}
	}
	return plant(paths, width)
}

func treesOf(groups []grouse.ScoredGroup, width int) []*tree {
	out := make([]*tree, len(groups))
	for i := range groups {
		out[i] = treeOf(&groups[i].Group, width)
	}
	return out
}

// rowsOf is how many rows trees take.
func rowsOf(trees []*tree) int {
	rows := 0
	for _, t := range trees {
		rows += t.rows
	}
	return rows
}
