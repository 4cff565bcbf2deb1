package update_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/container/update"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/plan"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// plainHTTP accepts a registry without TLS.
var plainHTTP = source.Options{Registry: access.Options{InsecureSkipTLSVerify: true, Anonymous: true}}

// newRepo makes a repository.
func newRepo(t *testing.T) *repo.Repo {
	t.Helper()
	r, err := repo.Init(filepath.Join(t.TempDir(), "repo"), repo.ModeBareUser)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// debian returns the files of a system with packages of the given versions, each with one file.
func debian(versions map[string]string) map[string]string {
	files := map[string]string{"usr/lib/os-release": "ID=debian\n"}
	var status strings.Builder
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		status.WriteString("Package: " + name + "\nStatus: install ok installed\nArchitecture: amd64\nVersion: " +
			versions[name] + "\n\n")
		files["usr/bin/"+name] = name + " " + versions[name]
		files["var/lib/dpkg/info/"+name+".list"] = "/usr/bin/" + name + "\n"
	}
	files["var/lib/dpkg/status"] = status.String()
	return files
}

// build makes an image of files and writes it to a registry or a directory.
func build(t *testing.T, ref imgref.ImageReference, files map[string]string, change func(*plan.Options)) {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := rootfs.Dir(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	created := time.Unix(1_700_000_000, 0)
	opts := plan.Options{MaxLayers: 20}
	opts.Image.Created = &created
	if change != nil {
		change(&opts)
	}
	p, err := plan.Tree(t.Context(), tree, nil, opts)
	if err != nil {
		t.Fatal(err)
	}
	img, err := p.Image(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dest.Write(t.Context(), img, ref, dest.Options{Registry: plainHTTP.Registry}); err != nil {
		t.Fatal(err)
	}
}

// inDir returns a reference to an image in a new directory.
func inDir(t *testing.T) imgref.ImageReference {
	t.Helper()
	return imgref.ImageReference{Transport: imgref.OCIDir, Name: filepath.Join(t.TempDir(), "image")}
}

// pull stores an image.
func pull(t *testing.T, r *repo.Repo, ref imgref.ImageReference) *update.Image {
	t.Helper()
	p, err := store.Prepare(t.Context(), r, imgref.Unverified(ref), store.Options{Source: plainHTTP})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	res, err := p.Import(t.Context(), store.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &update.Image{Ref: imgref.Unverified(ref), Image: res.Image}
}

// open opens an image without storing it.
func open(t *testing.T, ref imgref.ImageReference) *update.Image {
	t.Helper()
	img, err := source.Open(t.Context(), imgref.Unverified(ref), plainHTTP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = img.Close() })
	return &update.Image{Ref: imgref.Unverified(ref), Image: &store.Image{ManifestDigest: img.Top.Digest, Image: img}}
}

func compare(t *testing.T, r *repo.Repo, from, to *update.Image) *update.Difference {
	t.Helper()
	d, err := update.Compare(t.Context(), r, from, to)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// wantChanges is the difference between the packages of both versions.
var (
	oldVersions = map[string]string{"a": "1", "b": "1", "c": "1:1"}
	newVersions = map[string]string{"b": "2", "c": "1:1", "d": "4"}
	wantChanges = &update.PackageChanges{
		Added:   []update.Package{{System: "deb", Name: "d", Version: "4"}},
		Removed: []update.Package{{System: "deb", Name: "a", Version: "1"}},
		Changed: []update.PackageChange{{System: "deb", Name: "b", From: "1", To: "2"}},
	}
)

func TestPackagesComeFromTheDatabasesOfStoredImages(t *testing.T) {
	t.Parallel()
	r, older, newer := newRepo(t), inDir(t), inDir(t)
	build(t, older, debian(oldVersions), func(o *plan.Options) { o.SingleLayer = true })
	files := debian(newVersions)
	files["usr/lib/passwd"] = "root:x:0:0::/root:/bin/sh\nnot a line\nbad:x:id:0:\nhttp:x:33:33::/:\n"
	files["usr/lib/group"] = "http:x:33:\n"
	files["usr/lib/modules/6.2/vmlinuz"] = "kernel"
	build(t, newer, files, func(o *plan.Options) { o.SingleLayer = true })
	d := compare(t, r, pull(t, r, older), pull(t, r, newer))
	if diff := cmp.Diff(wantChanges, d.Packages); diff != "" || d.From.Packages != update.Databases ||
		d.To.Packages != update.Databases || d.Components != nil {
		t.Errorf("%+v, packages (-want +got):\n%s", d, diff)
	}
	if d.From.Kernel != "" || d.To.Kernel != "6.2" || d.Fetch.Layers != 0 || *d.Store != 0 || len(d.Warnings) > 0 {
		t.Errorf("kernels %q and %q, %+v", d.From.Kernel, d.To.Kernel, d)
	}
	users := []update.Account{{Name: "root", ID: 0}, {Name: "http", ID: 33}}
	if !slices.Equal(d.Users, users) || !slices.Equal(d.Groups, []update.Account{{Name: "http", ID: 33}}) {
		t.Errorf("users %v, groups %v", d.Users, d.Groups)
	}
}

// TestNoLayerIsFetchedAndNothingWritten compares with an image in a registry, which counts what it sends.
func TestNoLayerIsFetchedAndNothingWritten(t *testing.T) {
	t.Parallel()
	reg, r := testreg.New(t), newRepo(t)
	ref := imgref.ImageReference{Transport: imgref.Registry, Name: reg.Host + "/os:latest"}
	build(t, ref, debian(oldVersions), nil)
	from := pull(t, r, ref)
	build(t, ref, debian(newVersions), nil)
	before, sent := written(t, r), reg.BlobsSent()
	to := open(t, ref)
	d := compare(t, r, from, to)
	if diff := cmp.Diff(wantChanges, d.Packages); diff != "" || d.From.Packages != update.Databases ||
		d.To.Packages != update.Label {
		t.Errorf("%+v, packages (-want +got):\n%s", d, diff)
	}
	if n := reg.BlobsSent() - sent; n != 1 {
		t.Errorf("%d blobs were fetched, want the configuration", n)
	}
	if after := written(t, r); !slices.Equal(before, after) {
		t.Errorf("the repository has changed: %q, before %q", after, before)
	}
	p, err := store.Prepare(t.Context(), r, imgref.Unverified(ref), store.Options{Source: plainHTTP})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	missing, size := p.Missing()
	if d.Fetch != (update.Amount{Layers: len(missing), Bytes: size}) || len(missing) == 0 {
		t.Errorf("to fetch: %+v, a pull would fetch %d layers of %d bytes", d.Fetch, len(missing), size)
	}
	all := update.Amount{Layers: d.Shared.Layers + d.Fetch.Layers, Bytes: d.Shared.Bytes + d.Fetch.Bytes}
	if d.Shared.Layers == 0 || d.To.Amount != all {
		t.Errorf("layers: %+v, %+v shared", d.To, d.Shared)
	}
	var files int64 // of packages that differ, of the database, and of what is in their layers
	for _, name := range []string{"usr/bin/b", "usr/bin/d", "var/lib/dpkg/status"} {
		files += int64(len(debian(newVersions)[name]))
	}
	if d.Store == nil || *d.Store < files || *d.Store > files+200 {
		t.Errorf("to store: %v, want %d or a little more", d.Store, files)
	}
}

// written lists the files of a repository.
func written(t *testing.T, r *repo.Repo) (names []string) {
	t.Helper()
	err := filepath.WalkDir(r.Path(), func(name string, _ os.DirEntry, err error) error {
		names = append(names, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// alter copies an image with changes to a new directory.
func alter(t *testing.T, ref imgref.ImageReference, change func(v1.Image) v1.Image) imgref.ImageReference {
	t.Helper()
	from, err := layout.FromPath(ref.Name)
	if err != nil {
		t.Fatal(err)
	}
	index, err := from.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	list, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	img, err := from.Image(list.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return save(t, change(img))
}

// save writes an image to a new directory.
func save(t *testing.T, img v1.Image) imgref.ImageReference {
	t.Helper()
	to := inDir(t)
	if _, err := layout.Write(to.Name, mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img})); err != nil {
		t.Fatal(err)
	}
	return to
}

// relabel changes labels.
func relabel(t *testing.T, img v1.Image, change func(labels map[string]string)) v1.Image {
	t.Helper()
	f, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	f = f.DeepCopy()
	change(f.Config.Labels)
	if img, err = mutate.ConfigFile(img, f); err != nil {
		t.Fatal(err)
	}
	return img
}

// onTop adds a layer.
func onTop(t *testing.T, img v1.Image) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(img, static.NewLayer(make([]byte, 1024), types.OCIUncompressedLayer))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestALabelCountsOnlyForTheLayersOfItsPlan(t *testing.T) {
	t.Parallel()
	r, older, newer := newRepo(t), inDir(t), inDir(t)
	build(t, older, debian(oldVersions), nil)
	build(t, newer, debian(newVersions), nil)
	from := pull(t, r, older)
	for name, c := range map[string]struct {
		change   func(v1.Image) v1.Image
		from, to update.Source
		warning  string
	}{
		"as it was made": {func(img v1.Image) v1.Image { return img }, update.Databases, update.Label, ""},
		"with a layer on top": {func(img v1.Image) v1.Image { return onTop(t, img) }, update.Label, update.Label,
			"has 1 layer more than when its list of packages was made"},
		"with another first layer": {func(img v1.Image) v1.Image {
			layers, err := img.Layers()
			if err != nil {
				t.Fatal(err)
			}
			f, err := img.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			other, err := mutate.AppendLayers(empty.Image, layers[1:]...)
			if err != nil {
				t.Fatal(err)
			}
			g, err := other.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			g = g.DeepCopy()
			g.Config = f.Config
			if other, err = mutate.ConfigFile(other, g); err != nil {
				t.Fatal(err)
			}
			return other
		}, update.Databases, "", ""},
		"hostile": {func(img v1.Image) v1.Image {
			return relabel(t, img, func(l map[string]string) { l["ostree-ext.packages"] = `{"deb":{"\u001b[2J":1}}` })
		}, update.Databases, "", "label ostree-ext.packages: invalid list of packages"},
		"without the list": {func(img v1.Image) v1.Image {
			return relabel(t, img, func(l map[string]string) { delete(l, "ostree-ext.packages") })
		}, update.Databases, "", ""},
	} {
		d := compare(t, r, from, open(t, alter(t, newer, c.change)))
		if d.From.Packages != c.from || d.To.Packages != c.to {
			t.Errorf("%s: packages from %q and %q, want %q and %q", name, d.From.Packages, d.To.Packages, c.from, c.to)
		}
		if want := wantChanges; c.to != "" && !cmp.Equal(d.Packages, want) {
			t.Errorf("%s: %+v", name, d.Packages)
		}
		if c.to == "" && d.Packages != nil {
			t.Errorf("%s: packages are compared that are not known: %+v", name, d.Packages)
		}
		if w := strings.Join(d.Warnings, "\n"); !strings.Contains(w, c.warning) || c.warning == "" && w != "" {
			t.Errorf("%s: warnings %q, want %q", name, w, c.warning)
		}
	}
	d := compare(t, r, from, open(t, alter(t, newer, func(img v1.Image) v1.Image {
		return relabel(t, img, func(l map[string]string) { delete(l, "ostree-ext.packages") })
	})))
	if len(d.Components) == 0 || d.Components[0].ID == "" {
		t.Errorf("without packages the components are %v", d.Components)
	}
}

// upstreams makes an image as upstream's program annotates it. Each layer is given by its history, and the names of its
// packages after a bar.
func upstreams(t *testing.T, layers ...string) imgref.ImageReference {
	t.Helper()
	img := empty.Image
	for i, l := range layers {
		history, names, ok := strings.Cut(l, "|")
		add := mutate.Addendum{Layer: static.NewLayer(make([]byte, 1024+512*i), types.OCIUncompressedLayer)}
		add.History.CreatedBy = history
		if ok {
			add.Annotations = map[string]string{"ostree.components": names}
		}
		var err error
		if img, err = mutate.Append(img, add); err != nil {
			t.Fatal(err)
		}
	}
	return save(t, img)
}

func TestImagesOfUpstreamAreComparedByAnnotations(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	from := pull(t, r, upstreams(t, "ostree export of commit 00", "linux-firmware-2024-1.fc41.noarch|linux-firmware",
		"kernel-core-6.11.4-301.fc41.x86_64|kernel-core", "9 components|bash,dropped,zlib", "Reserved for new packages|"))
	to := open(t, upstreams(t, "ostree export of commit 11", "linux-firmware-2025-1.fc41.noarch|linux-firmware",
		"kernel-core and kernel-modules|kernel-core,kernel-modules", "9 components|bash,zlib",
		"evil\x1b[2J-1-1.x|evil\x1b[2J", "odd|odd-name"))
	d := compare(t, r, from, to)
	want := &update.PackageChanges{
		Added:   []update.Package{{Name: `evil\x1b[2J`, Version: "1-1"}, {Name: "kernel-modules"}, {Name: "odd-name"}},
		Removed: []update.Package{{Name: "dropped"}},
		Changed: []update.PackageChange{{Name: "linux-firmware", From: "2024-1.fc41", To: "2025-1.fc41"}},
	}
	if diff := cmp.Diff(want, d.Packages); diff != "" || d.From.Packages != update.Annotations ||
		d.To.Packages != update.Annotations {
		t.Errorf("%+v, packages (-want +got):\n%s", d, diff)
	}
	if d.Store != nil {
		t.Errorf("%d bytes to store, want none, since no plan says so", *d.Store)
	}
	var text strings.Builder
	if err := d.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"packages (as the layers' annotations name them; most versions are not known): 1 changed, 3 added, 1 removed\n",
		"  changed  linux-firmware 2024-1.fc41 → 2025-1.fc41\n", "  added    kernel-modules\n",
	} {
		if !strings.Contains(text.String(), line) {
			t.Errorf("the text lacks %q:\n%s", line, &text)
		}
	}
}

func TestAnImageIsTheSameAsItself(t *testing.T) {
	t.Parallel()
	r, ref := newRepo(t), inDir(t)
	build(t, ref, debian(oldVersions), nil)
	from := pull(t, r, ref)
	d := compare(t, r, from, open(t, ref))
	if d.Changed || d.Fetch.Layers != 0 || d.Shared != d.To.Amount || len(d.Packages.Added) != 0 {
		t.Errorf("%+v", d)
	}
}
