//go:build interop

package frontend_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// maxLogLines is how many lines a build may have in the log, with --progress=plain, however many layers it makes.
const maxLogLines = 80

// TestInterop_TheLogOfABuildOfManyLayersIsShort builds an image of many layers, and continues it on a builder that has
// none of them. Each layer has a line or more in BuildKit's progress unless they are kept out of it.
func TestInterop_TheLogOfABuildOfManyLayersIsShort(t *testing.T) {
	const packages = 70
	r := request{file: "FROM scratch\nCOPY var /var\nCOPY usr /usr\n", name: "shortlog", files: map[string]string{}}
	source := rand.NewChaCha8([32]byte{17})
	var status strings.Builder
	for n := range packages {
		name := fmt.Sprintf("package-%02d", n)
		content := make([]byte, 40_000)
		if _, err := source.Read(content); err != nil {
			t.Fatal(err)
		}
		r.files["usr/lib/"+name] = string(content)
		r.files["var/lib/dpkg/info/"+name+".list"] = "/.\n/usr\n/usr/lib\n/usr/lib/" + name + "\n"
		fmt.Fprintf(&status, "Package: %s\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\n", name)
	}
	r.files["var/lib/dpkg/status"] = status.String()
	r.file = syntax("prior="+env.host+"/"+r.name) + r.file

	out := env.daemon.build(t, r)
	first := pull(t, r.name)
	shortLog(t, out, first, "; planned afresh: a host downloads all layers, ")
	if len(first.layers()) < packages {
		t.Fatalf("%d layers: too few to say anything", len(first.layers()))
	}

	r.files["usr/lib/package-00"] = "changed"
	out = newDaemon(t, daemonOptions{}).build(t, r)
	second := pull(t, r.name)
	if n, _ := bytesBeyond(first, second); n != 1 {
		t.Errorf("%d layers are new, want 1", n)
	}
	shortLog(t, out, second, ": 1 new, "+fmt.Sprint(len(second.layers())-1)+" kept; ",
		"; continued from "+env.host+"/"+r.name+" ("+first.digest+")", fetching)
}

// shortLog checks the log of a build.
func shortLog(t *testing.T, out string, made *pulled, says ...string) {
	t.Helper()
	if n := strings.Count(out, "\n"); n > maxLogLines {
		t.Errorf("%d lines for %d layers:\n%s", n, len(made.layers()), out)
	} else {
		t.Logf("%d lines for %d layers", n, len(made.layers()))
	}
	said := strings.ReplaceAll(out, "\u00a0", " ")
	for _, s := range append(says, fmt.Sprintf("%d layers: ", len(made.layers()))) {
		if !strings.Contains(said, s) {
			t.Errorf("the log does not say %q:\n%s", s, out)
		}
	}
	named := slices.DeleteFunc(strings.Split(out, "\n"), func(line string) bool {
		return !strings.Contains(line, "deb/package-")
	})
	if len(named) > 3 {
		t.Errorf("the log names %d layers, for example %q", len(named), named[0])
	}
}
