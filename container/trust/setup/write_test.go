package setup_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/container/trust/setup"
)

// must stops the test at an error.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// snapshot returns the files below a directory with their modes and content, and directories with their modes.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		text := fi.Mode().String()
		switch fi.Mode().Type() {
		case 0:
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			text += " " + string(data)
		case fs.ModeSymlink:
			to, err := os.Readlink(name)
			if err != nil {
				return err
			}
			text += " " + to
		}
		rel, err := filepath.Rel(dir, name)
		all[rel] = text
		return err
	})
	must(t, err)
	return all
}

const acceptAnything = `{"default": [{"type": "insecureAcceptAnything"}]}` + "\n"

// keyed returns options for a key.
func keyed(t *testing.T, root string) setup.Options {
	t.Helper()
	return setup.Options{
		Host: setup.Host{Root: root}, Scope: "ghcr.io/exampleos/os", Keys: []setup.Key{key(t, "first.pub")},
	}
}

func TestPlanningChangesNothing(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	writeFile(t, root+"/etc/containers/policy.json", acceptAnything)
	before := snapshot(t, root)
	plan, err := setup.Make(keyed(t, root))
	must(t, err)
	if !plan.Changes() {
		t.Error("there is nothing to do")
	}
	if diff := cmp.Diff(before, snapshot(t, root)); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

func TestAChangedFileKeepsItsPermissions(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	policy := root + "/etc/containers/policy.json"
	writeFile(t, policy, acceptAnything)
	must(t, os.Chmod(policy, 0o640))
	plan, err := setup.Make(keyed(t, root))
	must(t, err)
	must(t, plan.Write(t.Context()))
	if st, err := os.Stat(policy); err != nil || st.Mode() != 0o640 {
		t.Errorf("got %v, %v", st.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(policy))
	must(t, err)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%s is left", e.Name())
		}
	}
}

// Links count as they will on the host: they do not lead out of its root, wherever they point.
func TestSymbolicLinksStayBelowTheRoot(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		links map[string]string // OUT is a directory beside the root
		want  string            // where policy.json is then
	}{
		{"absolute", map[string]string{"etc/containers": "/usr/etc/containers"}, "usr/etc/containers/policy.json"},
		{"relative", map[string]string{"etc": "usr/etc"}, "usr/etc/containers/policy.json"},
		{"out, relative", map[string]string{"etc/containers": "../../../OUT"}, "OUT/policy.json"},
		{"out, absolute", map[string]string{"etc/containers": "ABS/OUT"}, "ABS/OUT/policy.json"},
		{"out, by a file", map[string]string{"etc/containers/policy.json": "../../../../OUT/policy.json"}, "OUT/policy.json"},
		{"out, in two steps", map[string]string{"etc/containers": "/a", "a": "../../OUT"}, "OUT/policy.json"},
		{"to nothing", map[string]string{"etc/containers/policy.json": "new.json"}, "etc/containers/new.json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			top := t.TempDir()
			root, out := top+"/root", top+"/OUT"
			writeFile(t, out+"/policy.json", acceptAnything)
			for name, to := range c.links {
				must(t, os.MkdirAll(filepath.Dir(root+"/"+name), 0o755))
				must(t, os.Symlink(strings.Replace(to, "ABS", top, 1), root+"/"+name))
			}
			before := snapshot(t, out)
			plan, err := setup.Make(keyed(t, root))
			must(t, err)
			must(t, plan.Write(t.Context()))
			if diff := cmp.Diff(before, snapshot(t, out)); diff != "" {
				t.Errorf("beside the root (-before +after):\n%s", diff)
			}
			data, err := os.ReadFile(root + "/" + strings.Replace(c.want, "ABS", top, 1))
			if err != nil || !strings.Contains(string(data), "ghcr.io/exampleos/os") {
				t.Errorf("the policy is %q, %v", data, err)
			}
			for name := range c.links {
				if st, err := os.Lstat(root + "/" + name); err != nil || st.Mode().Type() != fs.ModeSymlink {
					t.Errorf("%s is not a link any more: %v", name, err)
				}
			}
			if again, err := setup.Make(keyed(t, root)); err != nil || again.Changes() {
				t.Errorf("the second time: %v", err)
			}
		})
	}
}

func TestWhatIsNotAFileIsNotRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, says string
		make       func(root string) error
	}{
		{"a directory", "is not a regular file", func(root string) error {
			return os.MkdirAll(root+"/etc/containers/policy.json", 0o755)
		}},
		{"a pipe", "is not a regular file", func(root string) error {
			return unix.Mkfifo(root+"/etc/containers/registries.d/a.yaml", 0o600)
		}},
		{"a file instead of a directory", "is not a directory", func(root string) error {
			return os.WriteFile(root+"/etc/pki", nil, 0o600)
		}},
		{"links in a circle", "more than 40 symbolic links", func(root string) error {
			return errors.Join(os.Symlink("b", root+"/a"), os.Symlink("a", root+"/b"), os.Symlink("/a", root+"/etc/pki"))
		}},
		{"a link through nothing", "which does not exist", func(root string) error {
			return os.Symlink("nothing/../../x", root+"/etc/pki")
		}},
		{"a large file", "has more than 4.2\u00a0MB", func(root string) error {
			return os.WriteFile(root+"/etc/containers/policy.json", make([]byte, 4<<20+1), 0o600)
		}},
		{"many files", "has more than 1000 files", func(root string) error {
			var errs []error
			for i := range 1001 {
				errs = append(errs, os.WriteFile(root+"/etc/containers/registries.d/"+strings.Repeat("a", i%200+1)+
					string(rune('a'+i/200))+".yaml", nil, 0o600))
			}
			return errors.Join(errs...)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			must(t, os.MkdirAll(root+"/etc/containers/registries.d", 0o755))
			must(t, c.make(root))
			if _, err := setup.Make(keyed(t, root)); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
	if _, err := setup.Make(keyed(t, t.TempDir()+"/nothing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no root: got %v", err)
	}
}

// unprivileged takes the privileges of root on files from the test, for a thread of its own.
func unprivileged(t *testing.T, do func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		do()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked, so that the thread ends with the goroutine
		if _, err := unix.SetfsuidRetUid(65534); err != nil {
			t.Error(err)
			return
		}
		do()
	}()
	<-done
}

// What was written before a file that cannot be written is taken back.
func TestAFailureLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	writeFile(t, root+"/etc/containers/policy.json", acceptAnything)
	writeFile(t, root+"/etc/containers/registries.d/a.yaml", "docker:\n  ghcr.io/exampleos/os: {}\n")
	must(t, filepath.WalkDir(root, func(name string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chmod(name, 0o777))
	}))
	must(t, os.Chmod(root, 0o755), os.Chmod(filepath.Dir(root), 0o755), os.Chmod(root+"/etc/containers", 0o555))
	before := snapshot(t, root)
	plan, err := setup.Make(keyed(t, root))
	must(t, err)
	unprivileged(t, func() {
		err = plan.Write(t.Context())
	})
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), root+"/etc/containers/policy.json") {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(before, snapshot(t, root)); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
	must(t, os.Chmod(root+"/etc/containers", 0o755))
	must(t, plan.Write(t.Context()))
}

func TestAReadOnlyDirectoryIsNamed(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	must(t, os.Chmod(filepath.Dir(root), 0o755), os.Chmod(root, 0o555))
	plan, err := setup.Make(keyed(t, root))
	must(t, err)
	unprivileged(t, func() {
		err = plan.Write(t.Context())
	})
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), root+"/etc/pki/containers/") {
		t.Errorf("got %v", err)
	}
}

func TestAFileThatChangedSinceItWasPlannedIsLeft(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, file string }{
		{"changed", "/etc/containers/policy.json"}, {"new", "/etc/ostree-ext/trust.d/ghcr.io-exampleos-os.yaml"},
	} {
		root := t.TempDir()
		writeFile(t, root+"/etc/containers/policy.json", acceptAnything)
		plan, err := setup.Make(keyed(t, root))
		must(t, err)
		writeFile(t, root+c.file, "docker: {}\n")
		before := snapshot(t, root)
		if err := plan.Write(t.Context()); !errors.Is(err, setup.ErrChanged) || !strings.Contains(err.Error(), c.file) {
			t.Errorf("%s: got %v", c.name, err)
		}
		if diff := cmp.Diff(before, snapshot(t, root)); diff != "" {
			t.Errorf("%s (-before +after):\n%s", c.name, diff)
		}
	}
}

func TestNothingIsWrittenAfterTheContextEnded(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	plan, err := setup.Make(keyed(t, root))
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := plan.Write(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got := snapshot(t, root); len(got) != 1 {
		t.Errorf("there is %v", got)
	}
}
