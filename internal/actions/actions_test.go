// Package actions tests the actions for GitHub, the template for GitLab and the project's own workflows.
package actions

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ostree-ext/ostree-ext-go/internal/docblocks"
)

const root = "../.."

// action is an action.yml.
type action struct {
	Name        string
	Description string
	Inputs      map[string]struct {
		Description string
		Required    bool
		Default     string
	}
	Outputs map[string]struct {
		Description, Value string
	}
	Runs struct {
		Using string
		Steps []step
	}
}

// step is a step of an action or of a workflow.
type step struct {
	ID, Run, Shell, Uses string
	Env, With            map[string]string
}

// actionFiles are the actions.
var actionFiles = []string{"action.yml", ".github/actions/rechunk/action.yml"}

func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func readAction(t *testing.T, name string) *action {
	t.Helper()
	var a action
	readYAML(t, name, &a)
	if a.Runs.Using != "composite" || len(a.Inputs) == 0 || len(a.Runs.Steps) == 0 {
		t.Fatalf("%s: %+v", name, a)
	}
	return &a
}

// scriptOf returns the script that a step of an action runs, relative to the root of the project.
func scriptOf(t *testing.T, file string, s step) string {
	t.Helper()
	m := regexp.MustCompile(`^"\$GITHUB_ACTION_PATH/([a-z0-9/.]+)"$`).FindStringSubmatch(s.Run)
	if m == nil || s.Shell != "bash" {
		t.Fatalf("%s: step %s runs %q in %q, and not one script in bash", file, s.ID, s.Run, s.Shell)
	}
	return path.Join(path.Dir(file), m[1])
}

var (
	inputOf   = regexp.MustCompile(`^\$\{\{ inputs\.([a-z0-9_-]+) \}\}$`)
	outputOf  = regexp.MustCompile(`^\$\{\{ steps\.([a-z]+)\.outputs\.([a-z-]+) \}\}$`)
	usesInput = regexp.MustCompile(`INPUT_[A-Z0-9_]+`)
	setOutput = regexp.MustCompile(`(?m)^\s*output ([a-z-]+) `)
)

// variable returns the variable in which a script finds an input.
func variable(input string) string {
	return "INPUT_" + strings.ToUpper(strings.ReplaceAll(input, "-", "_"))
}

func TestInputsReachScriptsOnlyAsVariables(t *testing.T) {
	for _, file := range actionFiles {
		a := readAction(t, file)
		given := map[string]bool{}
		for _, s := range a.Runs.Steps {
			script := readScript(t, scriptOf(t, file, s))
			for name, value := range s.Env {
				m := inputOf.FindStringSubmatch(value)
				if m == nil {
					if strings.HasPrefix(name, "INPUT_") || strings.Contains(value, "inputs.") {
						t.Errorf("%s: %s is %q, and not an input alone", file, name, value)
					}
					continue
				}
				if _, declared := a.Inputs[m[1]]; !declared || name != variable(m[1]) {
					t.Errorf("%s: %s is %q: there is no such input, or its variable has another name", file, name, value)
				}
				if !strings.Contains(script, name) {
					t.Errorf("%s: step %s gets %s, which its script does not use", file, s.ID, name)
				}
				given[m[1]] = true
			}
			for _, name := range usesInput.FindAllString(script, -1) {
				if _, ok := s.Env[name]; !ok {
					t.Errorf("%s: the script of step %s uses %s, which it does not get", file, s.ID, name)
				}
			}
		}
		for name := range a.Inputs {
			if !given[name] {
				t.Errorf("%s: no step gets the input %s", file, name)
			}
		}
	}
}

// readScript returns a script, and those that it runs.
func readScript(t *testing.T, name string) string {
	t.Helper()
	fi, err := os.Stat(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	if fi.Mode()&0o111 == 0 {
		t.Errorf("%s cannot be executed", name)
	}
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	if other := "tools/action/summary"; name == "tools/action/build" {
		if !strings.Contains(text, `"$here/summary"`) {
			t.Errorf("%s does not run %s", name, other)
		}
		text += readScript(t, other)
	}
	return text
}

func TestInputsAndOutputsAreDocumented(t *testing.T) {
	for _, file := range actionFiles {
		a := readAction(t, file)
		outputs := map[string][]string{}
		for _, s := range a.Runs.Steps {
			for _, m := range setOutput.FindAllStringSubmatch(readScript(t, scriptOf(t, file, s)), -1) {
				outputs[s.ID] = append(outputs[s.ID], m[1])
			}
		}
		for name, in := range a.Inputs {
			if !strings.HasSuffix(in.Description, ".") {
				t.Errorf("%s: the input %s has no description: %q", file, name, in.Description)
			}
		}
		for name, out := range a.Outputs {
			m := outputOf.FindStringSubmatch(out.Value)
			if m == nil || m[2] != name || !slices.Contains(outputs[m[1]], name) {
				t.Errorf("%s: no script sets the output %s: %q", file, name, out.Value)
			}
			if !strings.HasSuffix(out.Description, ".") {
				t.Errorf("%s: the output %s has no description: %q", file, name, out.Description)
			}
		}
	}
}

// TestTheRechunkActionHasThePeersInterface compares with hhd-dev/rechunk 1.2.3.
func TestTheRechunkActionHasThePeersInterface(t *testing.T) {
	a := readAction(t, ".github/actions/rechunk/action.yml")
	for _, name := range []string{"ref", "prev-ref", "clear-plan", "prev-ref-fail", "max-layers", "skip_compression",
		"labels", "description", "version", "pretty", "rechunk", "keep-ref", "changelog", "git", "revision", "formatters",
		"meta"} {
		in, ok := a.Inputs[name]
		want := map[string]string{"version": "<date>"}[name]
		if !ok || in.Default != want || in.Required != (name == "ref") {
			t.Errorf("the input %s: %+v", name, in)
		}
	}
	for _, name := range []string{"ref", "version", "location", "changelog", "manifest"} {
		if _, ok := a.Outputs[name]; !ok {
			t.Errorf("there is no output %s", name)
		}
	}
}

// workflow is a workflow of the project.
type workflow struct {
	Permissions map[string]string
	Jobs        map[string]struct {
		Steps []step
	}
}

func TestWorkflowsUseOnlyWhatIsPinned(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(root, ".github/workflows/*.yml"))
	if err != nil || len(names) < 2 {
		t.Fatalf("%q, %v", names, err)
	}
	pinned := regexp.MustCompile(`^[a-z-]+/[a-z-]+@[0-9a-f]{40}$`)
	for _, name := range names {
		var w workflow
		readYAML(t, filepath.Join(".github/workflows", filepath.Base(name)), &w)
		if w.Permissions == nil || len(w.Jobs) == 0 {
			t.Errorf("%s: it does not say which permissions it needs: %+v", name, w)
		}
		for id, value := range w.Permissions {
			if value != "read" {
				t.Errorf("%s: all jobs have the permission %s: %s", name, id, value)
			}
		}
		for id, job := range w.Jobs {
			for _, s := range job.Steps {
				if s.Uses != "" && !pinned.MatchString(s.Uses) {
					t.Errorf("%s: job %s uses %s, which is not a commit", name, id, s.Uses)
				}
				if strings.Contains(s.Run, "${{") {
					t.Errorf("%s: job %s puts values into a command: %s", name, id, s.Run)
				}
			}
		}
	}
}

// TestTheDocumentedJobsUseWhatThereIs reads the jobs of the documents: what they give to the actions are inputs of
// these, and what they give to the template for GitLab are its variables.
func TestTheDocumentedJobsUseWhatThereIs(t *testing.T) {
	blocks, err := docblocks.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	template, err := os.ReadFile(filepath.Join(root, "tools/gitlab/ostree-ext.gitlab-ci.yml"))
	if err != nil {
		t.Fatal(err)
	}
	used, included := 0, 0
	for _, b := range blocks {
		pages := []string{"docs/ci.md", "docs/start-ci.md", "docs/switching.md"}
		if !slices.Contains(pages, b.File) || !strings.Contains(b.Text, "ostree-ext-go") {
			continue
		}
		var steps []step
		switch first := b.First(); {
		case first == "include:":
			included++
			var jobs map[string]yaml.Node
			if err := yaml.Unmarshal([]byte(b.Text), &jobs); err != nil || len(jobs) != 2 {
				t.Errorf("%s: %v, %v", b, jobs, err)
			}
			for _, name := range regexp.MustCompile(`OSTREE_EXT_[A-Z_]+`).FindAllString(b.Text, -1) {
				if !strings.Contains(string(template), "#   "+name+" ") {
					t.Errorf("%s: the template does not describe %s", b, name)
				}
			}
			continue
		case strings.HasPrefix(first, "- "):
			err = yaml.Unmarshal([]byte(b.Text), &steps)
		default:
			var w workflow
			err = yaml.Unmarshal([]byte(b.Text), &w)
			for _, job := range w.Jobs {
				steps = append(steps, job.Steps...)
			}
		}
		if err != nil || len(steps) == 0 {
			t.Errorf("%s: %v", b, err)
		}
		for _, s := range steps {
			name, version, _ := strings.Cut(s.Uses, "@")
			dir, ours := strings.CutPrefix(name, "ostree-ext/ostree-ext-go")
			if !ours {
				continue
			}
			used++
			inputs := readAction(t, path.Join(".", dir, "action.yml")).Inputs
			for input := range s.With {
				if _, ok := inputs[input]; !ok {
					t.Errorf("%s: there is no input %s", b, input)
				}
			}
			if version != "v1" {
				t.Errorf("%s: the version is %s", b, version)
			}
		}
	}
	if used < 5 || included != 1 {
		t.Errorf("found %d uses of the actions, and %d of the template", used, included)
	}
}
