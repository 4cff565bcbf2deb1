package trust_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/container/trust"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

// write writes a value as JSON, or text as it is, to a new file.
func write(t *testing.T, v any) string {
	t.Helper()
	data, ok := v.(string)
	if !ok {
		encoded, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		data = string(encoded)
	}
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func newRepo(t *testing.T) *repo.Repo {
	t.Helper()
	r, err := repo.Init(filepath.Join(t.TempDir(), "repo"), repo.ModeBareUser)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// pull stores an image. If that fails, the test fails unless the repository is as it was before.
func pull(t *testing.T, r *repo.Repo, ref imgref.OstreeImageReference, door *trust.Door) (*store.Imported, error) {
	t.Helper()
	before := content(t, r)
	res, err := pullAnyway(t, r, ref, door)
	if after := content(t, r); err != nil && !slices.Equal(before, after) {
		t.Errorf("%s is refused, and the repository has %q, before %q", ref, after, before)
	}
	return res, err
}

func pullAnyway(
	t *testing.T, r *repo.Repo, ref imgref.OstreeImageReference, door *trust.Door,
) (*store.Imported, error) {
	t.Helper()
	p, err := store.Prepare(t.Context(), r, ref, store.Options{Source: source.Options{Admission: door.Admit}})
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if p.Present {
		return &store.Imported{Image: p.Previous}, nil
	}
	return p.Import(t.Context(), store.ImportOptions{})
}

// content returns the objects, refs and marks of partial commits in a repository.
func content(t *testing.T, r *repo.Repo) (found []string) {
	t.Helper()
	for _, dir := range []string{"objects", "refs", "state"} {
		err := filepath.WalkDir(filepath.Join(r.Path(), dir), func(p string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				found = append(found, p)
			}
			return err
		})
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return found
}

// object is a JSON object.
type object = map[string]any
