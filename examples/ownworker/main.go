// Command ownworker is a reward in a program of your own, compiled, with a Temporal
// worker that serves it: the run's processes need not know it. In the recipe:
//
//	rewards: [{use: activity, worker: words}]
//
// Then, beside `grouse run` (whose first lines say where its Temporal listens) or
// `grouse serve`:
//
//	go run ./examples/ownworker -temporal 127.0.0.1:7233
//
// It uses public packages only, so it may lie in any module. As many of them as you
// like may run, on any machine; one that is killed is missed by nobody.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"strings"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/jsonapi"
)

// WordLimit scores 1 if the answer has at most limit words, and less the longer it is,
// down to 0 at twice the limit.
func WordLimit(limit int) rewards.Reward {
	return rewards.Each(func(_ context.Context, s rewards.Sample) (rewards.Result, error) {
		n := len(strings.Fields(s.Answer))
		over := float64(max(n-limit, 0)) / float64(limit)
		r := rewards.Value(max(1-over, 0), fmt.Sprintf("%d words of %d", n, limit))
		r.Numbers = map[string]float64{"words": float64(n)}
		return r, nil
	})
}

// Queue is the task queue of a worker's name in a recipe.
func Queue(name string) string { return "grouse-reward-" + name }

// Start serves a reward under a name until the worker is stopped.
func Start(c client.Client, name string, reward rewards.Reward) (worker.Worker, error) {
	w := worker.New(c, Queue(name), worker.Options{DisableWorkflowWorker: true})
	judge := func(ctx context.Context, group jsonapi.Request) (jsonapi.Answer, error) {
		return jsonapi.Serve(ctx, reward, group), nil
	}
	w.RegisterActivityWithOptions(judge, activity.RegisterOptions{Name: "judge"})
	return w, w.Start()
}

func main() {
	address := flag.String("temporal", client.DefaultHostPort, "Temporal frontend")
	namespace := flag.String("namespace", client.DefaultNamespace, "Temporal namespace")
	limit := flag.Int("words", 50, "how many words an answer may have")
	flag.Parse()
	c, err := client.Dial(client.Options{HostPort: *address, Namespace: *namespace})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	w, err := Start(c, "words", WordLimit(*limit))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("serving", Queue("words"))
	<-worker.InterruptCh()
	w.Stop()
}
