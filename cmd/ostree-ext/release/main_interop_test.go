//go:build interop

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/release"
	"github.com/ostree-ext/ostree-ext-go/internal/testhome"
)

// tag is the version that the tests release.
const tag = "v1.98.7"

// made is the release that the tests look at, which TestMain makes.
var made struct {
	// sources is a copy of the module, with a commit that has the tag, and dist the release of it.
	sources, dist string
	commit        string
	arches        []string
}

// allArches says whether all architectures are compiled, and with an empty build cache the second time. That takes too
// long for each run. RELEASE_TEST can also be a list of architectures.
func allArches() bool { return os.Getenv("RELEASE_TEST") == "all" }

func TestMain(m *testing.M) {
	os.Exit(testhome.Tests{M: testhome.Func(func() int { return prepare(m) })}.Run())
}

func prepare(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ostree-ext-release")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// Of the foreign processors, one that stores numbers the other way around.
	made.arches = []string{runtime.GOARCH, "s390x"}
	if allArches() {
		made.arches = release.Arches()
	} else if list := os.Getenv("RELEASE_TEST"); list != "" {
		made.arches = strings.Split(list, ",")
	}
	made.sources = filepath.Join(dir, "sources")
	made.dist = filepath.Join(made.sources, "dist")
	err = copySources(made.sources)
	if err == nil {
		made.commit, err = output(made.sources, nil, "git", "rev-parse", "HEAD")
	}
	if err == nil {
		_, err = output(made.sources, nil, "make", "-s", "release", "ARCH="+strings.Join(made.arches, ","))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// copySources copies the files of the module that git tracks or does not ignore, and commits and tags the copy.
func copySources(to string) error {
	list, err := output("../../..", nil, "git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others",
		"--exclude-standard")
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimRight(list, "\x00"), "\x00") {
		from, to := filepath.Join("../../..", name), filepath.Join(to, name)
		data, err := os.ReadFile(from)
		if errors.Is(err, os.ErrNotExist) {
			continue // it is deleted, and that is not committed
		}
		info, statErr := os.Stat(from)
		if err := errors.Join(err, statErr, os.MkdirAll(filepath.Dir(to), 0o755)); err != nil {
			return err
		}
		if err := os.WriteFile(to, data, info.Mode().Perm()); err != nil {
			return err
		}
	}
	date := "2026-01-02T03:04:05Z"
	env := []string{"GIT_AUTHOR_DATE=" + date, "GIT_COMMITTER_DATE=" + date}
	for _, args := range [][]string{
		{"init", "--quiet"}, {"add", "--all"},
		{"-c", "user.name=A", "-c", "user.email=a@example", "commit", "--quiet", "--message=all"}, {"tag", tag},
	} {
		if _, err := output(to, env, "git", args...); err != nil {
			return err
		}
	}
	return nil
}

// output runs a command in a directory and returns its standard output, trimmed.
func output(dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(context.Background(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, &out, &errs)
	}
	return strings.TrimSpace(out.String()), nil
}

// must runs a command and returns its standard output, trimmed.
func must(t *testing.T, name string, args ...string) string {
	t.Helper()
	return mustIn(t, "", nil, name, args...)
}

// mustIn is must in a directory, with more variables in the environment.
func mustIn(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	out, err := output(dir, env, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// dist returns the path of a file of the release.
func dist(parts ...string) string { return filepath.Join(append([]string{made.dist}, parts...)...) }

// native is the program of the release for this machine.
func native() string { return dist("ostree-ext-" + tag + "-linux-" + runtime.GOARCH) }
