package output_test

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/internal/output"
)

func TestAFileBelowARootIsReplacedInOneStepAndKeepsItsMode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.Mkdir(dir+"/d", 0o755), os.WriteFile(dir+"/d/old", []byte("old"), 0o600))
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	old, err := os.Open(dir + "/d/old")
	must(t, err)
	defer old.Close()
	must(t, output.WriteFileIn(root, "d/old", []byte("new")), output.WriteFileIn(root, "d/new", []byte("new")))
	for _, name := range []string{"/d/old", "/d/new"} {
		if got := content(t, dir+name); got != "new" {
			t.Errorf("%s has %q", name, got)
		}
	}
	if st, err := os.Stat(dir + "/d/old"); err != nil || st.Mode() != 0o600 {
		t.Errorf("the mode is %v, %v", st.Mode(), err)
	}
	buf := make([]byte, 4)
	if n, err := old.Read(buf); string(buf[:n]) != "old" {
		t.Errorf("the file itself was changed: %q, %v", buf[:n], err)
	}
	if diff := cmp.Diff([]string{"new", "old"}, list(t, dir+"/d")); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
}

func TestNothingIsWrittenBesideTheRoot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.Mkdir(dir+"/root", 0o755), os.Mkdir(dir+"/root/d", 0o755), os.WriteFile(dir+"/out", []byte("out"), 0o600))
	must(t, os.Symlink("..", dir+"/root/up"), os.Symlink("../out", dir+"/root/link"))
	root, err := os.OpenRoot(dir + "/root")
	must(t, err)
	defer root.Close()
	for name, want := range map[string]error{
		"../out": nil, "up/out": nil, dir + "/out": nil, "d": unix.EISDIR, "no/file": fs.ErrNotExist,
	} {
		if err := output.WriteFileIn(root, name, []byte("new")); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
	must(t, output.WriteFileIn(root, "link", []byte("new")))
	if got := content(t, dir+"/out"); got != "out" {
		t.Errorf("beside the root there is %q", got)
	}
	if st, err := os.Lstat(dir + "/root/link"); err != nil || !st.Mode().IsRegular() {
		t.Errorf("the link was not replaced: %v, %v", st.Mode(), err)
	}
	if diff := cmp.Diff([]string{"out", "root"}, list(t, dir)); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
}
