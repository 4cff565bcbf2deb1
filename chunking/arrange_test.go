package chunking_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// files is a tree with names and objects only.
type files struct{ entries *rootfs.List }

func (f files) Entries() *rootfs.List { return f.entries }
func (f files) Open(context.Context, int) (io.ReadCloser, error) {
	return nil, fmt.Errorf("the test does not expect content to be read")
}

// packages describes a system. It maps a component to its version, or to a list of "path=content".
type packages map[string]string

// system returns a tree of packages with a big and a small file each, and the components in it.
func system(t *testing.T, pkgs packages, extra map[string]string) (files, *component.Set) {
	t.Helper()
	owner, content := map[string]string{}, map[string]string{}
	for id, version := range pkgs {
		name := path.Base(id)
		for _, p := range []string{"/usr/bin/" + name, "/usr/share/" + name + "/data"} {
			owner[p], content[p] = id, name+version+path.Base(p)
		}
	}
	for p, of := range extra {
		owner[p], content[p], _ = strings.Cut(of, "=")
	}
	set := &component.Set{Reference: time.Unix(1_700_000_000, 0)}
	b := rootfs.NewBuilder(0)
	var objects []object.Checksum
	seen := map[string]bool{}
	add := func(p string, e rootfs.Entry) {
		if seen[p] {
			return
		}
		seen[p] = true
		e.Dir, e.Name = rootfs.Split(p)
		if err := b.Add(e); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, e.Object)
	}
	for p, c := range content {
		size := int64(1<<20 + len(c))
		if strings.HasPrefix(c, "small") {
			size = 100
		}
		header := &object.FileHeader{Mode: object.ModeRegular | 0o644}
		add(p, rootfs.Entry{FileHeader: header, Object: sha256.Sum256([]byte(c)), Size: size})
		for d := path.Dir(p); ; d = path.Dir(d) {
			add(d, rootfs.Entry{FileHeader: &object.FileHeader{Mode: object.ModeDir | 0o755}})
			if d == "/" {
				break
			}
		}
	}
	list, _ := b.List(func(a, b int) int { return objects[a].Compare(objects[b]) })
	ids := map[string]bool{}
	for _, id := range owner {
		ids[id] = true
	}
	for id := range ids {
		set.Components = append(set.Components, component.Component{ID: id, Packages: []string{path.Base(id)}})
	}
	slices.SortFunc(set.Components, func(a, b component.Component) int { return strings.Compare(a.ID, b.ID) })
	for _, e := range list.All() {
		claim := component.Claim{Component: -1}
		if id, ok := owner[e.Path()]; ok {
			claim.Component = int32(slices.IndexFunc(set.Components, func(c component.Component) bool { return c.ID == id }))
		}
		set.Claims = append(set.Claims, claim)
	}
	return files{list}, set
}

func distro(n int) packages {
	p := packages{}
	for i := range n {
		p[fmt.Sprintf("deb/p%02d", i)] = "1"
	}
	return p
}

func arrange(t *testing.T, pkgs packages, extra map[string]string, opts chunking.ArrangeOptions) *chunking.Arrangement {
	t.Helper()
	tree, set := system(t, pkgs, extra)
	opts.Format = "test"
	a, err := chunking.Arrange(tree, set, opts)
	if err != nil {
		t.Fatal(err)
	}
	checkPartition(t, tree, a)
	return a
}

// checkPartition checks that every file is in exactly one layer.
func checkPartition(t *testing.T, tree files, a *chunking.Arrangement) {
	t.Helper()
	layers := map[uint32]int{}
	for _, l := range a.Layers {
		for _, i := range l.Entries {
			layers[i]++
		}
	}
	for i, e := range tree.entries.All() {
		want := 1
		if e.IsDir() {
			want = 0
		}
		if layers[uint32(i)] != want {
			t.Errorf("%s is in %d layers", e.Path(), layers[uint32(i)])
		}
	}
}

// priorOf returns what the next build reads from the image's label.
func priorOf(t *testing.T, a *chunking.Arrangement) *chunking.Prior {
	t.Helper()
	label, err := a.Record.Encode()
	if err != nil {
		t.Fatal(err)
	}
	r, err := chunking.ParseRecord(label)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&a.Record, r); diff != "" {
		t.Fatalf("the record changes when it is encoded and parsed (-want +got):\n%s", diff)
	}
	p := &chunking.Prior{Components: r.Components}
	for _, l := range r.Layers {
		p.Layers = append(p.Layers, chunking.PriorLayer{Components: l.Components, Key: l.Key})
	}
	return p
}

func kept(a *chunking.Arrangement) (n int) {
	for _, l := range a.Layers {
		if l.Prior >= 0 {
			n++
		}
	}
	return n
}

func TestAnUnchangedTreeKeepsEveryLayerAndItsRecord(t *testing.T) {
	opts := chunking.ArrangeOptions{MaxChunks: 7}
	first := arrange(t, distro(40), nil, opts)
	if len(first.Layers) != 7 {
		t.Fatalf("%d layers, want 7", len(first.Layers))
	}
	opts.Prior = priorOf(t, first)
	second := arrange(t, distro(40), nil, opts)
	if kept(second) != 7 || len(second.Dirty) != 0 {
		t.Errorf("kept %d of 7, dirty %v", kept(second), second.Dirty)
	}
	if diff := cmp.Diff(first.Record, second.Record); diff != "" {
		t.Errorf("the record changed (-first +second):\n%s", diff)
	}
}

func TestOneChangedPackageDirtiesOneLayerAndSaysSo(t *testing.T) {
	opts := chunking.ArrangeOptions{MaxChunks: 7}
	pkgs := distro(40)
	first := arrange(t, pkgs, nil, opts)
	opts.Prior = priorOf(t, first)
	pkgs["deb/p11"] = "2"
	second := arrange(t, pkgs, nil, opts)
	if kept(second) != 6 {
		t.Errorf("kept %d layers, want 6", kept(second))
	}
	if len(second.Dirty) != 1 || !cmp.Equal(second.Dirty[0].Changed, []string{"deb/p11"}) {
		t.Errorf("dirty: %+v", second.Dirty)
	}
	k := second.Record.Components["deb/p11"]
	if k.Changes != 1 {
		t.Errorf("p11: got %+v, want one change", k)
	}
}

func TestNewAndVanishedComponentsOpenNoMoreThanTheirLayer(t *testing.T) {
	opts := chunking.ArrangeOptions{MaxChunks: 7}
	pkgs := distro(40)
	opts.Prior = priorOf(t, arrange(t, pkgs, nil, opts))
	delete(pkgs, "deb/p03")
	pkgs["deb/new"] = "1"
	second := arrange(t, pkgs, nil, opts)
	if kept(second) != 6 {
		t.Errorf("kept %d layers, want 6", kept(second))
	}
	if len(second.Dirty) != 1 || !cmp.Equal(second.Dirty[0].Removed, []string{"deb/p03"}) {
		t.Errorf("dirty: %+v", second.Dirty)
	}
}

func TestLayersOfAnotherProgramAreTakenOverByTheirFiles(t *testing.T) {
	pkgs := distro(12)
	old, _ := system(t, pkgs, nil)
	// The other program chose the layer by the last digit of the name, regardless of the component.
	foreign := func() *chunking.Prior {
		tree, _ := system(t, pkgs, nil)
		layers := make([]chunking.PriorLayer, 5)
		changed := map[int]bool{}
		n := 0
		for i, e := range tree.entries.All() {
			layers[n%5].Foreign = true
			switch {
			case e.IsDir():
				continue
			case e.Object != old.entries.At(i).Object:
				changed[n%5] = true
			}
			layers[n%5].Entries = append(layers[n%5].Entries, uint32(i))
			n++
		}
		for i := range changed {
			layers[i].Entries = nil
		}
		return &chunking.Prior{Layers: layers}
	}
	same := arrange(t, pkgs, nil, chunking.ArrangeOptions{MaxChunks: 10, Prior: foreign()})
	if kept(same) != 5 || len(same.Layers) != 5 {
		t.Errorf("kept %d of 5 in %d layers", kept(same), len(same.Layers))
	}
	pkgs["deb/p05"] = "2" // two files, in two of the layers
	next := arrange(t, pkgs, nil, chunking.ArrangeOptions{MaxChunks: 10, Prior: foreign()})
	if kept(next) != 3 || len(next.Dirty) != 2 {
		t.Errorf("kept %d of 5, dirty %+v", kept(next), next.Dirty)
	}
	for _, l := range next.Record.Layers[:3] {
		if l.Components != nil {
			t.Errorf("a layer that does not follow components is recorded with %v", l.Components)
		}
	}
}

func TestALargeObjectOfTwoOwnersIsInOneLayerASmallOneInBoth(t *testing.T) {
	shared := map[string]string{
		"/a/big": "deb/one=big", "/b/big": "deb/two=big",
		"/a/small": "deb/one=small", "/b/small": "deb/two=small",
	}
	tree, set := system(t, packages{"deb/one": "1", "deb/two": "1"}, shared)
	units := chunking.Units(tree, set, chunking.ShareObjects)
	got := map[string][]string{}
	for _, u := range units {
		for _, i := range u.Entries {
			if p := tree.entries.At(int(i)).Path(); strings.HasSuffix(p, "big") || strings.HasSuffix(p, "small") {
				got[u.ID] = append(got[u.ID], p)
			}
		}
	}
	want := map[string][]string{"deb/one": {"/a/big", "/a/small", "/b/big"}, "deb/two": {"/b/small"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFiftyUpdatesKeepEveryUntouchedLayer(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pkgs := distro(60)
	opts := chunking.ArrangeOptions{MaxChunks: 12}
	last := arrange(t, pkgs, nil, opts)
	for step := range 50 {
		opts.Prior = priorOf(t, last)
		changed := fmt.Sprintf("deb/p%02d", rnd.IntN(60))
		pkgs[changed] = fmt.Sprint(step + 2)
		next := arrange(t, pkgs, nil, opts)
		if len(next.Layers) > 12 || len(next.Dirty) != 1 {
			t.Fatalf("step %d: %d layers, %d of them dirty", step, len(next.Layers), len(next.Dirty))
		}
		last = next
	}
}

func TestRecordsThatMakeNoSenseAreErrors(t *testing.T) {
	for name, label := range map[string]string{
		"empty":           "",
		"no JSON":         "{",
		"another version": `{"v":2,"first":"AAAAAAAAAAAAAAAAAAAAAA=="}`,
		"a short key":     `{"v":1,"first":"AAAA"}`,
		"an unknown member": `{"v":1,"first":"AAAAAAAAAAAAAAAAAAAAAA=="` +
			`,"layers":[{"c":[0],"k":"AAAAAAAAAAAAAAAAAAAAAA=="}]}`,
		"a negative member": `{"v":1,"first":"AAAAAAAAAAAAAAAAAAAAAA=="` +
			`,"layers":[{"c":[-1],"k":"AAAAAAAAAAAAAAAAAAAAAA=="}]}`,
		"a short component":   `{"v":1,"first":"AAAAAAAAAAAAAAAAAAAAAA==","components":[["a"]]}`,
		"base64 without gzip": "AAAA",
		"a component thrice": `{"v":1,"first":"AAAAAAAAAAAAAAAAAAAAAA==","components":[["a","AAAAAAAAAAA=",0,0,0,0]]` +
			`,"layers":[{"c":[0,0],"k":"AAAAAAAAAAAAAAAAAAAAAA=="}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			if r, err := chunking.ParseRecord(label); err == nil {
				t.Errorf("no error, but %+v", r)
			}
		})
	}
}

func FuzzParseRecord(f *testing.F) {
	plan := block(f, "plan")
	f.Add(plan)
	long, err := chunking.ParseRecord(plan)
	if err != nil {
		f.Fatal(err)
	}
	for i := range 200 {
		long.Components[fmt.Sprintf("deb/package-%d", i)] = chunking.Known{Size: uint64(i)}
	}
	compressed, err := long.Encode()
	if err != nil || strings.HasPrefix(compressed, "{") {
		f.Fatalf("the label is not compressed: %.40s, %v", compressed, err)
	}
	f.Add(compressed)
	f.Add(`{"v":1,"format":"ostree-1","ref":0,"first":"AAAAAAAAAAAAAAAAAAAAAA==","layers":null,"components":null}`)
	f.Add(`{"v":2}`)
	f.Fuzz(func(t *testing.T, label string) {
		r, err := chunking.ParseRecord(label)
		if err != nil {
			return
		}
		again, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := chunking.ParseRecord(again); err != nil {
			t.Errorf("the encoded record cannot be parsed: %v", err)
		}
	})
}

// TestLayersAreWeighedByCompressedSize checks that content that compresses well is cheap to send, and that each
// component is estimated only once.
func TestLayersAreWeighedByCompressedSize(t *testing.T) {
	asked := map[string]int{}
	opts := chunking.ArrangeOptions{MaxChunks: 7, Density: func(units []chunking.Unit) ([]int, error) {
		out := make([]int, len(units))
		for i, u := range units {
			asked[u.ID]++
			out[i] = 250
		}
		return out, nil
	}}
	pkgs := distro(40)
	heavy := arrange(t, pkgs, nil, chunking.ArrangeOptions{MaxChunks: 7})
	first := arrange(t, pkgs, nil, opts)
	if ratio := first.Expected / heavy.Expected; ratio < 0.24 || ratio > 0.30 {
		t.Errorf("expected download is %.2f of that of uncompressed layers, want a quarter", ratio)
	}
	var sizes uint64
	for _, l := range first.Layers {
		sizes += l.Size
	}
	if sizes < 40<<21 {
		t.Errorf("the layers hold %d bytes, want the size of the content", sizes)
	}
	opts.Prior = priorOf(t, first)
	pkgs["deb/p11"], pkgs["deb/new"] = "2", "1"
	arrange(t, pkgs, nil, opts)
	if len(asked) != 41 {
		t.Errorf("%d components were estimated, want 41", len(asked))
	}
	for id, n := range asked {
		if n != 1 {
			t.Errorf("%s was estimated %d times", id, n)
		}
	}
	opts.Prior, opts.Density = nil, func([]chunking.Unit) ([]int, error) { return nil, io.ErrClosedPipe }
	tree, set := system(t, pkgs, nil)
	if _, err := chunking.Arrange(tree, set, opts); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a component that cannot be read: %v", err)
	}
}
