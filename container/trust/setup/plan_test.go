package setup_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/ostree-ext/ostree-ext-go/container/trust/setup"
	"github.com/ostree-ext/ostree-ext-go/internal/testfiles"
)

var update = flag.Bool("update", false, "write what is wanted into testdata/plan")

// TestPlans makes the plan of each file in testdata/plan. Its first lines are options, the files in host/ are on the
// host, and want is the plan. A plan that was written leaves nothing to do, and its files say what they said before.
func TestPlans(t *testing.T) {
	t.Parallel()
	for _, file := range testfiles.Read(t, "testdata/plan/*.txtar") {
		t.Run(strings.TrimSuffix(filepath.Base(file.Name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			ar := txtar.Parse(file.Data)
			top := t.TempDir()
			want := ""
			for _, f := range ar.Files {
				if name, ok := strings.CutPrefix(f.Name, "host"); ok {
					writeFile(t, top+name, string(f.Data))
				} else {
					want = string(f.Data)
				}
			}
			opts := options(t, string(ar.Comment), top)
			plan, err := setup.Make(opts)
			got := describe(plan, err, top)
			if *update {
				rewrite(t, file.Name, ar, got)
				want = got
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("the plan (-want +got):\n%s", diff)
			}
			if err == nil {
				writeTwice(t, opts, plan)
			}
		})
	}
}

// writeTwice writes a plan and makes it again.
func writeTwice(t *testing.T, opts setup.Options, plan *setup.Plan) {
	t.Helper()
	if err := plan.Write(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := setup.Make(opts)
	if err != nil {
		t.Fatalf("the second time: %v", err)
	}
	if again.Changes() {
		t.Errorf("there is something to do after the plan was written: %v", again.Files)
	}
	if len(again.Files) < len(plan.Files) {
		t.Errorf("the second plan has %d files, the first %d", len(again.Files), len(plan.Files))
	}
	for _, f := range again.Files {
		if f.Action != setup.Keep || f.Diff != "" {
			t.Errorf("%s: %s the second time", f.Path, f.Action)
		}
	}
}

// options reads lines such as "key: first.pub".
func options(t *testing.T, text, top string) setup.Options {
	t.Helper()
	env := map[string]string{"HOME": "/root"}
	opts := setup.Options{Host: setup.Host{Root: top, Env: func(name string) string { return env[name] }}}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch name {
		case "scope":
			opts.Scope = value
		case "key":
			opts.Keys = append(opts.Keys, key(t, value))
		case "name":
			opts.Name = value
		case "issuer":
			opts.Issuer = value
		case "identity":
			opts.Identity = value
		case "expression":
			opts.Expression = value
		case "lookaside":
			opts.Lookaside = value
		case "no-bundles":
			opts.NoBundles = true
		case "replace":
			opts.Replace = true
		case "user":
			opts.Host = setup.Host{User: true, UID: 1000, Env: opts.Host.Env}.At(top)
			env["HOME"] = "/home/user"
		case "this machine":
			opts.Host = setup.Host{Env: opts.Host.Env}.At(top)
		case "policy":
			env["CONTAINERS_POLICY_JSON"] = value
		case "", "#":
		default:
			if !strings.HasPrefix(line, "#") {
				t.Fatalf("there is no option %q", name)
			}
		}
	}
	return opts
}

func key(t *testing.T, name string) setup.Key {
	t.Helper()
	data, err := os.ReadFile("testdata/keys/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return setup.Key{Name: name, Data: data}
}

// describe returns a plan as text, in which the host is not in a directory of the test.
func describe(plan *setup.Plan, err error, top string) string {
	var b strings.Builder
	if err != nil {
		for _, kind := range []error{
			setup.ErrOptions, setup.ErrScope, setup.ErrKey, setup.ErrConflict, setup.ErrInvalid,
		} {
			if errors.Is(err, kind) {
				fmt.Fprintf(&b, "error: %s\n", err)
			}
		}
		if b.Len() == 0 {
			fmt.Fprintf(&b, "error of no kind: %s\n", err)
		}
		return strings.ReplaceAll(b.String(), top, "")
	}
	for _, f := range plan.Files {
		fmt.Fprintf(&b, "%s %s\n%s", f.Action, f.Path, f.Diff)
	}
	for _, note := range plan.Notes {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	if plan.NeedsTrustedRoot {
		b.WriteString("needs the file with authorities\n")
	}
	return strings.ReplaceAll(b.String(), top, "")
}

func rewrite(t *testing.T, name string, ar *txtar.Archive, want string) {
	t.Helper()
	for i := range ar.Files {
		if ar.Files[i].Name == "want" {
			ar.Files[i].Data = []byte(want)
		}
	}
	if err := os.WriteFile(name, txtar.Format(ar), 0o644); err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
