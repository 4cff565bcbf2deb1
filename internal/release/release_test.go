package release

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// newSources makes a repository with one commit and returns its directory and the commit.
func newSources(t *testing.T, tags ...string) (dir, commit string) {
	t.Helper()
	dir = t.TempDir()
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_COMMITTER_DATE=1700000000 +0000")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %q: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run("init", "--quiet")
	write(t, filepath.Join(dir, "file"))
	run("add", "file")
	run("-c", "user.name=A", "-c", "user.email=a@example", "commit", "--quiet", "--message=one")
	for _, tag := range tags {
		run("tag", tag)
	}
	return dir, run("rev-parse", "HEAD")
}

func write(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(name, []byte("content\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTheVersionIsTheTagOfTheSources(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		tags     []string
		version  string
		epoch    string
		modified bool
		want     string
		err      string
	}{
		{name: "a tag", tags: []string{"v1.2.3"}, want: "v1.2.3"},
		{name: "a tag before a release", tags: []string{"v1.2.3-rc.1"}, want: "v1.2.3-rc.1"},
		{name: "the highest of two", tags: []string{"v1.9.0", "v1.10.0", "other"}, want: "v1.10.0"},
		{name: "the one that is given", tags: []string{"v1.2.3"}, version: "v2.0.0", modified: true, want: "v2.0.0"},
		{name: "SOURCE_DATE_EPOCH", tags: []string{"v1.2.3"}, epoch: "5", want: "v1.2.3"},
		{name: "no tag", tags: []string{"other", "v1"}, err: ErrNoTag.Error()},
		{name: "changed files", tags: []string{"v1.2.3"}, modified: true, err: ErrModified.Error()},
		{name: "not a version", version: "1.2.3", err: `"1.2.3" is not a version`},
		{name: "metadata", version: "v1.2.3+x", err: `"v1.2.3+x" is not a version`},
		{name: "a path", version: "v1.2.3-../x", err: "is not a version"},
		{name: "not a time", version: "v1.2.3", epoch: "now", err: "SOURCE_DATE_EPOCH"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir, commit := newSources(t, c.tags...)
			if c.modified {
				write(t, filepath.Join(dir, "another"))
			}
			got, err := Find(t.Context(), dir, c.version, c.epoch)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %+v and %v, want %s", got, err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			when := time.Unix(1700000000, 0).UTC()
			if c.epoch != "" {
				when = time.Unix(5, 0).UTC()
			}
			want := &Source{Version: c.want, Commit: commit, Modified: c.modified, Time: when}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSourcesWithoutGitNeedAVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if got, err := Find(t.Context(), dir, "", ""); err == nil || !strings.Contains(err.Error(), "VERSION=") {
		t.Errorf("got %+v and %v", got, err)
	}
	got, err := Find(t.Context(), dir, "v1.2.3", "")
	if err != nil || got.Commit != "" || got.Revision() != "" || !got.Time.Equal(time.Unix(0, 0)) {
		t.Errorf("got %+v and %v", got, err)
	}
}

func source() *Source {
	return &Source{Version: "v1.2.3", Commit: strings.Repeat("a", 40), Time: time.Unix(1700000000, 0).UTC()}
}

// golden compares a document with a file.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	want, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s:\n%s", name, diff)
	}
}

func TestAnSBOMIsMadeFromWhatTheProgramSays(t *testing.T) {
	t.Parallel()
	info := &debug.BuildInfo{
		GoVersion: "go1.26.8", Path: Module + "/cmd/ostree-ext",
		Main: debug.Module{Path: Module, Version: "(devel)"},
		Deps: []*debug.Module{
			{Path: "github.com/ProtonMail/go-crypto", Version: "v1.5.2", Sum: "h1:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="},
			{Path: "github.com/docker/cli", Version: "v29.8.2+incompatible"},
			{Path: "example.org/old", Version: "v1.0.0", Replace: &debug.Module{Path: "example.org/new", Version: "v1.0.1"}},
		},
		Settings: []debug.BuildSetting{{Key: "GOARCH", Value: "s390x"}, {Key: "GOOS", Value: "linux"}},
	}
	got, err := describe([]byte("program"), info, source())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "sbom.json", got)
}

func TestAnSBOMOfSomethingElseIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := SBOM([]byte("no program"), source()); err == nil {
		t.Error("got a bill of materials")
	}
}

func TestProvenanceNamesTheCommitTheGoVersionAndTheSubjects(t *testing.T) {
	t.Parallel()
	subjects := []Subject{
		{Name: "b", Digest: map[string]string{"sha256": strings.Repeat("b", 64)}},
		{Name: "a", Digest: map[string]string{"sha256": strings.Repeat("a", 64)}},
	}
	got, err := Provenance(source(), []string{"amd64", "s390x"}, "go1.26.8", subjects)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "provenance.json", got)
	s := source()
	s.Modified = true
	if got, err = Provenance(s, nil, "go1.26.8", subjects); err != nil ||
		!strings.Contains(string(got), `"modified": "true"`) {
		t.Errorf("got %s and %v", got, err)
	}
}

func TestFilesAndSums(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "a", "d/c", "left-out"} {
		write(t, filepath.Join(dir, name))
	}
	got, err := Files(dir, func(name string) bool { return name != "left-out" })
	if err != nil {
		t.Fatal(err)
	}
	const sum = "434728a410a78f56fc1b5899c3593436e61ab0c731e9072d95e96db290205e53"
	if want := sum + "  a\n" + sum + "  b\n" + sum + "  d/c\n"; string(Sums(got)) != want {
		t.Errorf("got %s, want %s", Sums(got), want)
	}
}

func TestAPackageDoesNotDependOnTheMachineThatMakesIt(t *testing.T) {
	t.Parallel()
	content := &Content{
		Man: map[string][]byte{"ostree-ext.1": []byte("page")}, Docs: map[string][]byte{"hosts.md": []byte("hosts")},
		Bash: []byte("bash"), Zsh: []byte("zsh"), Fish: []byte("fish"), License: []byte("licence"),
	}
	p := &Packager{source: source(), content: content}
	for _, format := range Formats() {
		c, err := p.config(format, "arm64", "/program", t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if c.Time != "2023-11-14T22:13:20Z" || c.RPM["buildhost"] != "localhost" || c.Version != "v1.2.3" {
			t.Errorf("%s: got %+v", format, c)
		}
		for _, f := range c.Contents {
			mode := 0o644
			if f.Path == "/usr/bin/ostree-ext" || f.Type == "dir" {
				mode = 0o755
			}
			if f.Info != (fileInfo{Mode: mode, Owner: "root", Group: "root"}) {
				t.Errorf("%s: %s is %+v", format, f.Path, f.Info)
			}
		}
		for name, script := range c.Scripts {
			info, err := os.Stat(script)
			if err != nil || !info.ModTime().Equal(source().Time) {
				t.Errorf("%s: the script %s is of %v: %v", format, name, info.ModTime(), err)
			}
		}
	}
}

// dpkg and rpm run the script that turns the timer off for updates, too.
func TestAnUpdateOfThePackageLeavesTheTimerOn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		format, removing, updating string
	}{{"deb", "remove", "upgrade"}, {"rpm", "0", "1"}} {
		dir := t.TempDir()
		s := staging{dir: dir, time: source().Time}
		script := s.scripts(c.format)["preremove"]
		if s.err != nil {
			t.Fatal(s.err)
		}
		calls := filepath.Join(dir, "calls")
		fake := "#!/bin/sh\necho \"$@\" >>'" + calls + "'\n"
		if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte(fake), 0o755); err != nil {
			t.Fatal(err)
		}
		run := func(arg string) string {
			t.Helper()
			cmd := exec.CommandContext(t.Context(), "sh", script, arg)
			cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH")}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s %s: %v: %s", c.format, arg, err, out)
			}
			data, err := os.ReadFile(calls)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			return string(data)
		}
		if got := run(c.updating); got != "" {
			t.Errorf("%s: an update calls systemctl %s", c.format, got)
		}
		if got := run(c.removing); !strings.HasPrefix(got, "disable --quiet ") {
			t.Errorf("%s: removing calls systemctl %q", c.format, got)
		}
	}
}
