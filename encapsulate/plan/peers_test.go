package plan_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/encapsulate"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// made is an image whose layers were all read.
type made struct {
	image    *encapsulate.Image
	config   []byte
	manifest *v1.Manifest
	blobs    map[v1.Hash][]byte
	reused   int
}

// finish makes the image of a plan.
func finish(t *testing.T, p *plan.Plan) made {
	t.Helper()
	img, err := p.Image(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	m := made{image: img, blobs: map[v1.Hash][]byte{}}
	for i, l := range layers {
		r, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		d, err := l.Digest()
		if err != nil {
			t.Fatal(err)
		}
		m.blobs[d] = data
		if img.Held(i) != nil {
			m.reused++
		}
	}
	if m.config, err = img.RawConfigFile(); err != nil {
		t.Fatal(err)
	}
	if m.manifest, err = img.Manifest(); err != nil {
		t.Fatal(err)
	}
	return m
}

// asPrior returns the image as a prior image. Labels are added to its configuration.
func asPrior(
	t *testing.T, manifest *v1.Manifest, config []byte, blobs map[v1.Hash][]byte, labels map[string]string,
) *oci.Image {
	t.Helper()
	var c v1.ConfigFile
	if err := json.Unmarshal(config, &c); err != nil {
		t.Fatal(err)
	}
	if c.Config.Labels == nil {
		c.Config.Labels = map[string]string{}
	}
	maps.Copy(c.Config.Labels, labels)
	rawConfig, configErr := json.Marshal(c)
	rawManifest, manifestErr := json.Marshal(manifest)
	if configErr != nil || manifestErr != nil {
		t.Fatal(configErr, manifestErr)
	}
	var view ocispec.Manifest
	if err := json.Unmarshal(rawManifest, &view); err != nil {
		t.Fatal(err)
	}
	p, err := oci.New(oci.Document{Raw: rawManifest}, view, rawConfig, content(blobs))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// content maps digests to blobs.
type content map[v1.Hash][]byte

func (c content) Blob(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	h, err := v1.NewHash(d.Digest.String())
	return io.NopCloser(bytes.NewReader(c[h])), err
}
func (c content) Parallel() bool { return true }
func (c content) Near() bool     { return true }
func (c content) Close() error   { return nil }

const packages = 80

// system writes a system of packages to a directory. The packages in updated have a newer version.
func system(t *testing.T, updated ...int) string {
	t.Helper()
	root := t.TempDir()
	write := func(name, content string) {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, time.Unix(1_600_000_000, 0), time.Unix(1_600_000_000, 0)); err != nil {
			t.Fatal(err)
		}
	}
	var status strings.Builder
	for i := range packages {
		version := uint64(1)
		if slices.Contains(updated, i) {
			version = 2
		}
		name := fmt.Sprintf("pkg%02d", i)
		fmt.Fprintf(&status, "Package: %s\nStatus: install ok installed\nArchitecture: all\nVersion: %d-1\n\n", name, version)
		files := []string{"/usr/bin/" + name, "/usr/share/" + name + "/data", "/usr/share/doc/" + name + "/copyright"}
		write("var/lib/dpkg/info/"+name+".list", "/.\n/usr\n/usr/bin\n"+strings.Join(files, "\n")+"\n")
		noise := rand.NewChaCha8([32]byte{byte(i), byte(version)})
		content := make([]byte, 20_000+3_000*(i%17))
		_, _ = noise.Read(content)
		write(files[0][1:], string(content[:5000]))
		write(files[1][1:], string(content[5000:]))
		write(files[2][1:], "the license of "+name)
	}
	write("var/lib/dpkg/status", status.String())
	write("usr/lib/os-release", "ID=test\nVERSION_ID=1\n")
	write("opt/unowned", "nobody's")
	return root
}

func dir(t *testing.T, root string) *rootfs.Directory {
	t.Helper()
	d, err := rootfs.Dir(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func commitOf(t *testing.T, root string) *plan.Committed {
	t.Helper()
	c, err := plan.CommitTree(t.Context(), dir(t, root), plan.OSTreeOptions{Time: time.Unix(1_700_000_000, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// peers are the programs whose images we can continue from. Each makes an image of a system.
var peers = []struct {
	name  string
	plain bool
	image func(t *testing.T, root string) *oci.Image
}{
	{"rpm-ostree and upstream", false, func(t *testing.T, root string) *oci.Image {
		m := upstreamPacked(t, root, nil)
		return asPrior(t, m.manifest, m.config, m.blobs, nil)
	}},
	{"rechunk", false, func(t *testing.T, root string) *oci.Image {
		m := upstreamPacked(t, root, rechunkMeta(t, commitOf(t, root)))
		labels := map[string]string{"dev.hhd.rechunk.info": `{"version":2,"layers":[]}`}
		return asPrior(t, m.manifest, m.config, m.blobs, labels)
	}},
	{"chunkah", true, chunkah},
}

func upstreamPacked(t *testing.T, root string, meta []byte) made {
	t.Helper()
	c := commitOf(t, root)
	opts := plan.Options{Packing: plan.PackUpstream, MaxLayers: 30}
	if meta != nil {
		if err := opts.UseContentMeta(t.Context(), c.Source, meta, true); err != nil {
			t.Fatal(err)
		}
	}
	p, err := plan.Commit(t.Context(), c.Source, c.Commit, opts)
	if err != nil {
		t.Fatal(err)
	}
	return finish(t, p)
}

// rechunkMeta returns content metadata as rechunk passes them to upstream's program: layers that rechunk chose, each
// with a name.
func rechunkMeta(t *testing.T, c *plan.Committed) []byte {
	t.Helper()
	tree, err := rootfs.Commit(t.Context(), c.Source, c.Commit)
	if err != nil {
		t.Fatal(err)
	}
	meta := struct {
		Version int               `json:"version"`
		Layers  map[string]string `json:"layers"`
		Mapping map[string]string `json:"mapping"`
	}{1, map[string]string{"unpackaged": "unpackaged"}, map[string]string{}}
	for _, e := range tree.Entries().All() {
		if e.IsDir() {
			continue
		}
		layer := "unpackaged"
		if name := packageOf(e.Path()); name != "" {
			layer = fmt.Sprintf("rechunk_layer%03d", bucket(name, 20))
			if n := meta.Layers[layer]; !strings.Contains(n, name) {
				meta.Layers[layer] = strings.TrimPrefix(n+","+name, ",")
			}
		}
		meta.Mapping[e.Object.String()] = layer
	}
	data, err := json.Marshal(meta)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func packageOf(p string) string {
	for _, part := range strings.Split(p, "/") {
		if strings.HasPrefix(part, "pkg") && !strings.Contains(part, ".") {
			return part
		}
	}
	return ""
}

func bucket(name string, n uint64) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return h.Sum64() % n
}

// chunkah makes an ordinary image as chunkah does: uncompressed layers, times kept, members in annotations.
func chunkah(t *testing.T, root string) *oci.Image {
	t.Helper()
	layers := map[string][]string{}
	names := map[string]map[string]bool{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		layer, component := "unclaimed", "chunkah/unclaimed"
		if name := packageOf(p); name != "" {
			layer, component = fmt.Sprint(bucket(name, 25)), "dpkg/"+name
		}
		layers[layer] = append(layers[layer], p)
		if names[layer] == nil {
			names[layer] = map[string]bool{}
		}
		names[layer][component] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	image, blobs := empty.Image, map[v1.Hash][]byte{}
	for _, layer := range slices.Sorted(maps.Keys(layers)) {
		data := tarOf(t, root, layers[layer])
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
			tarball.WithMediaType(types.OCIUncompressedLayer))
		if err != nil {
			t.Fatal(err)
		}
		h, _, err := v1.SHA256(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		blobs[h] = data
		image, err = mutate.Append(image, mutate.Addendum{
			Layer: uncompressed{l, h, data}, MediaType: types.OCIUncompressedLayer,
			Annotations: map[string]string{"org.chunkah.component": strings.Join(slices.Sorted(maps.Keys(names[layer])), " ")},
			History:     v1.History{Author: "chunkah", CreatedBy: "chunkah"},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	manifest, manifestErr := image.Manifest()
	config, configErr := image.RawConfigFile()
	if manifestErr != nil || configErr != nil {
		t.Fatal(manifestErr, configErr)
	}
	return asPrior(t, manifest, config, blobs, nil)
}

// uncompressed is a layer whose blob is the tar stream itself.
type uncompressed struct {
	v1.Layer
	digest v1.Hash
	data   []byte
}

func (u uncompressed) Digest() (v1.Hash, error) { return u.digest, nil }
func (u uncompressed) DiffID() (v1.Hash, error) { return u.digest, nil }
func (u uncompressed) Size() (int64, error)     { return int64(len(u.data)), nil }
func (u uncompressed) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(u.data)), nil
}

// tarOf writes files with the directories above them, in GNU's format, sorted.
func tarOf(t *testing.T, root string, files []string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	seen := map[string]bool{}
	var add func(p string)
	add = func(p string) {
		if seen[p] {
			return
		}
		seen[p] = true
		if p != root {
			add(filepath.Dir(p))
		}
		fi, err := os.Lstat(p)
		if err != nil {
			t.Fatal(err)
		}
		h, err := tar.FileInfoHeader(fi, "")
		if err != nil {
			t.Fatal(err)
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			t.Fatal(err)
		}
		h.Name, h.Format, h.Uname, h.Gname = filepath.ToSlash(rel), tar.FormatGNU, "", ""
		if fi.IsDir() {
			h.Name += "/"
		}
		err = w.WriteHeader(h)
		if err == nil && !fi.IsDir() {
			var data []byte
			if data, err = os.ReadFile(p); err == nil {
				_, err = w.Write(data)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range files {
		add(f)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestContinuingFromAPeersImageKeepsWhatDidNotChange updates two packages after another program made the image. At
// least nine tenths of the bytes of the other packages must be in layers that are taken over.
func TestContinuingFromAPeersImageKeepsWhatDidNotChange(t *testing.T) {
	t.Parallel()
	for _, peer := range peers {
		t.Run(peer.name, func(t *testing.T) {
			t.Parallel()
			prior := peer.image(t, system(t))
			after := system(t, 40)
			opts := plan.Options{MaxLayers: 50, Prior: prior}
			p, err := planOf(t, after, peer.plain, opts)
			if err != nil {
				t.Fatal(err)
			}
			m := finish(t, p)
			checkKept(t, p, m, "deb/pkg40")
			// From now on the image has our plan.
			ours := asPrior(t, m.manifest, m.config, m.blobs, nil)
			next, err := planOf(t, system(t, 40, 41), peer.plain, plan.Options{MaxLayers: 50, Prior: ours})
			if err != nil {
				t.Fatal(err)
			}
			checkKept(t, next, finish(t, next), "deb/pkg41")
		})
	}
}

// checkKept checks that nine tenths of the bytes of all components except one are in layers of the prior image.
func checkKept(t *testing.T, p *plan.Plan, m made, changed string) {
	t.Helper()
	var kept, total uint64
	for i, l := range p.Arrangement.Layers {
		total += l.Size
		if m.image.Held(i+1) != nil {
			kept += l.Size
		}
	}
	total -= unitSize(p, changed)
	t.Logf("kept %d of %d bytes, %d of %d layers", kept, total, m.reused, len(m.manifest.Layers))
	if kept*10 < total*9 {
		t.Errorf("kept %d of %d bytes that did not change", kept, total)
	}
	if len(p.Warnings) > 0 {
		t.Errorf("warnings: %q", p.Warnings)
	}
}

func planOf(t *testing.T, root string, plain bool, opts plan.Options) (*plan.Plan, error) {
	t.Helper()
	if plain {
		created := time.Unix(1_700_000_000, 0)
		opts.Image.Created = &created
		return plan.Tree(t.Context(), dir(t, root), nil, opts)
	}
	c := commitOf(t, root)
	return plan.Commit(t.Context(), c.Source, c.Commit, opts)
}

func unitSize(p *plan.Plan, id string) uint64 {
	i := slices.IndexFunc(p.Arrangement.Units, func(u chunking.Unit) bool { return u.ID == id })
	if i < 0 {
		return 0
	}
	return p.Arrangement.Units[i].Size
}
