package guarded_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/guarded"
)

// tree makes a directory with a file in a directory, d/f, and returns it.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "d", "f"))
	return dir
}

func write(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, name string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

func TestFilesThatEverybodyMayWriteToAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		mode fs.FileMode
		mend string // of chmod, or empty if the file is good
	}{
		{"d/f", 0o644, ""}, {"d/f", 0o600, ""}, {"d/f", 0o755, ""},
		{"d/f", 0o646, "o-w"}, {"d/f", 0o666, "o-w"}, {"d/f", 0o602, "o-w"},
		{"d", 0o755, ""}, {"d", 0o777, "o-w"}, {"d", 0o777 | fs.ModeSticky, ""},
		{"", 0o755, ""}, {"", 0o777, "o-w"}, {"", 0o777 | fs.ModeSticky, ""},
	} {
		dir := tree(t)
		path, file := filepath.Join(dir, c.name), filepath.Join(dir, "d", "f")
		chmod(t, path, c.mode)
		_, named := guarded.Named(file)
		for what, err := range map[string]error{"a check": guarded.Ours().Check(file), "a file that is named": named} {
			var open *guarded.OpenError
			switch {
			case c.mend == "" && err != nil:
				t.Errorf("%s of %q with mode %v: %v", what, c.name, c.mode, err)
			case c.mend != "" && (!errors.As(err, &open) || !errors.Is(err, guarded.ErrOpen) || open.Path != path):
				t.Errorf("%s of %q with mode %v: %v", what, c.name, c.mode, err)
			case c.mend != "" && open.Mend != "chmod "+c.mend+" "+path:
				t.Errorf("%s of %q with mode %v is mended by %q", what, c.name, c.mode, open.Mend)
			}
		}
	}
}

func TestTheMessageNamesTheFileItsModeAndTheCommandThatMendsIt(t *testing.T) {
	t.Parallel()
	dir := tree(t)
	chmod(t, filepath.Join(dir, "d"), 0o777)
	err := guarded.Ours().Check(filepath.Join(dir, "d", "f"))
	want := fmt.Sprintf(`%s/d/f, which is below %s/d, decides what is trusted, and others could change it: everybody can `+
		`(mode 0777): run "chmod o-w %s/d"`, dir, dir, dir)
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestAFileIsCalledByTheNameThatTheUserKnows(t *testing.T) {
	dir := tree(t)
	t.Chdir(dir)
	chmod(t, "d/f", 0o666)
	if err := guarded.Ours().Check("d/f"); err == nil || !strings.HasPrefix(err.Error(), "d/f decides") ||
		!strings.HasSuffix(err.Error(), `run "chmod o-w d/f"`) {
		t.Errorf("got %v", err)
	}
}

// TestLinksAreJudgedByWhatTheyLeadTo has links to files that are open, and links in directories that are.
func TestLinksAreJudgedByWhatTheyLeadTo(t *testing.T) {
	t.Parallel()
	dir := tree(t)
	if err := os.Mkdir(filepath.Join(dir, "e"), 0o755); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{
		"e/relative": "../d/f", "e/absolute": filepath.Join(dir, "d", "f"), "e/directory": "../d", "e/twice": "relative",
		"e/circle": "circle", "e/nowhere": "nothing",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(name string) error { return guarded.Ours().Check(filepath.Join(dir, "e", name)) }
	names := []string{"relative", "absolute", "directory/f", "twice"}
	for _, name := range names {
		if err := check(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := check("nowhere"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a link to nothing: %v", err)
	}
	if err := check("circle"); err == nil {
		t.Error("a link to itself is good")
	}
	for path, modes := range map[string][2]fs.FileMode{
		"d/f": {0o666, 0o644}, "d": {0o777, 0o755}, "e": {0o777, 0o755},
	} {
		chmod(t, filepath.Join(dir, path), modes[0])
		for _, name := range names {
			if err := check(name); !errors.Is(err, guarded.ErrOpen) {
				t.Errorf("%s, and everybody may write to %s: %v", name, path, err)
			}
		}
		chmod(t, filepath.Join(dir, path), modes[1])
	}
}

func TestAFileThatIsNotThereCannotHaveBeenRemoved(t *testing.T) {
	t.Parallel()
	dir := tree(t)
	absent := filepath.Join(dir, "d", "absent", "f")
	if err := guarded.Ours().Check(absent); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	chmod(t, filepath.Join(dir, "d"), 0o777)
	if err := guarded.Ours().Check(absent); !errors.Is(err, guarded.ErrOpen) {
		t.Errorf("with a directory in which everybody may remove files: %v", err)
	}
}

func TestAFileThatIsOpenAlreadyIsGood(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := guarded.Named(fmt.Sprintf("/dev/fd/%d", r.Fd())); err != nil {
		t.Error(err)
	}
}

// TestOwners needs root to make files of others, and otherwise looks at files of others that every system has.
func TestOwners(t *testing.T) {
	t.Parallel()
	if err := guarded.Ours().Check("/etc/passwd"); err != nil {
		t.Errorf("a file of root: %v", err)
	}
	if os.Geteuid() != 0 {
		return // TestOwnersAreCompared does the rest without files
	}
	const somebody = 12345
	for _, c := range []struct {
		what              string
		chown             map[string][2]int
		chmod             map[string]fs.FileMode
		ours, named, mend string
	}{
		{what: "a file of somebody", chown: map[string][2]int{"d/f": {somebody, 0}}, ours: "d/f", mend: "chown 0 "},
		{what: "a directory of somebody", chown: map[string][2]int{"d": {somebody, 0}}, ours: "d"},
		{what: "a group of its owner alone", chown: map[string][2]int{"d": {somebody, somebody}, "d/f": {somebody, somebody}},
			chmod: map[string]fs.FileMode{"d/f": 0o664, "d": 0o775}, ours: "d"},
		{what: "another group", chown: map[string][2]int{"d/f": {0, somebody}}, chmod: map[string]fs.FileMode{"d/f": 0o664},
			ours: "d/f", named: "d/f", mend: "chmod g-w "},
		{what: "another group and everybody", chown: map[string][2]int{"d/f": {0, somebody}},
			chmod: map[string]fs.FileMode{"d/f": 0o666}, ours: "d/f", named: "d/f", mend: "chmod go-w "},
		{what: "the group of root", chmod: map[string]fs.FileMode{"d/f": 0o664, "d": 0o775}},
		{what: "a file of somebody where everybody may put files", chown: map[string][2]int{"d/f": {somebody, 0}},
			chmod: map[string]fs.FileMode{"d": 0o777 | fs.ModeSticky}, ours: "d/f", named: "d/f", mend: "chown 0 "},
		{what: "a directory of somebody where everybody may make them", chown: map[string][2]int{"d": {somebody, 0}},
			chmod: map[string]fs.FileMode{"": 0o777 | fs.ModeSticky}, ours: "d", named: "d"},
	} {
		dir := tree(t)
		for name, ids := range c.chown {
			if err := os.Chown(filepath.Join(dir, name), ids[0], ids[1]); err != nil {
				t.Fatal(err)
			}
		}
		for name, mode := range c.chmod {
			chmod(t, filepath.Join(dir, name), mode)
		}
		file := filepath.Join(dir, "d", "f")
		circle, err := guarded.Named(file)
		for what, got := range map[string]struct {
			err  error
			want string
		}{"a check": {guarded.Ours().Check(file), c.ours}, "a file that is named": {err, c.named}} {
			var open *guarded.OpenError
			switch {
			case got.want == "" && got.err != nil:
				t.Errorf("%s, %s: %v", c.what, what, got.err)
			case got.want != "" && (!errors.As(got.err, &open) || open.Path != filepath.Join(dir, got.want) ||
				!strings.HasPrefix(open.Mend, c.mend) || (open.Mend == "") != (c.mend == "")):
				t.Errorf("%s, %s: %v", c.what, what, got.err)
			}
		}
		absent := filepath.Join(dir, "d", "absent")
		if err := guarded.Ours().Check(absent); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: a file that is not there: %v", c.what, err)
		}
		if c.named == "" {
			if err := circle.Check(file); err != nil {
				t.Errorf("%s: in the circle of the file itself: %v", c.what, err)
			}
		}
	}
}
