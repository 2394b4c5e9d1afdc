package activities

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/grouse-rl/grouse"
)

// RewardStat is what judging with one reward cost and how it went. It is told, never
// decided by.
type RewardStat struct {
	Name    string         `json:"name"` // as metrics show it
	Groups  int            `json:"groups"`
	Seconds float64        `json:"seconds"` // of all groups together, retries included
	Slowest float64        `json:"slowest"` // group, seconds
	Errors  map[string]int `json:"errors,omitempty"`
}

// MergeRewardStats adds what b tells to a, by name. Both are in order of names, and so
// is the result.
func MergeRewardStats(a, b []RewardStat) []RewardStat {
	out := slices.Clone(a)
	for _, s := range b {
		i, found := slices.BinarySearchFunc(out, s.Name, func(x RewardStat, name string) int { return strings.Compare(x.Name, name) })
		if !found {
			out = slices.Insert(out, i, s)
			continue
		}
		t := &out[i]
		t.Groups, t.Seconds, t.Slowest = t.Groups+s.Groups, t.Seconds+s.Seconds, max(t.Slowest, s.Slowest)
		errors := map[string]int{}
		for _, kind := range outcomes {
			if n := t.Errors[string(kind)] + s.Errors[string(kind)]; n > 0 {
				errors[string(kind)] = n
			}
		}
		t.Errors = errors
	}
	return out
}

// outcomes are the ways in which judging fails.
var outcomes = []grouse.Outcome{grouse.Errored, grouse.TimedOut, grouse.OOM, grouse.OutOfFuel, grouse.BadOutput}

// rewardTimes are the metrics of rewards: the mean and the longest time of a group, and
// the share of groups that each kind of error befell.
func rewardTimes(stats []RewardStat, into grouse.Metrics) {
	for _, s := range stats {
		if s.Groups == 0 {
			continue
		}
		into["time/reward/"+s.Name+"_s"] = s.Seconds / float64(s.Groups)
		into["time/reward/"+s.Name+"_max_s"] = s.Slowest
		for _, kind := range outcomes {
			into["rewards/"+s.Name+"/errors/"+string(kind)] = float64(s.Errors[string(kind)]) / float64(s.Groups)
		}
	}
}

// rewardMeter collects RewardStats from any goroutine.
type rewardMeter struct {
	mu    sync.Mutex
	stats []RewardStat
}

func (m *rewardMeter) observe(name string, took time.Duration, outcome grouse.Outcome) {
	s := RewardStat{Name: name, Groups: 1, Seconds: took.Seconds(), Slowest: took.Seconds()}
	if outcome != grouse.Scored {
		s.Errors = map[string]int{string(outcome): 1}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats = MergeRewardStats(m.stats, []RewardStat{s})
}
