package repo_test

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

func begin(t *testing.T, r *repo.Repo) *repo.Txn {
	t.Helper()
	txn, err := r.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := txn.Abort(); err != nil {
			t.Error(err)
		}
	})
	return txn
}

// The next transaction deletes what dead processes left and keeps what is in use.
func TestLeftoversAreDeleted(t *testing.T) {
	t.Parallel()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	this := "staging-" + strings.TrimSpace(string(boot)) + "-"
	const other = "staging-00000000-0000-0000-0000-000000000000-"
	now, old, future := time.Now(), time.Now().Add(-48*time.Hour), time.Now().Add(48*time.Hour)
	tests := []struct {
		name       string
		time       time.Time
		filled     bool // a directory with an object
		lock, held bool
		stays      bool
	}{
		{name: this + "killed", time: now, filled: true, lock: true},
		{name: this + "unlock", time: now, filled: true},
		{name: this + "inuse1", time: old, filled: true, lock: true, held: true, stays: true},
		{name: this + "starts", time: now, stays: true},
		{name: this + "empty1", time: old, lock: true},
		{name: other + "before", time: now, filled: true, lock: true},
		{name: other + "empty1", time: now},
		{name: "file-old", time: old},
		{name: "file-new", time: now, stays: true},
		{name: "file-later", time: future, stays: true},
		{name: "cache", time: old, filled: true, stays: true},
	}
	r := repotest.Init(t, repo.ModeArchive)
	tmp := filepath.Join(r.Path(), "tmp")
	for _, test := range tests {
		path := filepath.Join(tmp, test.name)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if test.filled {
			if err := errors.Join(os.Mkdir(path+"/ab", 0o755), os.WriteFile(path+"/ab/c.file", nil, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		if test.lock {
			lockFile(t, path+"-lock", test.held)
		}
		if err := os.Chtimes(path, test.time, test.time); err != nil {
			t.Fatal(err)
		}
	}
	if err := begin(t, r).Abort(); err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		_, err := os.Stat(filepath.Join(tmp, test.name))
		if test.stays != (err == nil) {
			t.Errorf("%s: got %v, want it to stay: %v", test.name, err, test.stays)
		}
		_, err = os.Stat(filepath.Join(tmp, test.name+"-lock"))
		if (test.lock && test.stays) != (err == nil) {
			t.Errorf("%s: lock file: got %v", test.name, err)
		}
	}
}

// lockFile makes a lock file, which somebody may hold until the test ends.
func lockFile(t *testing.T, name string, held bool) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if !held {
		return
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
}

// A writer takes the lock before it makes the directory. If it is killed between the two, the next one deletes the
// file.
func TestALockWithoutAStagingDirectoryIsDeleted(t *testing.T) {
	t.Parallel()
	r := repotest.Init(t, repo.ModeArchive)
	now := time.Now()
	for name, test := range map[string]struct {
		time        time.Time
		held, stays bool
	}{
		"staging-killed-lock": {time: now.Add(-time.Minute)},
		"staging-young-lock":  {time: now, stays: true},
		"staging-held-lock":   {time: now.Add(-time.Minute), held: true, stays: true},
	} {
		path := filepath.Join(r.Path(), "tmp", name)
		lockFile(t, path, test.held)
		if err := os.Chtimes(path, test.time, test.time); err != nil {
			t.Fatal(err)
		}
		if err := begin(t, r).Abort(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); test.stays != (err == nil) {
			t.Errorf("%s: got %v, want it to stay: %v", name, err, test.stays)
		}
	}
}

func TestFreeSpaceIsKept(t *testing.T) {
	t.Parallel()
	r := repotest.Init(t, repo.ModeArchive)
	for key, value := range map[string]string{"min-free-space-size": "8000000TB", "min-free-space-percent": "3"} {
		if err := r.SetConfig("core", key, value); err != nil {
			t.Fatal(err)
		}
	}
	txn := begin(t, r)
	content := strings.Repeat("x", 12300)
	h := &object.FileHeader{Mode: object.ModeRegular | 0o644}
	_, err := txn.WriteFile(t.Context(), h, 12300, strings.NewReader(content))
	const want = "min-free-space-size 8000000TB would be exceeded, at least 12.3\u00a0kB requested"
	if !errors.Is(err, repo.ErrNoSpace) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	// Metadata is exempt.
	if _, err := txn.WriteMetadata(t.Context(), object.TypeDirTree, []byte{0}); err != nil {
		t.Error(err)
	}
}

func TestFilesThatAModeCannotHold(t *testing.T) {
	t.Parallel()
	file, link := uint32(object.ModeRegular), uint32(object.ModeSymlink)
	xattrs := object.Xattrs{{Name: "user.a", Value: []byte("v")}}
	all := []repo.Mode{repo.ModeArchive, repo.ModeBareUser, repo.ModeBareUserOnly}
	only := []repo.Mode{repo.ModeBareUserOnly}
	tests := []struct {
		name    string
		header  object.FileHeader
		size    int64
		refused []repo.Mode
	}{
		{"set-user-id", object.FileHeader{Mode: file | 0o4755}, 0, only},
		{"world-writable", object.FileHeader{Mode: file | 0o666}, 0, only},
		{"group-writable", object.FileHeader{Mode: file | 0o664}, 0, nil},
		{"owner", object.FileHeader{UID: 1, Mode: file | 0o644}, 0, only},
		{"group", object.FileHeader{GID: 1, Mode: file | 0o644}, 0, only},
		{"xattrs", object.FileHeader{Mode: file | 0o644, Xattrs: xattrs}, 0, only},
		{"symlink", object.FileHeader{Mode: link | 0o777, Target: "x"}, 0, nil},
		{"symlink without target", object.FileHeader{Mode: link | 0o777}, 0, all},
		{"symlink with content", object.FileHeader{Mode: link | 0o777, Target: "x"}, 1, all},
		{"symlink to NUL", object.FileHeader{Mode: link | 0o777, Target: "x\x00"}, 0, all},
		{"symlink to a long path", object.FileHeader{Mode: link | 0o777, Target: strings.Repeat("x", 4096)}, 0, all},
		{"file with target", object.FileHeader{Mode: file | 0o644, Target: "x"}, 0, all},
		{"directory", object.FileHeader{Mode: object.ModeDir | 0o755}, 0, all},
		{"no type", object.FileHeader{Mode: 0o644}, 0, all},
		{"other bits", object.FileHeader{Mode: file | 0o1000644}, 0, all},
		{"negative size", object.FileHeader{Mode: file | 0o644}, -1, all},
		{"huge size", object.FileHeader{Mode: file | 0o644}, math.MaxInt64, all},
	}
	for _, mode := range all {
		txn := begin(t, repotest.Init(t, mode))
		for _, test := range tests {
			_, err := txn.WriteFile(t.Context(), &test.header, test.size, bytes.NewReader(nil))
			refused := bytes.Contains(modes(test.refused), modes([]repo.Mode{mode}))
			if refused != (err != nil) {
				t.Errorf("%s, %s: got %v, want it refused: %v", mode, test.name, err, refused)
			}
		}
	}
}

func modes(list []repo.Mode) []byte {
	var b []byte
	for _, m := range list {
		b = append(b, byte(m))
	}
	return b
}

func TestXattrsAreBroughtIntoOrder(t *testing.T) {
	t.Parallel()
	txn := begin(t, repotest.Init(t, repo.ModeArchive))
	write := func(list ...object.Xattr) object.Checksum {
		c, err := txn.WriteFile(t.Context(), &object.FileHeader{Mode: object.ModeRegular | 0o644, Xattrs: list}, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a, b := object.Xattr{Name: "user.a", Value: []byte("1")}, object.Xattr{Name: "user.b", Value: []byte("2")}
	if write(a, b) != write(b, a) {
		t.Error("the order of xattrs makes a difference")
	}
	if write(a) != write(a, object.Xattr{Name: "user.empty"}) {
		t.Error("an empty xattr makes a difference")
	}
	unsorted := &object.FileHeader{Mode: object.ModeRegular | 0o644, Xattrs: object.Xattrs{b, a}}
	if err := txn.WriteFileAs(t.Context(), write(a, b), unsorted, 0, nil); err == nil {
		t.Error("a peer's object with unsorted xattrs was accepted")
	}
}

func TestSplitXattrsAreReadOnly(t *testing.T) {
	t.Parallel()
	if _, err := repo.Init(filepath.Join(t.TempDir(), "repo"),
		repo.ModeBareSplitXattrs); !errors.Is(err, repo.ErrReadOnlyMode) {
		t.Errorf("got %v, want ErrReadOnlyMode", err)
	}
	dir := repotest.Init(t, repo.ModeBareUserOnly).Path()
	text := "[core]\nrepo_version=1\nmode=bare-split-xattrs\n"
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c := padded(t, "ab")
	file := filepath.Join(dir, "objects/ab", c.String()[2:]+".file")
	list := object.EncodeXattrs(object.Xattrs{{Name: "user.a", Value: []byte("v")}})
	if err := errors.Join(os.Mkdir(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("content"), 0o644),
		os.WriteFile(file+"-xattrs-link", list, 0o644)); err != nil {
		t.Fatal(err)
	}
	r := open(t, dir)
	if _, err := r.Begin(t.Context()); !errors.Is(err, repo.ErrReadOnlyMode) {
		t.Errorf("got %v, want ErrReadOnlyMode", err)
	}
	info, err := r.FileInfo(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Xattrs) != 1 || info.Xattrs[0].Name != "user.a" || info.Size != 7 || info.UID != uint32(os.Getuid()) {
		t.Errorf("got %+v", info)
	}
}

func TestDurableTransaction(t *testing.T) {
	t.Parallel()
	r := repotest.Init(t, repo.ModeArchive)
	for _, key := range []string{"fsync", "per-object-fsync"} {
		if err := r.SetConfig("core", key, "true"); err != nil {
			t.Fatal(err)
		}
	}
	c := repotest.Commit(t, r, repotest.Vectors(), "os/stable")
	commit, err := repo.LoadCommit(t.Context(), r, c)
	if err != nil {
		t.Fatal(err)
	}
	if commit.Tree.String() != repotest.VectorTree || commit.Meta.String() != repotest.VectorMeta {
		t.Errorf("got root %s %s", commit.Tree, commit.Meta)
	}
}
