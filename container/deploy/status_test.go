package deploy

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
	"github.com/ostree-ext/ostree-ext-go/repo/sysroot"
)

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	digestC = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
	digestD = "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
)

func status(t *testing.T, h *host) *Status {
	t.Helper()
	s, err := ReadStatus(t.Context(), h.host, h.path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStatusSaysWhichDeploymentIsWhat(t *testing.T) {
	t.Parallel()
	h := newHost(t, 1, imageOrigin(unverified), imageOrigin(signed), "[origin]\nrefspec=vendor:os\n",
		imageOrigin(unverified)+"[libostree-transient]\npinned=true\n")
	h.stage(t, imageOrigin(signed), true)
	s := status(t, h)
	if s.Sysroot != h.path || s.BootFree <= 0 {
		t.Errorf("got %+v", s)
	}
	type row struct {
		State, Version, Image, Refspec string
		Pinned, Locked                 bool
		Args                           []string
	}
	args := func(n string) []string { return []string{"root=UUID=1", "quiet", "n=" + n} }
	want := []row{
		{StateStaged, "v1", signed, "", false, true, args("3")},
		{StatePending, "v4", unverified, "", false, false, args("4")},
		{StateBooted, "v3", signed, "", false, false, args("3")},
		{StateRollback, "v2", "", "vendor:os", false, false, args("2")},
		{StateOther, "v1", unverified, "", true, false, args("1")},
	}
	var got []row
	for i, d := range s.Deployments {
		if d.Index != i || d.Stateroot != "default" || !d.Created.Equal(time.Unix(1700000000, 0)) || d.Digest != "" {
			t.Errorf("got %+v", d)
		}
		got = append(got, row{d.State, d.Version, d.Image, d.Refspec, d.Pinned, d.Locked, d.KernelArgs})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if s.Current() != &s.Deployments[2] || s.Next() != &s.Deployments[0] {
		t.Errorf("the current deployment is %+v, and the next %+v", s.Current(), s.Next())
	}
}

func TestAnUpdateFollowsWhatIsBootedNext(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, pending, staged, want string }{
		{"the running system", "", "", signed},
		{"the one before it in the boot menu", imageOrigin(unverified), "", unverified},
		{"the staged one", "", imageOrigin(unverified), unverified},
		{"an OSTree remote", "[origin]\nrefspec=vendor:os\n", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, 0, imageOrigin(signed))
			if c.pending != "" {
				h = newHost(t, 1, c.pending, imageOrigin(signed))
			}
			if c.staged != "" {
				h.stage(t, c.staged, false)
			}
			d, err := status(t, h).Followed()
			if c.want == "" {
				if !errors.Is(err, ErrNotFollowing) {
					t.Errorf("got %+v and %v", d, err)
				}
			} else if err != nil || d.Image != c.want {
				t.Errorf("got %+v and %v, want %s", d, err, c.want)
			}
		})
	}
}

func TestStatusOfASysrootThatIsNotBooted(t *testing.T) {
	t.Parallel()
	h := newHost(t, -1, "", "", "")
	for i, want := range []string{StateDefault, StateOther, StateOther} {
		if got := status(t, h).Deployments[i].State; got != want {
			t.Errorf("deployment %d: got %s, want %s", i, got, want)
		}
	}
	if s := status(t, h); s.Current() != &s.Deployments[0] || s.Next() != nil {
		t.Errorf("the current deployment is %+v, and the next %+v", s.Current(), s.Next())
	}
	h = newHost(t, -1)
	if s := status(t, h); s.Current() != nil || s.Next() != nil {
		t.Errorf("without deployments the current one is %+v, and the next %+v", s.Current(), s.Next())
	}
	data, err := json.Marshal(status(t, h).Deployments)
	if err != nil || string(data) != "[]" {
		t.Errorf("got %s and %v, want an empty list", data, err)
	}
}

// imageHost is a host with one deployment, whose commit and detached metadata are those of an image.
func imageHost(t *testing.T, metadata, detached gvariant.Dict) *host {
	t.Helper()
	from := repotest.Init(t, repo.ModeArchive)
	c := repotest.CommitWith(t, from, repotest.BootTree("kernel", "", nil), "", metadata, detached)
	h := &host{host: sysroot.Host{Root: t.TempDir(), Run: t.TempDir()}, commits: []object.Checksum{c}}
	h.path = repotest.MakeSysroot(t, repotest.Deployment{
		Stateroot: "default", Commit: c, Boot: repotest.BootChecksum("kernel", ""), Origin: imageOrigin(unverified),
	})
	var err error
	if h.repo, err = repo.Init(filepath.Join(h.path, "ostree/repo"), repo.ModeArchive); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.repo.Close() })
	if _, err := h.repo.PullLocal(t.Context(), from, []string{c.String()}, repo.PullOptions{}); err != nil {
		t.Fatal(err)
	}
	return h
}

func dictOf(pairs ...string) gvariant.Dict {
	var d gvariant.Dict
	for i := 0; i < len(pairs); i += 2 {
		d = d.Set(pairs[i], gvariant.String(pairs[i+1]))
	}
	return d
}

func manifestOf(layers string) string {
	return `{"schemaVersion":2,"config":{"digest":"` + digestD + `","size":2},"layers":[` + layers + `]}`
}

func layer(digest, size string) string { return `{"digest":"` + digest + `","size":` + size + `}` }

func configOf(key, version string) string {
	return `{"config":{"Labels":{"` + key + `":"` + version + `"}}}`
}

func TestStatusOfAnImage(t *testing.T) {
	t.Parallel()
	metadata := dictOf(
		"ostree.container.image-config", configOf("org.opencontainers.image.version", "41.1"),
		"ostree.manifest", manifestOf(layer(digestA, "1000")+","+layer(digestB, "500")),
		"ostree.manifest-digest", digestC,
	)
	update := dictOf(
		"ostree-ext.cached.manifest-digest", digestD,
		"ostree-ext.cached.manifest", manifestOf(layer(digestA, "1000")+","+layer(digestC, "700")),
		"ostree-ext.cached.config", configOf("version", "41.2"),
	)
	for _, c := range []struct {
		name               string
		metadata, detached gvariant.Dict
		digest, version    string
		want               *Update
	}{
		{"without an update", metadata, nil, digestC, "41.1", nil},
		{"other detached metadata", metadata, dictOf("x", "y"), digestC, "41.1", nil},
		{"with an update", metadata, update, digestC, "41.1",
			&Update{Digest: digestD, Version: "41.2", LayersAdded: 1, BytesAdded: 700}},
		{"an update without its manifest", metadata, update.Remove("ostree-ext.cached.manifest"), digestC, "41.1", nil},
		{"an update that is not one", metadata,
			update.Set("ostree-ext.cached.manifest-digest", gvariant.String("x")), digestC, "41.1", nil},
		{"an update that is deployed", metadata,
			update.Set("ostree-ext.cached.manifest-digest", gvariant.String(digestC)), digestC, "41.1", nil},
		{"an image without a version", metadata.Set("ostree.container.image-config", gvariant.String("{}")).
			Set("version", gvariant.String("7")), nil, digestC, "7", nil},
		{"a commit that is not of an image", dictOf("version", "7"), update, "", "7", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := imageHost(t, c.metadata, c.detached)
			d := status(t, h).Deployments[0]
			if d.Digest.String() != c.digest || d.Version != c.version || d.Image != unverified {
				t.Errorf("got %+v", d)
			}
			if diff := cmp.Diff(c.want, d.Update); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestStatusIsShownWithoutTheCommit(t *testing.T) {
	t.Parallel()
	h := imageHost(t, nil, nil)
	sum := h.commits[0].String()
	if err := os.Remove(filepath.Join(h.repo.Path(), "objects", sum[:2], sum[2:]+".commit")); err != nil {
		t.Fatal(err)
	}
	if d := status(t, h).Deployments[0]; d.Commit != sum || d.Image != unverified || d.Version != "" {
		t.Errorf("got %+v", d)
	}
}
