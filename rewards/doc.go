// Package rewards is the contract of everything that judges completions, and the
// glue around it: registry, weights and gates, deadlines, and the check that what
// a judge returns is a score.
//
// A Reward gets a Group (a prompt, its completions, every column of the data row)
// and returns a Result for each completion: a value or no opinion, named numbers,
// and a short explanation for the viewer. "Could not be judged" is an error, never
// 0: a broken verifier must not look like a wrong answer.
//
// The smallest reward is a Func:
//
//	func WordLimit(limit int) rewards.Func {
//		return func(_ context.Context, s rewards.Sample) (float64, error) {
//			if len(strings.Fields(s.Completion)) > limit {
//				return 0, nil
//			}
//			return 1, nil
//		}
//	}
//
// A Registry names rewards for recipes; package builtin fills one with ours. A
// Composite runs a domain's rewards with their deadlines and makes one grouse.Score
// per completion. Package rewardtest holds the checks that every reward runs.
//
// This package imports the root package and the standard library only: whatever a
// built-in reward does, a reward in somebody's own module can do.
package rewards
