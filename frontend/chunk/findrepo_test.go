package chunk_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

func TestTheRepositoryIsFoundThroughTheLinksOfTheRootFilesystem(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		at     string            // where the repository is
		links  map[string]string // symbolic links, or "" for an ordinary file
		option string
	}{
		"no link":                       {"sysroot/ostree/repo", nil, ""},
		"a link of a directory above":   {"sysroot/ostree/repo", map[string]string{"ostree": "sysroot/ostree"}, ""},
		"an absolute one":               {"sysroot/ostree/repo", map[string]string{"ostree": "/sysroot/ostree"}, ""},
		"an absolute one to the repo":   {"srv/repo", map[string]string{"ostree/repo": "/srv/repo"}, ""},
		"one that would leave the root": {"srv/repo", map[string]string{"ostree/repo": "../../../../srv/repo"}, ""},
		"a chain": {"srv/x/repo", map[string]string{"ostree/repo": "/a/repo", "a": "b", "b": "/c/",
			"c": "srv/./x"}, ""},
		"with the option":                {"srv/repo", map[string]string{"data": "/srv"}, "/data/repo"},
		"with .. after a link":           {"srv/repo", map[string]string{"a/link": "/srv/other"}, "a/link/../repo"},
		"a loop in the place before":     {"sysroot/ostree/repo", map[string]string{"ostree": "loop", "loop": "ostree"}, ""},
		"a dangling one before":          {"sysroot/ostree/repo", map[string]string{"ostree": "/nowhere"}, ""},
		"a link to itself before":        {"sysroot/ostree/repo", map[string]string{"ostree/repo": "/ostree/repo"}, ""},
		"a file in the place before":     {"sysroot/ostree/repo", map[string]string{"repo": "", "ostree": ""}, ""},
		"a link to a file before":        {"ostree/repo", map[string]string{"repo": "/file", "file": ""}, ""},
		"a link to another place before": {"sysroot/ostree/repo", map[string]string{"repo/objects": "/etc"}, ""},
		"an endless name before":         {"ostree/repo", map[string]string{"repo": strings.Repeat("x", 300)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := t.TempDir()
			if err := os.MkdirAll(filepath.Join(in, "srv/other"), 0o755); err != nil {
				t.Fatal(err)
			}
			exampleRepo(t, filepath.Join(in, tt.at))
			link(t, in, tt.links)
			req := plainRequest()
			req.Options = request.Options{Ref: repotest.ExampleRef, Repo: tt.option}
			if result, _, _ := runIn(t, req, in); result.Error != "" || len(result.Layers) == 0 {
				t.Errorf("%d layers, error %q", len(result.Layers), result.Error)
			}
		})
	}
}

// exampleRepo makes a repository with a commit in a directory that does not exist.
func exampleRepo(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	r := repotest.Init(t, repo.ModeArchive)
	repotest.Commit(t, r, repotest.ExampleTree(), repotest.ExampleRef)
	if err := os.Rename(r.Path(), dir); err != nil {
		t.Fatal(err)
	}
}

// link makes symbolic links, and files where there is no target.
func link(t *testing.T, in string, links map[string]string) {
	t.Helper()
	for name, target := range links {
		at := filepath.Join(in, name)
		err := os.MkdirAll(filepath.Dir(at), 0o755)
		if err == nil && target == "" {
			err = os.WriteFile(at, nil, 0o644)
		} else if err == nil {
			err = os.Symlink(target, at)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestARepositoryThatIsNotFoundIsAnErrorThatSaysWhy(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		links  map[string]string
		option string
		want   string
	}{
		"a loop": {map[string]string{"ostree": "loop", "loop": "ostree"}, "",
			"ostree/repo: there are more than 40 symbolic links, the last one at /"},
		"a loop, named": {map[string]string{"a": "/a"}, "/a",
			"a: there are more than 40 symbolic links, the last one at /a"},
		"a file":           {map[string]string{"repo": ""}, "", "repo: this is not a directory"},
		"below a file":     {map[string]string{"ostree": ""}, "", "ostree/repo: /ostree is not a directory"},
		"no directory":     {map[string]string{"x/objects": ""}, "x", "x: objects is not a directory"},
		"objects far away": {map[string]string{"x/objects": "/etc"}, "x", "x: statat objects: path escapes from parent"},
		"a dangling link": {map[string]string{"ostree/repo": "/nowhere"}, "",
			"sysroot/ostree/repo): name its directory with the option repo"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := t.TempDir()
			link(t, in, tt.links)
			req := plainRequest()
			req.Options = request.Options{Ref: "x", Repo: tt.option}
			if result, _, _ := runIn(t, req, in); !strings.Contains(result.Error, tt.want) {
				t.Errorf("error %q, want %q", result.Error, tt.want)
			}
		})
	}
}

func TestARepositoryWithAPipeInItIsAnErrorAndNotAWait(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"objects", "config"} {
		in := t.TempDir()
		if err := os.Mkdir(filepath.Join(in, "objects"), 0o755); name == "config" && err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(filepath.Join(in, name))
		if err := syscall.Mkfifo(filepath.Join(in, name), 0o644); err != nil {
			t.Fatal(err)
		}
		req := plainRequest()
		req.Options = request.Options{Ref: "x"}
		if result, _, _ := runIn(t, req, in); result.Error == "" {
			t.Errorf("a pipe as %s is not an error", name)
		}
	}
}

func TestTheFormatFollowsTheCommitThatIsInTheInput(t *testing.T) {
	t.Parallel()
	object := func(in string) string {
		found, err := filepath.Glob(filepath.Join(in, "sysroot/ostree/repo/objects/*/*.commit"))
		if err != nil || len(found) != 1 {
			t.Fatalf("commits are %q, %v", found, err)
		}
		return found[0]
	}
	for name, tt := range map[string]struct {
		commit string // another one than that in the repository
		edit   func(in string) error
		format string
		warns  string
	}{
		"it is there": {"", nil, "ostree", ""},
		"below a link": {"", func(in string) error {
			return errors.Join(os.Rename(filepath.Join(in, "sysroot/ostree"), filepath.Join(in, "srv/ostree")),
				os.Symlink("/srv/ostree", filepath.Join(in, "sysroot/ostree")))
		}, "ostree", ""},
		"it was removed": {"", func(in string) error { return os.RemoveAll(filepath.Join(in, "sysroot/ostree")) }, "plain",
			"do not have it"},
		"another content": {"", func(in string) error { return os.WriteFile(object(in), []byte("x"), 0o644) }, "plain",
			"has other content"},
		"a pipe": {"", func(in string) error {
			name := object(in)
			return errors.Join(os.Remove(name), syscall.Mkfifo(name, 0o644))
		}, "plain", "is not a file"},
		"another commit":           {strings.Repeat("0", 64), nil, "plain", "do not have it"},
		"what cannot be a commit":  {"../../../../etc/passwd", nil, "plain", "do not have it"},
		"a short name of a commit": {"0", nil, "plain", "do not have it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := t.TempDir()
			link(t, in, map[string]string{"usr/bin/one": "", "srv/data": ""})
			exampleRepo(t, filepath.Join(in, "sysroot/ostree/repo"))
			req := plainRequest()
			req.Options.Format, req.Commit = "", tt.commit
			if name := object(in); tt.commit == "" {
				req.Commit = filepath.Base(filepath.Dir(name)) + strings.TrimSuffix(filepath.Base(name), ".commit")
			}
			if tt.edit != nil {
				if err := tt.edit(in); err != nil {
					t.Fatal(err)
				}
			}
			result, _, _ := runIn(t, req, in)
			if result.Error != "" || (result.Commit != "") != (tt.format == "ostree") {
				t.Errorf("commit %q, error %q, want format %s", result.Commit, result.Error, tt.format)
			}
			said := strings.Join(result.Warnings, "\n")
			if tt.warns == "" && strings.Contains(said, "labels of the base image") || !strings.Contains(said, tt.warns) {
				t.Errorf("warnings %q, want %q", said, tt.warns)
			}
		})
	}
}
