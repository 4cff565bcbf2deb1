package trust_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/container/trust"
	"github.com/ostree-ext/ostree-ext-go/container/trust/trusttest"
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

// pull stores an image as a door allows.
func pull(t *testing.T, r *repo.Repo, ref imgref.OstreeImageReference, door *trust.Door) (*store.Imported, error) {
	t.Helper()
	return trusttest.Pull(t, r, ref, source.Options{Admission: door.Admit})
}

// object is a JSON object.
type object = map[string]any
