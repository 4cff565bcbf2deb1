//go:build interop

package frontend_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// With keep-base on top of a commit's image, the result is a derived image as hosts know it: the layers of the commit,
// whose labels stay, and layers above.
func TestInterop_OnTopOfACommitKeepBaseGivesADerivedImage(t *testing.T) {
	repo, ref, commit := exampleRepo(t)
	const base, name = "derived/base", "derived/frontend"
	must(t, env.cli, "container", "encapsulate", "--insecure-skip-tls-verification", "--repo="+repo, ref,
		"docker://"+env.host+"/"+base)
	r := request{
		file: syntax("keep-base prior=none") + "FROM " + env.host + "/" + base + "\nCOPY Containerfile " +
			"/usr/share/added\nLABEL vendor=Test\n",
		name: name, opts: []string{"build-arg:SOURCE_DATE_EPOCH=" + epoch},
	}
	env.daemon.build(t, r)
	below, got := pull(t, base), pull(t, name)
	n := len(below.manifest.Layers)
	if len(got.manifest.Layers) <= n || !slices.Equal(got.layers()[:n], below.layers()) {
		t.Errorf("layers %q do not begin with those of the base, %q", got.layers(), below.layers())
	}
	must(t, env.cli, "container", "verify", "--quiet", "--insecure-skip-tls-verification", "docker://"+env.host+"/"+name)
	labels := got.config.Config.Labels
	if labels["ostree.commit"] != commit ||
		labels["ostree.final-diffid"] != below.config.Config.Labels["ostree.final-diffid"] || labels["vendor"] != "Test" {
		t.Errorf("labels are %q", labels)
	}
	// The same steps without us, with the command line splitting the result.
	r.plain, r.name = true, name+"-plain"
	env.daemon.build(t, r)
	want := byCLI(t, name+"-cli", "--from=docker://"+env.host+"/"+r.name, "--keep-base=docker://"+env.host+"/"+base)
	if diff := cmp.Diff(want.layers(), got.layers()); diff != "" {
		t.Errorf("layers differ from those of the command line (-want +got):\n%s", diff)
	}
	for _, l := range []string{"ostree.commit", "ostree.final-diffid", "vendor"} {
		if want.config.Config.Labels[l] != labels[l] {
			t.Errorf("the command line gives label %s=%q, want %q", l, want.config.Config.Labels[l], labels[l])
		}
	}
}
