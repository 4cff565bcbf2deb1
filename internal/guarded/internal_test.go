package guarded

import (
	"io/fs"
	"os"
	"syscall"
	"testing"
	"time"
)

// info is a file with an owner.
type info struct {
	uid, gid uint32
	mode     fs.FileMode
}

func (info) Name() string        { return "f" }
func (info) Size() int64         { return 0 }
func (i info) Mode() fs.FileMode { return i.mode }
func (info) ModTime() time.Time  { return time.Time{} }
func (i info) IsDir() bool       { return i.mode.IsDir() }
func (i info) Sys() any          { return &syscall.Stat_t{Uid: i.uid, Gid: i.gid} }

func TestOwnersAreCompared(t *testing.T) {
	t.Parallel()
	own := uint32(os.Geteuid())
	other := own + 4321
	for _, c := range []struct {
		what string
		walk walk
		uid  uint32
		good bool
	}{
		{"root", walk{}, 0, true},
		{"the user", walk{}, own, true},
		{"somebody else", walk{}, other, false},
		{"somebody else, who is in the circle", walk{circle: Circle{others: []uint32{other}}}, other, true},
		{"somebody else, for a file that is named", walk{named: true}, other, true},
		{"somebody else, where everybody may put files", walk{named: true, open: "/tmp"}, other, false},
		{"one of the circle, where everybody may put files",
			walk{circle: Circle{others: []uint32{other}}, open: "/tmp"}, other, false},
		{"the user, where everybody may put files", walk{open: "/tmp"}, own, true},
	} {
		if c.walk.checkOwner("f", info{uid: c.uid}); (c.walk.foreign == nil) != c.good {
			t.Errorf("%s: %v", c.what, c.walk.foreign)
		}
	}
}

func TestWhoMayWrite(t *testing.T) {
	t.Parallel()
	for i, mend := range map[info]string{
		{0, 0, 0o664}: "", {1000, 1000, 0o664}: "", {1000, 100, 0o664}: "g-w", {0, 50, 0o775 | fs.ModeDir}: "g-w",
		{0, 50, 0o755}: "", {0, 0, 0o666}: "o-w", {0, 50, 0o666}: "go-w",
	} {
		if _, got := writers(i); got != mend {
			t.Errorf("%+v: got %q, want %q", i, got, mend)
		}
	}
}

func TestANamespaceKnowsEverybodyOrNot(t *testing.T) {
	t.Parallel()
	for ids, want := range map[string]bool{
		"         0          0 4294967295\n": true, "0 1000 1\n": false, "0 1000 1\n1 100000 65536\n": false, "": false,
	} {
		if got := knowsEverybody(ids); got != want {
			t.Errorf("%q: got %v", ids, got)
		}
	}
}
