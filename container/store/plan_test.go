package store_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

// withPlan gives an image the label with a plan of its first layers: one of directories, and one of each size.
func withPlan(t *testing.T, img v1.Image, sizes ...uint64) v1.Image {
	t.Helper()
	record := chunking.Record{Format: "plain-1", Components: map[string]chunking.Known{}}
	for i, size := range sizes {
		id := "deb/" + string(rune('a'+i))
		record.Components[id] = chunking.Known{Size: size}
		record.Layers = append(record.Layers, chunking.RecordLayer{Components: []string{id}})
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	ids := make([]string, len(config.RootFS.DiffIDs))
	for i, id := range config.RootFS.DiffIDs {
		ids[i] = id.String()
	}
	if err := record.Bind(0, ids); err != nil {
		t.Fatal(err)
	}
	label, err := record.Encode()
	if err != nil {
		t.Fatal(err)
	}
	config.Config.Labels = map[string]string{chunking.LabelRecord: label}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}

func TestTheRoomForAnImageIsThatOfItsFiles(t *testing.T) {
	reg := testreg.New(t)
	dirs, a, b := files(t, "usr/lib/x", ""), files(t, "usr/a", "a"), files(t, "usr/b", "b")
	size := func(layers ...v1.Layer) (n int64) {
		for _, l := range layers {
			size, err := l.Size()
			if err != nil {
				t.Fatal(err)
			}
			n += size
		}
		return n
	}
	for _, c := range []struct {
		name string
		mode repo.Mode
		img  v1.Image
		want int64
	}{
		{"without a plan", repo.ModeBareUser, image(t, dirs, a, b), size(dirs, a, b)},
		{"with a plan", repo.ModeBareUser, withPlan(t, image(t, dirs, a, b), 5000, 70_000), 75_000},
		{"with a layer on top", repo.ModeBareUser, withPlan(t, image(t, dirs, a, b), 5000), 5000 + size(b)},
		{"into a compressing repository", repo.ModeArchive, withPlan(t, image(t, dirs, a, b), 5000, 70_000),
			size(dirs, a, b)},
		{"with a size that is too large", repo.ModeBareUser, withPlan(t, image(t, dirs, a, b), math.MaxUint64, 7),
			math.MaxInt64},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRepo(t, c.mode)
			p, err := store.Prepare(t.Context(), r, push(t, reg.Host, "room", c.img), store.Options{Source: plainHTTP})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = p.Close() }()
			if got := p.Room(); got != c.want {
				t.Errorf("got %d bytes, want %d", got, c.want)
			}
		})
	}
}

func TestComponentsThatTheImageBeforeHasNeedNoRoom(t *testing.T) {
	reg, r := testreg.New(t), newRepo(t, repo.ModeBareUser)
	dirs, a, b := files(t, "usr/lib/x", ""), files(t, "usr/a", "a"), files(t, "usr/b", "b")
	p, err := store.Prepare(t.Context(), r, push(t, reg.Host, "os", withPlan(t, image(t, dirs, a), 5000)),
		store.Options{Source: plainHTTP})
	if err == nil {
		_, err = p.Import(t.Context(), store.ImportOptions{})
		err = errors.Join(err, p.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	// Both components are in other layers now. The content of the second one is new.
	both := files(t, "usr/c", "c")
	p, err = store.Prepare(t.Context(), r, push(t, reg.Host, "os", withPlan(t, image(t, dirs, both, b), 5000, 70_000)),
		store.Options{Source: plainHTTP})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	if got := p.Room(); got != 70_000 {
		t.Errorf("got %d bytes, want those of the new component", got)
	}
}

func TestNothingIsFetchedWithoutRoom(t *testing.T) {
	reg, r := testreg.New(t), newRepo(t, repo.ModeBareUser)
	img := withPlan(t, image(t, files(t, "usr/lib/x", ""), files(t, "usr/a", "a")), 1<<60)
	p, err := store.Prepare(t.Context(), r, push(t, reg.Host, "os", img), store.Options{Source: plainHTTP})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	sent := reg.BlobsSent()
	_, err = p.Import(t.Context(), store.ImportOptions{})
	if !errors.Is(err, repo.ErrNoSpace) || !strings.Contains(err.Error(), "1.2\u00a0EB are needed") {
		t.Errorf("got %v, want how much is missing", err)
	}
	if n := reg.BlobsSent() - sent; n != 0 {
		t.Errorf("%d blobs were fetched", n)
	}
}
