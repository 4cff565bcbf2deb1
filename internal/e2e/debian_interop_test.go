//go:build interop

package e2e

import (
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/ostree-ext/ostree-ext-go/internal/hosttree"
)

// maxRSS is the memory limit of every command, in KiB, whatever the size of the image.
const maxRSS = 150 << 10

// measured runs the program and fails if it needed too much memory. GNU time starts it, since the memory of a process
// includes that of the process which forked it.
func measured(t *testing.T, args ...string) string {
	t.Helper()
	report := filepath.Join(t.TempDir(), "time")
	out := must(t, "/usr/bin/time", append([]string{"-f", "%M", "-o", report, program}, args...)...)
	data, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	rss, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: peak memory %d MiB", strings.Join(args[:2], " "), rss>>10)
	if rss > maxRSS {
		t.Errorf("ostree-ext %s needed %d MiB", strings.Join(args, " "), rss>>10)
	}
	return out
}

const debianRef = "debian/amd64/bookworm"

// committed holds the repositories that debianCommit made, by mode.
var committed = map[string]struct{ repo, commit string }{}

// debianCommit returns a repository of a mode into which we committed the Debian tree, and the commit. It checks that
// the real ostree gives the tree the same id. Tests share the repository and only read it.
func debianCommit(t *testing.T, mode string) (repo, commit string) {
	t.Helper()
	if c, ok := committed[mode]; ok {
		return c.repo, c.commit
	}
	root := debianRoot(t)
	common := []string{"--branch=" + debianRef, "--subject=Debian", "--timestamp=@1700000000",
		"--add-metadata-string=version=12"}
	theirs, ours := newRepo(t, mode), filepath.Join(debian.dir, "repo-"+mode)
	want := must(t, "ostree", append([]string{"commit", "--repo=" + theirs, "--fsync=false", root}, common...)...)
	must(t, program, "repo", "init", "--repo="+ours, "--mode="+mode)
	got := measured(t, append([]string{"repo", "commit", "--repo=" + ours, root}, common...)...)
	if got != want {
		t.Fatalf("%s: ours committed %s, ostree %s", mode, got, want)
	}
	fsck(t, ours)
	committed[mode] = struct{ repo, commit string }{ours, want}
	return ours, want
}

func TestInterop_ADebianTreeCommitsToTheSameIDAsOstree(t *testing.T) {
	for _, mode := range []string{"bare", "bare-user", "bare-user-only", "archive"} {
		t.Run(mode, func(t *testing.T) { debianCommit(t, mode) })
	}
}

// TestInterop_ADebianTreeTravelsThroughEveryTransport tests the main purpose on real input: commit, image, and back
// into a repository of every mode. Each program that people use on images reads it on the way.
func TestInterop_ADebianTreeTravelsThroughEveryTransport(t *testing.T) {
	root := debianRoot(t)
	repo, commit := debianCommit(t, "archive")
	srv := httptest.NewServer(registry.New(registry.WithBlobHandler(registry.NewDiskBlobHandler(t.TempDir())),
		registry.Logger(log.New(io.Discard, "", 0))))
	defer srv.Close()
	dir := t.TempDir()
	host := strings.TrimPrefix(srv.URL, "http://")

	transports := []transport{
		{ref: "oci:" + dir + "/oci:latest", chunked: true},
		{ref: "oci-archive:" + dir + "/image.ociarchive:latest"},
		{ref: "dir:" + dir + "/dir"},
		{ref: "docker-archive:" + dir + "/image.dockerarchive:debian:12", chunked: true},
		{ref: "docker://" + host + "/os/debian:12", skopeo: "--tls-verify=false", chunked: true},
	}
	diffIDs := map[bool]string{}
	for _, tr := range transports {
		name, _, _ := strings.Cut(tr.ref, ":")
		t.Run(name, func(t *testing.T) {
			args := []string{"container", "encapsulate", "--repo=" + repo, "--label=vendor=Test", "--cmd=/bin/bash", debianRef,
				tr.ref}
			if !tr.chunked {
				args = append(args, "--single-layer")
			}
			fetch := []string{}
			if tr.skopeo != "" {
				args, fetch = append(args, "--insecure-skip-tls-verification"), append(fetch, "--insecure-skip-tls-verification")
			}
			digest := measured(t, args...)
			if !strings.HasPrefix(digest, "sha256:") || len(digest) != 71 {
				t.Errorf("encapsulate printed %q, not a digest", digest)
			}
			info := inspect(t, tr.ref, tr.skopeo)
			if got := info.Config.Labels["ostree.commit"]; got != commit {
				t.Errorf("skopeo inspect: label ostree.commit is %q, want %s", got, commit)
			}
			if n := len(info.RootFS.DiffIDs); tr.chunked != (n > 20) || !tr.chunked && n != 1 {
				t.Errorf("the image has %d layers", n)
			}
			ids := strings.Join(info.RootFS.DiffIDs, " ")
			if diffIDs[tr.chunked] == "" {
				diffIDs[tr.chunked] = ids
			}
			if want := diffIDs[tr.chunked]; ids != want {
				t.Errorf("diff-ids %s, want those of the other transports, %s", ids, want)
			}
			must(t, "skopeo", noEmpty("copy", "--quiet", tr.skopeo2("--src-tls-verify=false"), tr.ref,
				"oci:"+t.TempDir()+"/copy:latest")...)

			back := newRepo(t, "bare-user")
			measured(t,
				append([]string{"container", "unencapsulate", "--repo=" + back, "--write-ref=" + debianRef,
					"ostree-unverified-image:" + tr.ref}, fetch...)...)
			if got := must(t, "ostree", "rev-parse", "--repo="+back, debianRef); got != commit {
				t.Errorf("unencapsulated %s, want %s", got, commit)
			}
			fsck(t, back)
		})
	}

	for _, into := range []struct{ mode, form, image string }{
		{"bare", "chunks", transports[0].ref},
		{"bare-user", "chunks", transports[0].ref},
		{"archive", "chunks", transports[0].ref},
		{"bare", "one layer", transports[1].ref},
	} {
		t.Run(into.form+" into "+into.mode, func(t *testing.T) {
			back := newRepo(t, into.mode)
			measured(t, "container", "unencapsulate", "--repo="+back, "--write-ref="+debianRef,
				"ostree-unverified-image:"+into.image)
			if got := must(t, "ostree", "rev-parse", "--repo="+back, debianRef); got != commit {
				t.Fatalf("unencapsulated %s, want %s", got, commit)
			}
			fsck(t, back)
			out := filepath.Join(t.TempDir(), "tree")
			must(t, "ostree", "checkout", "--repo="+back, debianRef, out)
			hosttree.Same(t, out, root)
			ours := filepath.Join(t.TempDir(), "tree")
			measured(t, "repo", "checkout", "--repo="+back, debianRef, ours)
			hosttree.Same(t, ours, root)
		})
	}

	t.Run("its shell runs under runc", func(t *testing.T) {
		runDebianShell(t, dir+"/oci:latest")
	})
}

// runDebianShell unpacks an image of a layout as container engines do and runs its shell.
func runDebianShell(t *testing.T, image string) {
	t.Helper()
	bundle := filepath.Join(t.TempDir(), "bundle")
	must(t, "umoci", "unpack", "--image", image, bundle)
	if out := runInBundle(t, bundle, "/bin/bash", "-c",
		"echo shell of $(. /etc/os-release; echo $ID)"); out != "shell of debian" {
		t.Errorf("%s: the shell printed %q", image, out)
	}
}

// transport is an image reference, the arguments with which skopeo reads it, and whether the image is split.
type transport struct {
	ref, skopeo string
	chunked     bool
}

// skopeo2 are skopeo's arguments for a command with source and destination.
func (tr transport) skopeo2(opt string) string {
	if tr.skopeo == "" {
		return ""
	}
	return opt
}

// TestInterop_ACanonicalDebianTreeFitsBareUserOnly uses a canonical commit, since that mode stores no owners.
func TestInterop_ACanonicalDebianTreeFitsBareUserOnly(t *testing.T) {
	repo, commit := debianCommit(t, "bare-user-only")
	image := "oci:" + t.TempDir() + "/image"
	measured(t, "container", "encapsulate", "--repo="+repo, debianRef, image)
	back := newRepo(t, "bare-user-only")
	measured(t, "container", "unencapsulate", "--repo="+back, "--write-ref="+debianRef, "ostree-unverified-image:"+image)
	if got := must(t, "ostree", "rev-parse", "--repo="+back, debianRef); got != commit {
		t.Errorf("unencapsulated %s, want %s", got, commit)
	}
	fsck(t, back)
	theirs, ours := filepath.Join(t.TempDir(), "tree"), filepath.Join(t.TempDir(), "tree")
	must(t, "ostree", "checkout", "--repo="+back, "--user-mode", debianRef, theirs)
	measured(t, "repo", "checkout", "--repo="+back, "--user", debianRef, ours)
	hosttree.Same(t, ours, theirs)

	full, _ := debianCommit(t, "archive")
	measured(t, "container", "encapsulate", "--repo="+full, "--prior=none", debianRef, image)
	other := newRepo(t, "bare-user-only")
	_, stderr, err := try(t, program, "container", "unencapsulate", "--repo="+other, "--write-ref="+debianRef,
		"ostree-unverified-image:"+image)
	if err == nil || !strings.Contains(stderr, "bare-user-only") {
		t.Errorf("a commit with owners went into bare-user-only: %v %s", err, stderr)
	}
	fsck(t, other)
	// The layers that do fit are kept for the next attempt, below refs of their own.
	for ref := range strings.FieldsSeq(must(t, "ostree", "refs", "--repo="+other)) {
		if !strings.HasPrefix(ref, "ostree/container/blob/") {
			t.Errorf("the failed import left the ref %s", ref)
		}
	}
}

// inspected is what skopeo says about an image's configuration.
type inspected struct {
	Config struct{ Labels map[string]string }
	RootFS struct {
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

func inspect(t *testing.T, ref, opt string) (i inspected) {
	t.Helper()
	out := must(t, "skopeo", noEmpty("inspect", "--config", opt, ref)...)
	if err := json.Unmarshal([]byte(out), &i); err != nil {
		t.Fatalf("skopeo inspect printed %q: %v", out, err)
	}
	return i
}

func noEmpty(args ...string) (out []string) {
	for _, a := range args {
		if a != "" {
			out = append(out, a)
		}
	}
	return out
}

// runInBundle runs a command in an unpacked image and returns what it printed.
func runInBundle(t *testing.T, bundle string, args ...string) string {
	t.Helper()
	path := filepath.Join(bundle, "config.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	process := config["process"].(map[string]any)
	process["args"], process["terminal"] = args, false
	if data, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, string(data))
	return must(t, "runc", "--root", t.TempDir(), "run", "--bundle", bundle, "ostree-ext-test")
}
