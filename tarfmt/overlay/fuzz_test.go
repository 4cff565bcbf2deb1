package overlay_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/overlay"
)

// model is a simple implementation of the overlay: a table of all paths, like the one that umoci keeps of the paths of
// a layer.
type model struct {
	files   map[string]*file
	brought map[string]bool
}

var errModel = errors.New("refused")

func (m *model) apply(layer []entry) error {
	m.brought = map[string]bool{}
	var waiting []entry
	for i, e := range layer {
		wait, err := m.entry(e, layer[i+1:])
		if err != nil {
			return err
		}
		if wait {
			waiting = append(waiting, e)
		}
	}
	for _, e := range waiting {
		if _, err := m.entry(e, nil); err != nil {
			return err
		}
	}
	return nil
}

// entry applies an entry, or reports that it has to wait for the rest of the layer.
func (m *model) entry(e entry, rest []entry) (wait bool, err error) {
	if e.Mark == overlay.None {
		return false, m.add(e)
	}
	dir, name := path.Split(e.Path)
	if e.Mark == overlay.Opaque {
		dir, name = e.Path, ""
	}
	at, wait, err := m.resolve(dir, func(p string) bool {
		return slices.ContainsFunc(rest, func(r entry) bool { return r.Mark != overlay.Opaque && r.Path == p })
	})
	if err != nil || wait {
		return wait, err
	}
	hidden := path.Join(at, name)
	for p := range m.files {
		if !m.brought[p] && (below(p, hidden) || name != "" && p == hidden) {
			delete(m.files, p)
		}
	}
	return false, nil
}

func (m *model) add(e entry) error {
	if e.Path == "/" {
		if e.File == nil || !e.File.IsDir() {
			return errModel
		}
		return nil
	}
	dir, name := path.Split(e.Path)
	dir, _, err := m.resolve(dir, nil)
	if err != nil {
		return err
	}
	p := path.Join(dir, name)
	for at := dir; at != "/"; at = path.Dir(at) {
		if f := m.files[at]; f == nil {
			m.files[at] = &file{FileHeader: object.FileHeader{Mode: object.ModeDir | 0o755}}
		} else if !f.IsDir() {
			return errModel
		}
		m.brought[at] = true
	}
	m.brought[p] = true
	if old := m.files[p]; old == nil || !old.IsDir() || e.File == nil || !e.File.IsDir() {
		for other := range m.files {
			if other == p || below(other, p) {
				delete(m.files, other)
			}
		}
	}
	f := e.File
	if f == nil {
		dir, name := path.Split(e.Link)
		if dir, _, err = m.resolve(dir, nil); err != nil {
			return err
		}
		if f = m.files[path.Join(dir, name)]; f == nil || f.IsDir() {
			return errModel
		}
	}
	m.files[p] = f
	return nil
}

func (m *model) resolve(rest string, wait func(string) bool) (at string, again bool, err error) {
	at = "/"
	for links := 0; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		p := path.Join(at, name)
		f := m.files[p]
		if p == "/" || f == nil || !f.IsSymlink() {
			at = p
			continue
		}
		if wait != nil && wait(p) {
			return "", true, nil
		}
		if links++; links > 255 {
			return "", false, errModel
		}
		if path.IsAbs(f.Target) {
			at = "/"
		}
		rest = f.Target + "/" + rest
	}
	return at, false, nil
}

func below(p, dir string) bool {
	return p != dir && strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

// show formats the model as a tree is formatted.
func (m *model) show(t *testing.T) string {
	t.Helper()
	tree, err := overlay.New(func(yield func(string, *file) bool) {
		for _, p := range slices.Sorted(maps.Keys(m.files)) {
			if !yield(p, m.files[p]) {
				return
			}
		}
	}, nil)
	if err != nil {
		t.Fatalf("the model is not a tree: %v", err)
	}
	return show(t, tree)
}

// decode makes layers from any bytes, three for each entry.
func decode(data []byte) (layers [][]entry) {
	layers = [][]entry{nil}
	names := [...]string{"a", "b", "c", "d"}
	// A path has one to three names.
	name := func(b byte) string {
		p := "/" + names[b&3]
		for depth := b >> 6 & 3; depth > 0 && depth < 3; depth-- {
			b >>= 2
			p += "/" + names[b&3]
		}
		return p
	}
	targets := [...]string{"", "/", "../", "./", "x/../", "../../"}
	for ; len(data) >= 3 && len(layers) < 6; data = data[3:] {
		e := entry{Path: name(data[1])}
		switch value := data[2]; data[0] % 10 {
		case 0:
			layers = append(layers, nil)
			continue
		case 1, 2:
			e.File = &file{FileHeader: object.FileHeader{Mode: object.ModeDir | uint32(value)}}
		case 3, 4:
			e.File = &file{FileHeader: object.FileHeader{Mode: object.ModeRegular}, Content: fmt.Sprint(value)}
		case 5, 6:
			e.File = &file{FileHeader: object.FileHeader{Mode: object.ModeSymlink}}
			e.File.Target = targets[int(data[0])%len(targets)] + name(value)[1:]
		case 7:
			e.Link = name(value)
		case 8:
			e.Mark = overlay.Whiteout
		case 9:
			e.Mark = overlay.Opaque
			if value == 0 {
				e.Path = "/"
			}
		}
		last := len(layers) - 1
		layers[last] = append(layers[last], e)
	}
	return layers
}

func FuzzApply(f *testing.F) {
	for _, seed := range []string{
		"",
		"\x01\x00\x00\x05\x01\x00\x03\x41\x31\x00..\x01\x01\x00\x08\x41\x00\x03\x41\x32",
		"\x05\x00\x00\x00..\x08\x40\x00\x01\x00\x00\x03\x44\x01\x00..\x09\x00\x01\x07\x02\x44",
		"\x03\x44\x31\x07\x02\x44\x0f\x03\x00\x00..\x03\x02\x32\x08\x02\x00\x07\x01\x44\x09\x00\x00",
		"\x05\x00\x01\x05\x01\x00\x00..\x08\x48\x00\x08\x00\x00\x03\x48\x31",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) { compareWithModel(t, decode(data)) })
}

func TestRandomLayersAreAppliedAsTheModelSays(t *testing.T) {
	random := rand.NewChaCha8([32]byte{})
	applied := 0
	for range 10_000 {
		data := make([]byte, 60)
		_, _ = random.Read(data) // never fails
		applied += compareWithModel(t, decode(data))
	}
	if applied < 5000 {
		t.Errorf("only %d layers could be applied: there is little to see", applied)
	}
}

// compareWithModel returns how many layers could be applied.
func compareWithModel(t *testing.T, layers [][]entry) int {
	t.Helper()
	tree, err := overlay.New[string](nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	slow := &model{files: map[string]*file{}}
	for i, layer := range layers {
		got, want := tree.Apply(t.Context(), layer), slow.apply(layer)
		if (got == nil) != (want == nil) {
			t.Fatalf("got %v, the model says %v", got, want)
		}
		if got != nil {
			return i
		}
		if got, want := show(t, tree), slow.show(t); got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
	return len(layers)
}
