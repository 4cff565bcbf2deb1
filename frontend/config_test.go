package frontend

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/client/llb"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
	"github.com/ostree-ext/ostree-ext-go/frontend/chunk"
)

var arm = ocispec.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}

// ofCommit returns the configuration of an image with a commit, and more labels.
func ofCommit(labels string) string {
	return `{"config":{"Labels":{"ostree.commit":"x","ostree.final-diffid":"sha256:y"` + labels + `}},` +
		`"rootfs":{"diff_ids":["sha256:a","sha256:y","sha256:b"]}}`
}

func TestRequestTakesOverWhatTheContainerfileSays(t *testing.T) {
	t.Parallel()
	base := []byte(`{"history":[{"created":"2024-01-02T03:04:05.6Z"},{"created":"2023-01-01T00:00:00Z"},{}]}`)
	from := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	epoch := time.Unix(1700000000, 0).UTC()
	zero := time.Unix(0, 0).UTC()
	for _, tt := range []struct {
		name     string
		options  request.Options
		metadata map[string]string
		suffix   string
		want     chunk.Request
	}{
		{
			"an ordinary image", request.Options{},
			map[string]string{"containerimage.config": `{"author":"me","config":{"Cmd":["sh"]}}`}, "",
			chunk.Request{Options: request.Options{Format: "plain"}, Config: []byte(`{"Cmd":["sh"]}`), Author: "me",
				Created: &zero},
		},
		{
			"of a platform among others", request.Options{},
			map[string]string{"containerimage.config/linux/arm64": `{}`, "containerimage.base.config/linux/arm64": string(base)},
			"/linux/arm64",
			chunk.Request{Options: request.Options{Format: "plain"}, Config: []byte(`{}`), Created: &from},
		},
		{
			"with a time", request.Options{},
			map[string]string{"containerimage.config": `{}`, "containerimage.base.config": string(base),
				"source.date.epoch": "1700000000"}, "",
			chunk.Request{Options: request.Options{Format: "plain"}, Config: []byte(`{}`), Created: &epoch},
		},
		{
			"on top of a commit it is one", request.Options{},
			map[string]string{"containerimage.config": ofCommit(`,"ostree-ext.plan":"z","vendor":"me"`),
				"containerimage.base.config": ofCommit("")}, "",
			chunk.Request{Commit: "x", Config: []byte(`{"Labels":{"vendor":"me"}}`), Created: &zero},
		},
		{
			"unless asked for otherwise", request.Options{Format: "plain"},
			map[string]string{"containerimage.config": ofCommit(""), "containerimage.base.config": ofCommit("")}, "",
			chunk.Request{Options: request.Options{Format: "plain"}, Config: []byte(`{}`), Created: &zero},
		},
		{
			"asked for a commit", request.Options{Format: "ostree"},
			map[string]string{"containerimage.config": ofCommit(""), "containerimage.base.config": ofCommit("")}, "",
			chunk.Request{Options: request.Options{Format: "ostree"}, Config: []byte(`{}`), Created: &zero},
		},
		{
			"a commit has a time, and its ref may have the platform in it",
			request.Options{Ref: "os/${TARGETARCH}/${TARGETVARIANT}"},
			map[string]string{"containerimage.config": `{}`, "source.date.epoch": "1700000000"}, "",
			chunk.Request{Options: request.Options{Ref: "os/arm64/v8"}, Config: []byte(`{}`)},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			metadata := map[string][]byte{}
			for k, v := range tt.metadata {
				metadata[k] = []byte(v)
			}
			got, warnings, err := newRequest(tt.options, arm, metadata, tt.suffix, nil)
			if err != nil || len(warnings) > 0 {
				t.Fatalf("%v, warnings %q", err, warnings)
			}
			tt.want.Platform = arm
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Labels that a Containerfile sets, or that an image has although its layers do not hold a commit, say nothing.
func TestLabelsOfAContainerfileDoNotMakeACommit(t *testing.T) {
	t.Parallel()
	const plainBase = `{"config":{},"rootfs":{"diff_ids":["sha256:a"]}}`
	for name, tt := range map[string]struct {
		config, base string
		warning      string
	}{
		"on scratch": {`{"config":{"Labels":{"ostree.commit":"x"}}}`, "", "ostree.commit"},
		"all labels of a commit": {`{"config":{"Labels":{"ostree.commit":"x","ostree.final-diffid":"sha256:a",` +
			`"ostree.linux":"6","ostree.bootable":"true","rpmostree.inputhash":"y"}}}`, plainBase,
			"ostree.commit, ostree.final-diffid, ostree.linux, ostree.bootable, rpmostree.inputhash"},
		"the diff-id of its own layer": {`{"config":{"Labels":{"ostree.commit":"x","ostree.final-diffid":"sha256:b"}},` +
			`"rootfs":{"diff_ids":["sha256:a","sha256:b"]}}`, plainBase, "ostree.commit, ostree.final-diffid"},
		"a base with the label only": {`{"config":{"Labels":{"ostree.commit":"x"}}}`,
			`{"config":{"Labels":{"ostree.commit":"x"}},"rootfs":{"diff_ids":["sha256:a"]}}`, ""},
		"a base with labels of other layers": {`{"config":{"Labels":{"ostree.commit":"x","ostree.final-diffid":"sha256:z"}}}`,
			`{"config":{"Labels":{"ostree.commit":"x","ostree.final-diffid":"sha256:z"}},"rootfs":{"diff_ids":["sha256:a"]}}`,
			""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			metadata := map[string][]byte{"containerimage.config": []byte(tt.config)}
			if tt.base != "" {
				metadata["containerimage.base.config"] = []byte(tt.base)
			}
			got, warnings, err := newRequest(request.Options{}, arm, metadata, "", nil)
			if err != nil {
				t.Fatal(err)
			}
			if got.Options.Format != request.Plain || got.Commit != "" || string(got.Config) != "{}" {
				t.Errorf("format %q, commit %q, configuration %s", got.Options.Format, got.Commit, got.Config)
			}
			if said := strings.Join(warnings, "\n"); tt.warning == "" && said != "" ||
				!strings.HasSuffix(said, strings.TrimSpace("is ignored: "+tt.warning)) && tt.warning != "" {
				t.Errorf("warnings %q, want one about %q", warnings, tt.warning)
			}
		})
	}
	t.Run("bootc's is an ordinary one", func(t *testing.T) {
		t.Parallel()
		got, warnings, err := newRequest(request.Options{}, arm, map[string][]byte{
			"containerimage.config": []byte(`{"config":{"Labels":{"containers.bootc":"1"}}}`)}, "", nil)
		if err != nil || len(warnings) > 0 || got.Options.Format != request.Plain ||
			string(got.Config) != `{"Labels":{"containers.bootc":"1"}}` {
			t.Errorf("format %q, configuration %s, warnings %q, %v", got.Options.Format, got.Config, warnings, err)
		}
	})
	t.Run("on top of a commit it stays that one", func(t *testing.T) {
		t.Parallel()
		got, warnings, err := newRequest(request.Options{}, arm, map[string][]byte{
			"containerimage.config":      []byte(`{"config":{"Labels":{"ostree.commit":"other"}}}`),
			"containerimage.base.config": []byte(ofCommit(""))}, "", nil)
		if err != nil || len(warnings) != 1 || got.Commit != "x" {
			t.Errorf("commit %q, warnings %q, %v", got.Commit, warnings, err)
		}
	})
}

func TestOnTopOfLayersWithACommitThatStayItsLabelsStay(t *testing.T) {
	t.Parallel()
	for kept, want := range map[string]string{
		"sha256:y":     `{"Labels":{"ostree.commit":"x","ostree.final-diffid":"sha256:y"}}`,
		"sha256:other": `{}`,
	} {
		for name, labels := range map[string]string{
			"inherited":                       `"ostree.commit":"x","ostree.final-diffid":"sha256:y","ostree-ext.plan":"z"`,
			"set in a Containerfile":          `"ostree.commit":"wrong","ostree.final-diffid":"sha256:y","ostree.linux":"6"`,
			"another last layer":              `"ostree.commit":"x","ostree.final-diffid":"` + kept + `z"`,
			"not inherited, as FROM has none": `"ostree-ext.plan":"z"`,
		} {
			metadata := map[string][]byte{"containerimage.config": []byte(`{"config":{"Labels":{` + labels + `}}}`)}
			base := ofCommit("")
			got, _, err := newRequest(request.Options{KeepBase: "true"}, arm, metadata, "",
				&remoteImage{config: []byte(base), diffIDs: []string{kept}})
			if err != nil {
				t.Fatal(err)
			}
			zero := time.Unix(0, 0).UTC()
			want := chunk.Request{
				Options: request.Options{KeepBase: "true", Format: "plain"}, Platform: arm, Config: []byte(want),
				Base: []byte(base), Created: &zero,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("labels %s, base with layer %s (-want +got):\n%s", name, kept, diff)
			}
		}
	}
}

func TestWhatAClientSentIsKnownByItsContentAlone(t *testing.T) {
	t.Parallel()
	sent := llb.Local("context")
	for name, tt := range map[string]struct {
		st   llb.State
		want bool
	}{
		"sent":            {sent, false},
		"copied":          {llb.Scratch().File(llb.Copy(sent, "/", "/")), true},
		"made by a step":  {sent.Run(llb.Args([]string{"true"})).Root(), true},
		"an image":        {llb.Image("docker.io/library/base:x"), true},
		"of two branches": {llb.Merge([]llb.State{llb.Image("docker.io/library/base:x"), sent}), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := isKeyed(t.Context(), tt.st, arm)
			if err != nil || got != tt.want {
				t.Errorf("got %t, %v, want %t", got, err, tt.want)
			}
		})
	}
}

func TestAPriorImageThatIsNotThereIsToldFromOneThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"docker.io/library/x:latest: not found": true,
		"pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: " +
			"authorization failed": true,
		"failed to do request: dial tcp 127.0.0.1:1: connect: connection refused": false,
		"unexpected status: 500 Internal Server Error":                            false,
	} {
		if got := notFound(errors.New(text)); got != want {
			t.Errorf("%q: %t, want %t", text, got, want)
		}
	}
}

func TestRequestRefusesWhatIsNoConfiguration(t *testing.T) {
	t.Parallel()
	for name, metadata := range map[string]map[string][]byte{
		"nothing":    {},
		"not JSON":   {"containerimage.config": []byte("x")},
		"labels":     {"containerimage.config": []byte(`{"config":{"Labels":1}}`)},
		"author":     {"containerimage.config": []byte(`{"author":1}`)},
		"base":       {"containerimage.config": []byte(`{}`), "containerimage.base.config": []byte("x")},
		"SOURCE_…":   {"containerimage.config": []byte(`{}`), "source.date.epoch": []byte("now")},
		"the config": {"containerimage.config": []byte(`{"config":[]}`)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, _, err := newRequest(request.Options{}, arm, metadata, "", nil); err == nil {
				t.Errorf("request %+v, want an error", got)
			}
		})
	}
}

func TestTheBaseIsFoundBelowEveryKindOfStep(t *testing.T) {
	t.Parallel()
	const name = "docker-image://docker.io/library/base" +
		"@sha256:0123456789012345678901234567890123456789012345678901234567890123"
	base := llb.Image(name[len("docker-image://"):])
	other := llb.Image("docker.io/library/other:x")
	mounted := func(st llb.State) llb.State {
		run := st.Run(llb.Args([]string{"true"}))
		run.AddMount("/mnt", other)
		return run.Root()
	}
	for _, tt := range []struct {
		name string
		st   llb.State
		want string
	}{
		{"FROM alone", base, name},
		{"RUN", mounted(base), name},
		{"COPY", base.File(llb.Copy(other, "/", "/")), name},
		{"several files", base.File(llb.Mkfile("/a", 0o644, nil).Mkfile("/b", 0o644, nil).Copy(other, "/", "/")), name},
		{"COPY --link", llb.Merge([]llb.State{base, llb.Scratch().File(llb.Copy(other, "/", "/"))}), name},
		{"all of them", mounted(llb.Merge([]llb.State{mounted(base).File(llb.Copy(other, "/", "/")), other})), name},
		{"nothing", llb.Scratch().File(llb.Mkfile("/a", 0o644, nil)), ""},
		{"files of others", llb.Scratch().File(llb.Copy(other, "/", "/")), ""},
		{"a difference", llb.Diff(base, other), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			def, err := tt.st.Marshal(t.Context(), llb.LinuxAmd64)
			if err != nil {
				t.Fatal(err)
			}
			source, err := findBase(def.ToPB())
			switch {
			case tt.want == "" && err == nil:
				t.Errorf("found %s, want an error", source.Identifier)
			case tt.want == "":
			case err != nil:
				t.Error(err)
			case source.Identifier != tt.want:
				t.Errorf("found %s, want %s", source.Identifier, tt.want)
			}
		})
	}
}
