package sandbox

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"
)

// watchEvery is how often a tree's memory is looked at where no control group
// counts it. Between two looks a tree can grow by what the machine's memory takes
// in that time, some hundred megabytes.
const watchEvery = 20 * time.Millisecond

// watchMemory calls over when the processes below pid hold more than limit bytes
// together. The function it returns ends the watch.
func watchMemory(pid int, limit int64, over func()) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(watchEvery)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				if treeMemory(pid, 0) > limit {
					over()
					return
				}
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// treeMemory sums the resident memory that is not shared with files, of pid and its
// descendants. A deeper tree than any limit of processes allows is not walked.
func treeMemory(pid, depth int) int64 {
	dir := "/proc/" + strconv.Itoa(pid)
	var sum int64
	if data, err := os.ReadFile(dir + "/statm"); err == nil { // pages: size, resident, shared
		f := bytes.Fields(data)
		if len(f) > 2 {
			resident, _ := strconv.ParseInt(string(f[1]), 10, 64)
			shared, _ := strconv.ParseInt(string(f[2]), 10, 64)
			sum = (resident - shared) * int64(os.Getpagesize())
		}
	}
	tasks, err := os.ReadDir(dir + "/task")
	if err != nil || depth > 4096 {
		return sum
	}
	for _, t := range tasks {
		data, err := os.ReadFile(dir + "/task/" + t.Name() + "/children")
		if err != nil {
			continue
		}
		for _, child := range strings.Fields(string(data)) {
			if id, err := strconv.Atoi(child); err == nil {
				sum += treeMemory(id, depth+1)
			}
		}
	}
	return sum
}
