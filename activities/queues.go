package activities

// Task queues.
const (
	WorkflowQueue = "grouse-workflows"
	RolloutQueue  = "grouse-rollout"
	RewardQueue   = "grouse-reward"
)

// TrainQueue is the queue of the one worker that owns a run's folder.
func TrainQueue(run string) string { return "grouse-train-" + run }

// RewardQueueOf is the queue of a worker that serves the named rewards only.
func RewardQueueOf(name string) string { return RewardQueue + "-" + name }
