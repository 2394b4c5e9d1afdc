// Command NAME is a reward in Go: a command that reads a line of JSON for each group
// and writes one. In a recipe:
//
//	rewards: [{use: exec, name: NAME, command: [./NAME]}]
//
// Build and try it:
//
//	go mod edit -replace github.com/grouse-rl/grouse=PATH_OF_A_CHECKOUT && go mod tidy
//	go test . && go build -o NAME . && grouse reward test ./NAME --data cases.jsonl
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/jsonapi"
)

// Reward is 1 if the completion ends with the column answer, else 0. It returns an
// error where a completion cannot be judged, never 0 for that.
var Reward = rewards.Func(func(_ context.Context, s rewards.Sample) (float64, error) {
	want, err := s.Text("answer")
	if err != nil {
		return 0, err
	}
	if strings.HasSuffix(strings.TrimSpace(s.Completion), want) {
		return 1, nil
	}
	return 0, nil
})

func main() {
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) == 0 && err != nil {
			return
		}
		answer, err := jsonapi.ServeLine(context.Background(), Reward, line)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Printf("%s\n", answer)
	}
}
