package grouse

// Outcome is what became of judging one completion.
type Outcome string

const (
	Scored    Outcome = "scored"      // there is a value, or every reward had no opinion (then Reward is nil)
	Errored   Outcome = "error"       // the reward failed
	TimedOut  Outcome = "timeout"     // it passed its deadline and was killed
	OOM       Outcome = "oom"         // it ran out of its memory limit
	OutOfFuel Outcome = "out_of_fuel" // it passed its number of instructions
	BadOutput Outcome = "bad_output"  // it answered something that is not a score
)

// Score is what the rewards made of one rollout. A Score whose Outcome is not
// Scored fails its whole group: it is never a reward of 0.
type Score struct {
	Sample      uint16             `json:"sample"`
	Reward      *float64           `json:"reward"`                // weighted sum of the parts; nil: no opinion
	Parts       map[string]float64 `json:"parts,omitempty"`       // unweighted value of each reward that had an opinion, and named numbers as "reward/name"
	Outcome     Outcome            `json:"outcome"`               //
	Correct     *bool              `json:"correct,omitempty"`     // verdict of the outcome reward, if there is one
	Explanation string             `json:"explanation,omitempty"` // for the viewer
	Failure     string             `json:"failure,omitempty"`     // why Outcome is not Scored
}
