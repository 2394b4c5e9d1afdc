package proof_test

import (
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards/proof"
	"github.com/grouse-rl/grouse/rewards/rewardtest"
)

const (
	verif = "Here is my evaluation of the solution:\nAll steps hold.\n\nBased on my evaluation, the final overall score should be:\n"
	meta  = "Here is my analysis of the \"solution evaluation\":\nThe defect exists.\nBased on my analysis, I will rate the \"solution evaluation\" as: \\boxed{0.5}"
)

func TestParseVerifier(t *testing.T) {
	for _, c := range []struct {
		name, text string
		score      float64
		ok         bool
	}{
		{"one", verif + `\boxed{1}`, 1, true}, {"1.0", verif + `\boxed{1.0}`, 1, true}, {"half", verif + `\boxed{0.5}`, 0.5, true}, {"last box", verif + `\boxed{0} no: \boxed{1}`, 1, true},
		{"other score", verif + `\boxed{0.7}`, 0, false}, {"empty box", verif + `\boxed{}`, 0, false}, {"no box", verif, 0, false}, {"unclosed thinking", "<think>" + verif + `\boxed{1}`, 0, false},
		{"box before the phrase only", `Here is my evaluation of the solution: \boxed{1} Based on my evaluation, the final overall score should be:`, 0, false},
		{"phrases the other way around", `Based on my evaluation, the final overall score should be: \boxed{1} Here is my evaluation of the solution:`, 0, false}, {"hexadecimal", verif + `\boxed{0x1p0}`, 0, false},
	} {
		e, ok := proof.ParseVerifier(c.text)
		if ok != c.ok || ok && e.Score != c.score {
			t.Errorf("%s: %+v, %v; want %v, %v", c.name, e, ok, c.score, c.ok)
		}
	}
	if e, ok := proof.ParseMeta(meta); !ok || e.Score != 0.5 || e.Text != "The defect exists." {
		t.Errorf("meta: %+v, %v", e, ok)
	}
}

func TestParseGenerator(t *testing.T) {
	good := "## Solution\nProof.\n\n## Self Evaluation\n\n" + verif + `\boxed{1}`
	for _, c := range []struct {
		name, text string
		ok         bool
	}{
		{"good", good, true}, {"words before", "intro\n" + good, true}, {"bold", "**Solution**\nProof.\n**Self Evaluation**\n" + verif + `\boxed{0}`, true},
		{"titles the other way around", "## Self Evaluation\n" + verif + "\\boxed{1}\n## Solution\nProof.", false}, {"title within a line", "So ## Solution\nProof.\n## Self Evaluation\n" + verif + `\boxed{1}`, false},
	} {
		g, ok := proof.ParseGenerator(c.text)
		if ok != c.ok || ok && g.Proof != "Proof." {
			t.Errorf("%s: %+v, %v; want %v", c.name, g, ok, c.ok)
		}
	}
}

// The paper's remark: an honest 0 on a wrong proof beats a false 1.
func TestPaperHonestyPays(t *testing.T) {
	honest := proof.GeneratorReward(true, proof.Alpha, proof.Beta, 0, 0, 1)
	boast := proof.GeneratorReward(true, proof.Alpha, proof.Beta, 0, 1, 1)
	right := proof.GeneratorReward(true, proof.Alpha, proof.Beta, 1, 1, 1)
	if honest != 0.24 || boast != 0 || right != 1 {
		t.Errorf("honest %v, boast %v, right %v; want 0.24, 0, 1", honest, boast, right)
	}
}

func TestReward(t *testing.T) {
	r, err := proof.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	row := func(score any) map[string]any { return map[string]any{"score": score} }
	rewardtest.Run(t, r,
		rewardtest.Case{Name: "true score", Columns: row(1.0), Completion: verif + `\boxed{1}`, Want: 1},
		rewardtest.Case{Name: "half off", Columns: row("0.5"), Completion: verif + `\boxed{1}`, Want: 0.5},
		rewardtest.Case{Name: "opposite", Columns: row(0.0), Completion: verif + `\boxed{1}`, Want: 0},
		rewardtest.Case{Name: "wrong format", Columns: row(1.0), Completion: "1", Want: 0},
		rewardtest.Case{Name: "truncated", Columns: row(1.0), Completion: verif + `\boxed{1}`, Finish: grouse.FinishLength, Want: 0},
		rewardtest.Case{Name: "no score", Columns: row("good"), Completion: "", Error: "not a score"})
	r, err = proof.New(map[string]any{"role": "meta"})
	if err != nil {
		t.Fatal(err)
	}
	rewardtest.Run(t, r, rewardtest.Case{Name: "meta", Columns: row(0.5), Completion: meta, Want: 1}, rewardtest.Case{Name: "a verifier's phrases", Columns: row(1.0), Completion: verif + `\boxed{1}`, Want: 0})
	if _, err := proof.New(map[string]any{"role": "generator"}); grouse.KindOf(err) != grouse.Invalid || grouse.FixOf(err) == "" {
		t.Errorf("role generator: %v", err)
	}
}

func FuzzParseGenerator(f *testing.F) {
	f.Add("## Solution\nProof.\n\n## Self Evaluation\n\n" + verif + `\boxed{1}`)
	f.Add("**Solution**\n**Self Evaluation**")
	f.Fuzz(func(t *testing.T, text string) {
		if g, ok := proof.ParseGenerator(text); ok && g.Self.Score != 0 && g.Self.Score != 0.5 && g.Self.Score != 1 {
			t.Fatalf("score %v", g.Self.Score)
		}
	})
}
