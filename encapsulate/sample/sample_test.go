package sample_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/sample"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

func TestTheBeginningOfAFileStandsForAllOfIt(t *testing.T) {
	t.Parallel()
	random := make([]byte, 64<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random)
	root := t.TempDir()
	for name, content := range map[string]string{
		"empty": "", "short": "abc", "text": strings.Repeat("a line of text\n", 10000), "random": string(random),
		"mixed": string(random[:32<<10]) + strings.Repeat("x", 1<<20),
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := rootfs.Dir(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tree.Close() }()
	s, err := sample.New(tree, 32<<10)
	if err != nil {
		t.Fatal(err)
	}
	index := rootfs.NewIndex(tree)
	for _, tt := range []struct {
		name     string
		min, max float64 // of the size
	}{
		{"/empty", 0, 0}, {"/short", 1. / 3, 4}, {"/text", 0.001, 0.1}, {"/random", 0.99, 1.01}, {"/mixed", 0.99, 1.01},
	} {
		i, ok := index.Find(tt.name)
		if !ok {
			t.Fatalf("%s is missing", tt.name)
		}
		size := uint64(tree.Entries().At(i).Size)
		got, err := s.Compressed(t.Context(), i, size)
		if f := float64(got); err != nil || f < tt.min*float64(size) || f > tt.max*float64(size) || got == 0 && size > 0 {
			t.Errorf("%s of %d bytes: %d, %v", tt.name, size, got, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Compressed(ctx, 0, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("after a cancellation: %v", err)
	}
}

func TestScaleDoesNotOverflow(t *testing.T) {
	t.Parallel()
	for _, tt := range [][4]uint64{
		{10, 1, 3, 3}, {0, 5, 7, 0}, {1 << 62, 1 << 20, 1 << 21, 1 << 61}, {math.MaxUint64, 3, 2, math.MaxUint64},
	} {
		if got := sample.Scale(tt[0], tt[1], tt[2]); got != tt[3] {
			t.Errorf("%d * %d / %d: %d, want %d", tt[0], tt[1], tt[2], got, tt[3])
		}
	}
}
