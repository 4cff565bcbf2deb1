package store_test

import (
	"maps"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// refsOf returns the refs of a repository.
func refsOf(t *testing.T, r *repo.Repo) map[string]object.Checksum {
	t.Helper()
	list, err := r.Refs("")
	if err != nil {
		t.Fatal(err)
	}
	refs := map[string]object.Checksum{}
	for _, ref := range list {
		refs[ref.Name] = ref.Commit
	}
	return refs
}

// objectsOf returns the objects of a repository.
func objectsOf(t *testing.T, r *repo.Repo) map[object.Name]bool {
	t.Helper()
	objects := map[object.Name]bool{}
	for name, err := range r.Objects(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		objects[name] = true
	}
	return objects
}

// TestAnUpdateIsLabelledAsItsOwnPolicySays pulls a second image over a first one, and into a new repository. Whatever
// policy the first one had, both are the same. With the same policy, no file is written with another label before.
func TestAnUpdateIsLabelledAsItsOwnPolicySays(t *testing.T) {
	policy := func(enabled, contexts string) v1.Layer {
		return files(t, "etc/selinux/config", "SELINUX="+enabled+"\nSELINUXTYPE=t\n",
			"etc/selinux/t/contexts/files/file_contexts", contexts)
	}
	const contexts = "/.*\tsystem_u:object_r:root_t:s0\n/usr/.*\tsystem_u:object_r:usr_t:s0\n"
	first := image(t, files(t, "usr/a", "1", "usr/b", "1", "srv/c", "1"), policy("enforcing", contexts))
	for _, c := range []struct {
		name   string
		policy v1.Layer
		once   bool // every object is written once
	}{
		{"the same policy", policy("enforcing", contexts), true},
		{"the same policy in another layer", policy("permissive", contexts), true},
		{"another policy", policy("enforcing", "/.*\tsystem_u:object_r:other_t:s0\n/usr/b\t<<none>>\n"), false},
		{"no policy", policy("disabled", contexts), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			reg := testreg.New(t)
			r, fresh := newRepo(t, repo.ModeBareUser), newRepo(t, repo.ModeBareUser)
			importNow(t, r, push(t, reg.Host, "os", first), store.ImportOptions{})
			before := objectsOf(t, r)
			ref := push(t, reg.Host, "os", image(t, files(t, "usr/a", "2", "usr/b", "2", "srv/d", "2"), c.policy))
			got := importNow(t, r, ref, store.ImportOptions{NoCleanup: true})
			after := objectsOf(t, r)
			if _, err := store.PruneLayers(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			want := importNow(t, fresh, ref, store.ImportOptions{})
			if got.Commit != want.Commit {
				t.Errorf("the merge commit is %s, want %s", got.Commit, want.Commit)
			}
			if a, b := refsOf(t, r), refsOf(t, fresh); !maps.Equal(a, b) {
				t.Errorf("refs %v, want %v", a, b)
			}
			var extra []string
			needed := objectsOf(t, fresh)
			for name := range after {
				if !before[name] && !needed[name] && name.Type == object.TypeFile {
					extra = append(extra, name.String())
				}
			}
			if c.once != (len(extra) == 0) {
				t.Errorf("files that were also written with other labels: %v", slices.Sorted(slices.Values(extra)))
			}
		})
	}
}
