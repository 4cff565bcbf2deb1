package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestEveryOperandAndFlagHasACompletion checks that the tables know each command and flag, and nothing else.
func TestEveryOperandAndFlagHasACompletion(t *testing.T) {
	t.Parallel()
	usedOperands, usedValues := map[string]bool{}, map[string]bool{}
	for _, c := range commands(t) {
		_, path, _ := strings.Cut(c.CommandPath(), " ")
		if c.HasSubCommands() || c.Name() == "help" || c.Parent().Name() == "completion" {
			continue
		}
		// The rule for the operands of a command tells whether it takes any.
		takes := slices.ContainsFunc([]int{1, 2, 3, 4}, func(n int) bool {
			return c.Args(c, slices.Repeat([]string{"a"}, n)) == nil
		})
		if takes != (operands[path] != nil) {
			t.Errorf("%s: takes operands: %t, has completions: %t", path, takes, operands[path] != nil)
		}
		usedOperands[path] = true
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if f.NoOptDefVal == "" && values[f.Name] == nil {
				t.Errorf("%s --%s has no completion", path, f.Name)
			}
			usedValues[f.Name] = true
		})
	}
	for path := range operands {
		if !usedOperands[path] {
			t.Errorf("there is no command %s", path)
		}
	}
	for name := range values {
		if !usedValues[name] {
			t.Errorf("there is no flag --%s", name)
		}
	}
}

func TestCompletions(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("OSTREE_REPO", "")
	must := func(args ...string) {
		t.Helper()
		var out bytes.Buffer
		if status := run(t.Context(), args, streams{out: &out, err: &out}); status != exitOK {
			t.Fatalf("%q: %s", args, &out)
		}
	}
	for name := range strings.FieldsSeq("tree/usr/a file.json sub/deep/x") {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	must("repo", "init", "--repo=r", "--mode=archive")
	config, err := os.OpenFile("r/config", os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = config.WriteString("[remote \"exampleos\"]\nurl=https://registry.example\n")
		err = errors.Join(err, config.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	must("repo", "commit", "--repo=r", "--branch=os/stable", "tree")
	must("repo", "commit", "--repo=r", "--branch=os/testing", "tree")
	must("container", "build", "-q", "--rootfs=tree", "oci:image")
	for _, c := range []struct {
		name, typed string
		want        []string
	}{
		{"refs of --repo", "container encapsulate --repo=r |", []string{"os/stable", "os/testing"}},
		{"refs that begin so", "repo show --repo r os/s|", []string{"os/stable"}},
		{"refs as the value of a flag", "container unencapsulate --repo=r --write-ref=os/t|", []string{"os/testing"}},
		{"no repository", "repo show |", nil},
		{"refs of a source", "repo pull-local --repo=x r |", []string{"os/stable", "os/testing"}},
		{"formats", "container build --format=|", []string{"plain", "ostree"}},
		{"formats, separate", "rechunk --format |", []string{"plain", "ostree"}},
		{"a packing", "container build --packing=u|", []string{"upstream"}},
		{"transports", "container build |",
			[]string{"containers-storage:", "dir:", "docker-archive:", "docker://", "oci-archive:", "oci:"}},
		{"a transport", "container build --rootfs=tree oci-|", []string{"oci-archive:"}},
		{"the second of two images", "rechunk oci:image d|", []string{"dir:", "docker-archive:", "docker://"}},
		{"files after a transport", "rechunk oci:|",
			[]string{"oci:file.json", "oci:image", "oci:r/", "oci:sub/", "oci:tree/"}},
		{"files in a directory", "rechunk oci:sub/|", []string{"oci:sub/deep/"}},
		{"files of a flag's value", "container build --from=oci:i|", []string{"oci:image"}},
		{"how an image is verified", "container info |",
			[]string{"ostree-image-signed:", "ostree-unverified-image:", "ostree-unverified-registry:"}},
		{"remotes of the repository", "container image pull r ostree-remote|",
			[]string{"ostree-remote-image:exampleos:", "ostree-remote-registry:exampleos:"}},
		{"the transport after a remote", "container unencapsulate --repo=r ostree-remote-image:exampleos:oci-|",
			[]string{"ostree-remote-image:exampleos:oci-archive:"}},
		{"the transport of a signed image", "container info ostree-image-signed:docker:|",
			[]string{"ostree-image-signed:docker://"}},
		{"an image that is checked", "container trust check o|", []string{"oci-archive:", "oci:", "ostree-image-signed:",
			"ostree-unverified-image:", "ostree-unverified-registry:"}},
		{"the transport after that", "container info ostree-unverified-image:oci|",
			[]string{"ostree-unverified-image:oci-archive:", "ostree-unverified-image:oci:"}},
		{"files after that", "container info ostree-unverified-image:oci:i|", []string{"ostree-unverified-image:oci:image"}},
		{"a prior image", "container build --prior=n|", []string{"none"}},
		{"a prior image in a file", "container build --prior=fi|", []string{"file.json"}},
		{"a mode", "repo init --mode=bare-u|", []string{"bare-user", "bare-user-only"}},
		{"too many operands", "repo show --repo=r os/stable |", nil},
		{"a flag that is there already", "repo show --repo=r --rep|", nil},
		{"commands", "chunks |", []string{"diff", "explain", "history", "plan", "show"}},
	} {
		words := strings.Split(strings.TrimSuffix(c.typed, "|"), " ")
		var out, errOut bytes.Buffer
		status := run(t.Context(), append([]string{"__completeNoDesc"}, words...), streams{out: &out, err: &errOut})
		got := strings.Fields(out.String())
		got = got[:len(got)-1] // the directive
		if status != exitOK || !slices.Equal(got, c.want) {
			t.Errorf("%s: %s: status %d, got %q, want %q", c.name, c.typed, status, got, c.want)
		}
	}
}
