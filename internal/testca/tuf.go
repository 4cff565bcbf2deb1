package testca

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Repository is a TUF repository (https://theupdateframework.github.io/specification/), which hands out trusted roots.
type Repository struct {
	t testing.TB

	mu      sync.Mutex
	root    ed25519.PrivateKey
	other   ed25519.PrivateKey // of all other roles
	roots   int
	version int
	files   map[string][]byte
}

// NewRepository makes a repository without any file.
func NewRepository(t testing.TB) *Repository {
	t.Helper()
	r := &Repository{t: t, files: map[string][]byte{}, root: newEd25519(t), other: newEd25519(t)}
	r.Rotate(time.Now().Add(24 * time.Hour))
	return r
}

func newEd25519(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Rotate publishes a root with new keys, which the keys before have signed too, and which is good until some time.
func (r *Repository) Rotate(expires time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.root
	r.root, r.other = newEd25519(r.t), newEd25519(r.t)
	keys := map[string]any{}
	role := func(key ed25519.PrivateKey) map[string]any {
		id, public := tufKey(key)
		keys[id] = public
		return map[string]any{"keyids": []string{id}, "threshold": 1}
	}
	roles := map[string]any{"root": role(r.root)}
	for _, name := range []string{"timestamp", "snapshot", "targets"} {
		roles[name] = role(r.other)
	}
	r.roots++
	r.files[fmt.Sprintf("%d.root.json", r.roots)] = tufSign(map[string]any{
		"_type": "root", "version": r.roots, "expires": tufTime(expires), "consistent_snapshot": true,
		"keys": keys, "roles": roles,
	}, before, r.root)
}

// Root returns the first root.
func (r *Repository) Root() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.files["1.root.json"]
}

// Publish replaces the files of the repository. They are good until some time.
func (r *Repository) Publish(expires time.Time, files map[string][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.version++
	targets := map[string]any{}
	for name, data := range files {
		sum := hex.EncodeToString(hash(data))
		targets[name] = map[string]any{"length": len(data), "hashes": map[string]string{"sha256": sum}}
		r.files["targets/"+sum+"."+name] = data
	}
	put := func(name string, signed map[string]any) {
		signed["version"], signed["expires"] = r.version, tufTime(expires)
		r.files[name] = tufSign(signed, r.other)
	}
	meta := map[string]any{"version": r.version}
	put(fmt.Sprintf("%d.targets.json", r.version), map[string]any{"_type": "targets", "targets": targets})
	put(fmt.Sprintf("%d.snapshot.json", r.version), map[string]any{"_type": "snapshot",
		"meta": map[string]any{"targets.json": meta}})
	put("timestamp.json", map[string]any{"_type": "timestamp", "meta": map[string]any{"snapshot.json": meta}})
}

// Files returns all files that the repository serves, by their paths.
func (r *Repository) Files() map[string][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.files)
}

// Serve has the repository serve these files instead, as a mirror could.
func (r *Repository) Serve(files map[string][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files = maps.Clone(files)
}

// ServeHTTP implements [http.Handler].
func (r *Repository) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	data, ok := r.files[strings.TrimPrefix(req.URL.Path, "/")]
	r.mu.Unlock()
	if !ok {
		http.NotFound(w, req)
		return
	}
	_, _ = w.Write(data) // the client may be gone
}

func tufTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// tufKey returns the identifier and the description of a key.
func tufKey(key ed25519.PrivateKey) (string, map[string]any) {
	public := map[string]any{"keytype": "ed25519", "scheme": "ed25519", "keyval": map[string]string{
		"public": hex.EncodeToString(key.Public().(ed25519.PublicKey))}}
	return hex.EncodeToString(hash(encode(public))), public
}

// tufSign returns a document with signatures. What encoding/json writes for these is canonical.
func tufSign(signed map[string]any, keys ...ed25519.PrivateKey) []byte {
	signed["spec_version"] = "1.0.31"
	var signatures []map[string]string
	for _, key := range keys {
		id, _ := tufKey(key)
		signatures = append(signatures, map[string]string{"keyid": id,
			"sig": hex.EncodeToString(ed25519.Sign(key, encode(signed)))})
	}
	return encode(map[string]any{"signed": signed, "signatures": signatures})
}
