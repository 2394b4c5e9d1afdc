package e2e

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

const composeFile = "../../docker-compose.yml"

// loadCompose reads docker-compose.yml with all its profiles.
func loadCompose(t *testing.T) *types.Project {
	t.Helper()
	o, err := cli.NewProjectOptions([]string{composeFile}, cli.WithProfiles([]string{"*"}), cli.WithEnv([]string{"GROUSE_RECIPE=" + tiny, "GROUSE_RUN=tiny"}))
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestComposeFile: what every service mounts exists in the file, no port is open
// to other machines, every image of ours comes from a target of the Dockerfile
// and runs without rights.
func TestComposeFile(t *testing.T) {
	project := loadCompose(t)
	dockerfile, err := os.ReadFile("../../deploy/docker/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"workflows", "rollout", "reward", "trainer", "rollout-gpu", "trainer-gpu", "temporal", "temporal-ui", "nats"} {
		if _, err := project.GetService(want); err != nil {
			t.Error(err)
		}
	}
	for name, s := range project.Services {
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is open to other machines", name, port.Published)
			}
		}
		for _, secret := range s.Secrets {
			if _, ok := project.Secrets[secret.Source]; !ok {
				t.Errorf("%s: no secret %s", name, secret.Source)
			}
		}
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind {
				if _, err := os.Stat(v.Source); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			} else if _, ok := project.Volumes[v.Source]; !ok {
				t.Errorf("%s: no volume %s", name, v.Source)
			}
		}
		for k, v := range s.Environment {
			if v != nil && strings.Contains(strings.ToUpper(k), "PASSWORD") && !strings.Contains(*v, "/run/secrets/") {
				t.Errorf("%s: %s is in the file", name, k)
			}
		}
		if !strings.HasPrefix(s.Image, "grouse") {
			continue
		}
		if s.Build == nil || !strings.Contains(string(dockerfile), " AS "+s.Build.Target+"\n") {
			t.Errorf("%s: the Dockerfile has no target %+v", name, s.Build)
		}
		if !s.ReadOnly || !slices.Contains(s.CapDrop, "ALL") {
			t.Errorf("%s may do more than it needs", name)
		}
		gpu := s.Deploy != nil && s.Deploy.Resources.Reservations != nil && len(s.Deploy.Resources.Reservations.Devices) > 0
		if gpu != slices.Contains(s.Profiles, "gpu") {
			t.Errorf("%s: a GPU and the profile go together", name)
		}
	}
	for _, stage := range strings.Split(string(dockerfile), "\nFROM ")[1:] {
		if strings.Contains(stage, "ENTRYPOINT") && !strings.Contains(stage, "USER 65532") {
			t.Errorf("a stage of the Dockerfile runs as root:\n%s", stage)
		}
	}
}

// TestProcesses starts the commands of docker-compose.yml as plain processes
// around `grouse serve`, which stands for the images of Temporal and NATS: the
// run has the undisturbed weights, though the rollout worker and then the
// trainer are killed on the way.
func TestProcesses(t *testing.T) {
	want := undisturbed(t)
	project := loadCompose(t)
	dir := t.TempDir()
	secret := filepath.Join(dir, "nats_password")
	if err := os.WriteFile(secret, []byte("not checked by grouse serve\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	server := launch(t, filepath.Join(dir, "server"), nil, "serve", "--temporal-port", "17233", "--ui-port", "18233", "--nats-port", "14222")
	server.awaitFirst()
	address := map[string]string{}
	for begin := time.Now(); len(address) < 4 && time.Since(begin) < 10*time.Second; time.Sleep(5 * time.Millisecond) {
		server.mu.Lock()
		for _, l := range server.lines {
			if name, value, ok := strings.Cut(strings.TrimSpace(l), " "); ok {
				address[name] = strings.TrimSpace(value)
			}
		}
		server.mu.Unlock()
	}
	env := map[string]string{"GROUSE_TEMPORAL": address["Temporal"], "GROUSE_NATS": address["NATS"], "GROUSE_NATS_PASSWORD": "file:" + secret}

	// start runs a service: its command with its environment, which names other
	// addresses and folders here.
	start := func(name string) *process {
		s, err := project.GetService(name)
		if err != nil {
			t.Fatal(err)
		}
		var vars []string
		for k, v := range s.Environment {
			value := *v
			if here, ok := env[k]; ok {
				value = here
			}
			if k != "GROUSE_HOME" {
				vars = append(vars, k+"="+value)
			}
		}
		home := filepath.Join(dir, s.Volumes[0].Source)
		args := slices.Clone([]string(s.Command))
		if args[0] == "run" {
			args = append(args, "--json")
		}
		return launch(t, home, vars, args...)
	}
	for _, pair := range [][2]string{{"rollout-gpu", "rollout"}, {"trainer-gpu", "trainer"}} { // so that they need no process of their own here
		a, _ := project.GetService(pair[0])
		b, _ := project.GetService(pair[1])
		if !slices.Equal(a.Command, b.Command) {
			t.Errorf("%s and %s do not do the same: %v, %v", pair[0], pair[1], a.Command, b.Command)
		}
	}
	workers := []string{"workflows", "rollout", "reward"}
	running := map[string]*process{}
	for _, name := range workers {
		running[name] = start(name)
	}
	for _, name := range workers {
		running[name].awaitFirst() // it parsed its command line and found the servers
	}
	trainer := start("trainer")
	trainer.awaitEvent("rl step 3", func(e event) bool { return e.Event == "step" && e.Step == 3 })
	running["rollout"].kill()
	running["rollout"] = start("rollout")
	trainer.awaitEvent("rl step 6", func(e event) bool { return e.Event == "step" && e.Step == 6 })
	trainer.kill()
	trainer = start("trainer")
	same(t, "as separate processes, two of them killed", trainer.finish(), want)
	if d, ok := trainer.firstWork(); ok {
		t.Logf("the trainer that was killed had new work after %v", d)
	}
	for name, p := range running {
		select {
		case <-p.ended:
			t.Errorf("%s ended: %v\n%s", name, p.err, p.stderr.String())
		default:
		}
	}
}

// TestWorkerTrains: the trainer can be `grouse worker --train`, with `grouse run`
// only starting the run and waiting for its end.
func TestWorkerTrains(t *testing.T) {
	want := undisturbed(t)
	home := t.TempDir()
	server := launch(t, home, nil, "serve", "--temporal-port", "27233", "--ui-port", "28233", "--nats-port", "24222")
	server.awaitFirst()
	driver := launch(t, home, nil, "run", tiny, "--json", "--roles", "none")
	driver.awaitFirst()
	worker := launch(t, home, nil, "worker", "--train", "tiny")
	worker.awaitFirst()
	same(t, "with a trainer in a worker", driver.finish(), want)
}

// TestRoles: work that is left to others needs servers that others can reach.
func TestRoles(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"run", tiny, "--roles", "trainer"}, 3, "grouse serve"},
		{[]string{"run", tiny, "--roles", "conductor"}, 3, "conductor"},
		{[]string{"worker", "--queues", "rollout"}, 4, "grouse serve"},
	} {
		p := launch(t, t.TempDir(), nil, c.args...)
		if code := p.wait(); code != c.code || !strings.Contains(p.stderr.String(), c.says) {
			t.Errorf("%v: exit code %d, want %d and a word of %q:\n%s", c.args, code, c.code, c.says, p.stderr.String())
		}
	}
}
