package worker

import (
	"sync"

	"github.com/grouse-rl/grouse"
)

// store keeps the published policies of a process's runs: what the trainer made
// and samplers use, without a copy where nobody changes it in between.
type store struct {
	mu   sync.Mutex
	runs map[string][]published
}

type published struct {
	ref    grouse.PolicyRef
	policy *Policy
}

// put publishes a policy and keeps the newest keep of its stage.
func (s *store) put(run string, ref grouse.PolicyRef, p *Policy, keep int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.runs == nil {
		s.runs = map[string][]published{}
	}
	var list []published
	for _, have := range s.runs[run] {
		if have.ref.Stage == ref.Stage && have.ref != ref {
			list = append(list, have)
		}
	}
	list = append(list, published{ref, p})
	s.runs[run] = list[max(0, len(list)-keep):]
}

// get returns a published policy, of any chain if ref has none, NotFound if it
// is not here.
func (s *store) get(run string, ref grouse.PolicyRef) (*Policy, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, have := range s.runs[run] {
		if have.ref == ref || ref.Chain == "" && have.ref.Stage == ref.Stage && have.ref.Version == ref.Version {
			return have.policy, nil
		}
	}
	return nil, grouse.Errorf(grouse.NotFound, "run %s: stage %d, version %d of the policy is not in this process", run, ref.Stage, ref.Version)
}

// drop forgets a run.
func (s *store) drop(run string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.runs, run)
}
