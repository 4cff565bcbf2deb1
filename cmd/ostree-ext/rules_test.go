package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestTheCommandLineHasTheRulesOfTheFrontend runs the table of package request with the program. Entries that only the
// frontend refuses use options that are arguments here, or do not exist.
func TestTheCommandLineHasTheRulesOfTheFrontend(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../encapsulate/request/testdata/rules.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name, Input, Refused, Says string
		Options                    map[string]string
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	std := func(out *bytes.Buffer) streams { return streams{in: strings.NewReader(""), out: out, err: out} }
	repository, root := filepath.Join(dir, "repo"), filepath.Join(dir, "root")
	if err := os.MkdirAll(filepath.Join(root, "usr/lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "usr/lib/file"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	must := func(args ...string) {
		var out bytes.Buffer
		if code := run(t.Context(), args, std(&out)); code != exitOK {
			t.Fatalf("%q: %s", args, out.String())
		}
	}
	must("repo", "init", "--repo="+repository, "--mode=bare-user")
	must("repo", "commit", "--repo="+repository, "--branch=os", root)
	must("container", "build", "--rootfs="+root, "oci:"+filepath.Join(dir, "base"))
	for _, c := range cases {
		if c.Refused == "frontend" {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			args := []string{"container", "build", "--rootfs=" + root}
			if c.Input == "commit" {
				args = []string{"container", "encapsulate", "--repo=" + repository, "os"}
			}
			for _, name := range slices.Sorted(maps.Keys(c.Options)) {
				args = append(args, "--"+name+"="+strings.ReplaceAll(c.Options[name], "oci:base",
					"oci:"+filepath.Join(dir, "base")))
			}
			args = append(args, "oci:"+filepath.Join(t.TempDir(), "image"))
			want := exitOK
			if c.Refused != "" {
				want = exitUsage
			}
			var out bytes.Buffer
			if code := run(t.Context(), args, std(&out)); code != want || !strings.Contains(out.String(), c.Says) {
				t.Errorf("%q: status %d, want %d that says %q:\n%s", args, code, want, c.Says, out.String())
			}
		})
	}
}
