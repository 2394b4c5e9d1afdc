package config

import (
	"slices"
	"strings"
)

// normalize brings the merged tree into RunSpec's shape: the short forms of
// recipes become the long ones.
func normalize(run *value) error {
	if err := normalizeModel(run); err != nil {
		return err
	}
	if ev := run.fields["eval"]; ev != nil && ev.fields != nil {
		sampling(ev)
		if d := ev.fields["data"]; d != nil {
			ev.set("data", data(d))
		}
		if err := rewards(ev); err != nil {
			return err
		}
	}
	if err := trackers(run); err != nil {
		return err
	}
	for _, s := range run.fields["stages"].items {
		if err := normalizeStage(s); err != nil {
			return err
		}
	}
	return nil
}

// normalizeModel turns `model: TEXT` into its kind.
func normalizeModel(run *value) error {
	m := run.fields["model"]
	text, ok := m.scalar.(string)
	if m.fields != nil {
		return nil
	}
	if !ok || text == "" {
		return m.errorf("model: want a folder, a .gguf file, a hub name or a block, got %s", m.what())
	}
	long := mapping(m.origin)
	key := "path"
	if !strings.HasPrefix(text, ".") && !strings.HasPrefix(text, "/") && !strings.HasSuffix(text, ".gguf") && strings.Count(text, "/") == 1 {
		key = "hub" // ORG/NAME; a relative folder is written ./ORG/NAME
	}
	long.set(key, m)
	run.set("model", long)
	return nil
}

func normalizeStage(s *value) error {
	if r := s.fields["rollout"]; r != nil && r.fields != nil {
		sampling(r)
	}
	if a := s.fields["algorithm"]; a != nil && a.fields != nil {
		if err := algorithm(a); err != nil {
			return err
		}
	}
	d := s.fields["domains"]
	if d == nil {
		return nil
	}
	if d.fields == nil {
		return d.errorf("domains: want a block of named domains, got %s", d.what())
	}
	list := &value{origin: d.origin, isList: true}
	for _, name := range d.keys {
		dom := d.fields[name]
		if dom.fields == nil {
			return dom.errorf("domains.%s: want a block with data and rewards, got %s", name, dom.what())
		}
		dom = dom.clone()
		dom.set("name", scalar(dom.origin, name))
		if dom.fields["weight"] == nil {
			dom.set("weight", scalar(Origin{Kind: "default"}, 1))
		}
		if v := dom.fields["data"]; v != nil {
			dom.set("data", data(v))
		}
		if err := rewards(dom); err != nil {
			return err
		}
		list.items = append(list.items, dom)
	}
	s.set("domains", list)
	return nil
}

var samplingKeys = []string{"temperature", "top_k", "top_p", "min_p"}

// sampling gathers temperature, top_k, top_p and min_p.
func sampling(block *value) {
	out := mapping(block.origin)
	for _, k := range samplingKeys {
		if v := block.drop(k); v != nil {
			out.set(k, v)
		}
	}
	if s := block.fields["sampling"]; s != nil {
		out = out.merge(s)
	}
	block.set("sampling", out)
}

// data turns `data: TEXT` into a path, or a hub data set if it begins with hub:.
func data(v *value) *value {
	text, ok := v.scalar.(string)
	if v.fields != nil || !ok {
		return v
	}
	long := mapping(v.origin)
	if name, hub := strings.CutPrefix(text, "hub:"); hub {
		long.set("hub", scalar(v.origin, name))
	} else {
		long.set("path", v)
	}
	return long
}

var rewardKeys = []string{"use", "name", "weight", "gate", "clip", "params", "deadline_s", "retries"}

// rewards turns names into blocks and puts a reward's own keys under params.
func rewards(block *value) error {
	list := block.fields["rewards"]
	if list == nil {
		return nil
	}
	if !list.isList {
		return list.errorf("rewards: want a list, got %s", list.what())
	}
	out := &value{origin: list.origin, isList: true}
	for _, r := range list.items {
		long := mapping(r.origin)
		if r.fields == nil {
			long.set("use", r)
		} else {
			params := mapping(r.origin)
			for _, k := range r.keys {
				if slices.Contains(rewardKeys, k) {
					long.set(k, r.fields[k])
				} else {
					params.set(k, r.fields[k])
				}
			}
			if len(params.keys) > 0 {
				long.set("params", params.mergeOr(long.fields["params"]))
			}
		}
		use := long.fields["use"]
		if use == nil {
			return r.errorf("rewards: a reward needs a name").WithFix("for example {use: math, weight: 1}")
		}
		if long.fields["name"] == nil {
			long.set("name", scalar(use.origin, use.scalar))
		}
		if long.fields["weight"] == nil {
			long.set("weight", scalar(Origin{Kind: "default"}, 1))
		}
		out.items = append(out.items, long)
	}
	block.set("rewards", out)
	return nil
}

// trackers turns names into blocks and puts a tracker's own keys under params.
func trackers(run *value) error {
	list := run.fields["trackers"]
	if list == nil {
		return nil
	}
	if !list.isList {
		return list.errorf("trackers: want a list, got %s", list.what()).WithFix("for example trackers: [tensorboard]")
	}
	out := &value{origin: list.origin, isList: true}
	for _, t := range list.items {
		long := mapping(t.origin)
		if t.fields == nil {
			long.set("use", t)
		} else {
			params := mapping(t.origin)
			for _, k := range t.keys {
				if k == "use" || k == "params" {
					long.set(k, t.fields[k])
				} else {
					params.set(k, t.fields[k])
				}
			}
			if len(params.keys) > 0 {
				long.set("params", params.mergeOr(long.fields["params"]))
			}
		}
		if long.fields["use"] == nil {
			return t.errorf("trackers: a tracker needs a name").WithFix("for example {use: wandb, key: env:WANDB_API_KEY}")
		}
		out.items = append(out.items, long)
	}
	run.set("trackers", out)
	return nil
}

// algorithm resolves TRL's aliases: loss_type, scale_rewards; and gives
// epsilon_high epsilon's value where nobody set it, as TRL does.
func algorithm(a *value) error {
	if v := a.drop("loss_type"); v != nil {
		agg, ok := map[any]string{"grpo": "seq_mean_token_mean", "dapo": "token_mean", "dr_grpo": "seq_mean_token_sum_norm"}[v.scalar]
		if !ok {
			return v.errorf("algorithm.loss_type: %s", v.what()).WithFix("grpo, dapo or dr_grpo; or set loss_aggregation")
		}
		a.set("loss_aggregation", scalar(v.origin, agg))
	}
	if v := a.drop("scale_rewards"); v != nil {
		adv, ok := map[any]string{"group": "mean_std", "none": "mean", true: "mean_std", false: "mean"}[v.scalar]
		if !ok {
			return v.errorf("algorithm.scale_rewards: %s", v.what()).WithFix("group or none; or set advantage")
		}
		a.set("advantage", scalar(v.origin, adv))
	}
	if a.fields["epsilon_high"] == nil && a.fields["epsilon"] != nil {
		a.set("epsilon_high", a.fields["epsilon"])
	}
	return nil
}
