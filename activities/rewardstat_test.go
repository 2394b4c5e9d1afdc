package activities_test

import (
	"reflect"
	"testing"

	"github.com/grouse-rl/grouse/activities"
)

func TestMergeRewardStats(t *testing.T) {
	a := []activities.RewardStat{{Name: "b", Groups: 2, Seconds: 3, Slowest: 2, Errors: map[string]int{"timeout": 1}}}
	b := []activities.RewardStat{{Name: "a", Groups: 1, Seconds: 1, Slowest: 1}, {Name: "b", Groups: 1, Seconds: 1, Slowest: 1, Errors: map[string]int{"timeout": 1, "oom": 1}}}
	want := []activities.RewardStat{{Name: "a", Groups: 1, Seconds: 1, Slowest: 1}, {Name: "b", Groups: 3, Seconds: 4, Slowest: 2, Errors: map[string]int{"timeout": 2, "oom": 1}}}
	if got := activities.MergeRewardStats(a, b); !reflect.DeepEqual(got, want) {
		t.Errorf("merged %+v, want %+v", got, want)
	}
	if a[0].Groups != 2 {
		t.Error("an argument was changed")
	}
}
