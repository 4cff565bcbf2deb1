// Package sigstorefixture serves, on loopback, images that the real cosign signed, as two registries held them. The
// references of the images, which some signatures name, begin with registry.example; RegistriesConf says where that is.
package sigstorefixture

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.podman.io/image/v5/pkg/sysregistriesv2"

	"github.com/ostree-ext/ostree-ext-go/internal/fixtures"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// Host is the name of the registry in the references of the images.
const Host = "registry.example"

// Name returns the name of an image, such as registry.example/os/att1 for "att1". It has no tag; "latest" is there.
func Name(image string) string { return Host + "/os/" + image }

// repository is what registry.json says about a repository.
type repository struct {
	Manifests map[string]string `json:"manifests"` // the media types
	Referrers bool              `json:"referrers"`
	Tags      map[string]string `json:"tags"`
}

// Load starts a registry with all images. It answers requests for referrers where the original did, and takes more
// content. See [fixtures.Dir] for what happens if the data is missing.
func Load(t testing.TB) *testreg.Registry {
	t.Helper()
	dir := fixtures.Dir(t, "sigstore")
	data, err := os.ReadFile(filepath.Join(dir, "registry.json"))
	if err != nil {
		t.Fatal(err)
	}
	var repositories map[string]repository
	if err := json.Unmarshal(data, &repositories); err != nil {
		t.Fatal(err)
	}
	r := testreg.New(t)
	r.ServeReferrers(testreg.Referrers{In: func(name string) bool { return repositories[name].Referrers }})
	blobs := filepath.Join(dir, "blobs", "sha256")
	for name, repo := range repositories {
		if err := load(r, blobs, name, repo); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return r
}

// load stores a repository with the blobs that its manifests name.
func load(r *testreg.Registry, blobs, name string, repo repository) error {
	digests := slices.SortedFunc(maps.Keys(repo.Manifests), func(a, b string) int {
		// Indexes come after what they list: ".manifest" before ".index".
		return strings.Compare(repo.Manifests[b], repo.Manifests[a])
	})
	content := map[string][]byte{}
	for _, d := range digests {
		data, err := readBlob(blobs, d)
		if err != nil {
			return err
		}
		content[d] = data
		if err := r.Put(name, d, repo.Manifests[d], data); err != nil {
			return err
		}
		var manifest struct {
			Config *struct{ Digest string }
			Layers []struct{ Digest string }
		}
		if err := json.Unmarshal(data, &manifest); err != nil {
			return fmt.Errorf("%s: %w", d, err)
		}
		if manifest.Config != nil {
			manifest.Layers = append(manifest.Layers, *manifest.Config)
		}
		for _, blob := range manifest.Layers {
			data, err := readBlob(blobs, blob.Digest)
			if err != nil {
				return err
			}
			if err := r.PutBlob(name, blob.Digest, data); err != nil {
				return err
			}
		}
	}
	for tag, d := range repo.Tags {
		if err := r.Put(name, tag, repo.Manifests[d], content[d]); err != nil {
			return err
		}
	}
	return nil
}

func readBlob(dir, digest string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(dir, strings.TrimPrefix(digest, "sha256:")))
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(data); "sha256:"+hex.EncodeToString(sum[:]) != digest {
		return nil, fmt.Errorf("%s has other content", digest)
	}
	return data, nil
}

// RegistriesConf has this process, and those that it starts, find the images at r until the test ends.
func RegistriesConf(t testing.TB, r *testreg.Registry) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "registries.conf")
	conf := fmt.Sprintf("[[registry]]\nprefix = %q\nlocation = %q\ninsecure = true\n", Host, r.Host)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CONTAINERS_REGISTRIES_CONF", file)
	sysregistriesv2.InvalidateCache()
	t.Cleanup(sysregistriesv2.InvalidateCache)
}

// PublicKey returns the file with the public key 1 or 2.
func PublicKey(t testing.TB, n int) string { return key(t, n, "pub") }

// PrivateKey returns the file with the private key 1 or 2, as cosign encrypts it, with an empty password.
func PrivateKey(t testing.TB, n int) string { return key(t, n, "key") }

// keys are the files of [key], by test and name.
var keys sync.Map

type testKey struct {
	t    testing.TB
	name string
}

// key copies a key, once for each test, so that it belongs to the user of the test, whoever has the sources.
func key(t testing.TB, n int, kind string) string {
	t.Helper()
	id := testKey{t, fmt.Sprintf("key%d.%s", n, kind)}
	if file, ok := keys.Load(id); ok {
		return file.(string)
	}
	data, err := os.ReadFile(fixtures.Dir(t, "sigstore", "keys", id.name))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), id.name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	keys.Store(id, file)
	t.Cleanup(func() { keys.Delete(id) })
	return file
}

// A Verdict says whether a policy accepts an image.
type Verdict struct {
	Image string
	// Bundles says that the policy accepts bundles, not only attachments.
	Bundles bool
	// Keys are the numbers of the policy's keys.
	Keys   []int
	Accept bool
}

// String returns a name for a test, such as "att1/attach-key1".
func (v Verdict) String() string {
	name := "attach-"
	if v.Bundles {
		name = "any-"
	}
	for i, k := range v.Keys {
		if i > 0 {
			name += "+"
		}
		name += fmt.Sprintf("key%d", k)
	}
	return v.Image + "/" + name
}

// Verdicts returns the lines of expected.tsv.
func Verdicts(t testing.TB) []Verdict {
	t.Helper()
	f, err := os.Open(fixtures.Dir(t, "sigstore", "expected.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []Verdict
	lines := bufio.NewScanner(f)
	lines.Scan() // the names of the columns
	for lines.Scan() {
		v, err := parseVerdict(lines.Text())
		if err != nil {
			t.Fatalf("%s: %v", f.Name(), err)
		}
		all = append(all, v)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func parseVerdict(line string) (Verdict, error) {
	fields := strings.Split(line, "\t")
	if len(fields) != 3 {
		return Verdict{}, fmt.Errorf("%q does not have three columns", line)
	}
	v := Verdict{Image: fields[0], Accept: fields[2] == "accept"}
	kind, keys, _ := strings.Cut(fields[1], "-")
	v.Bundles = kind == "any"
	for k := range strings.SplitSeq(keys, "+") {
		switch k {
		case "key1":
			v.Keys = append(v.Keys, 1)
		case "key2":
			v.Keys = append(v.Keys, 2)
		default:
			return Verdict{}, fmt.Errorf("%q names an unknown key", line)
		}
	}
	if (kind != "any" && kind != "attach") || (!v.Accept && fields[2] != "refuse") {
		return Verdict{}, fmt.Errorf("%q has an unknown word", line)
	}
	return v, nil
}
