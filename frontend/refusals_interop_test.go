//go:build interop

package frontend_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// finalError is the beginning of an error of buildctl, which depends on what it hears of first: the end of the build or
// that of the frontend.
var finalError = regexp.MustCompile("error: failed to (solve|run Build function)")

func TestInterop_BadInputIsOneClearErrorAndTheBuilderGoesOn(t *testing.T) {
	repo, ref, _ := exampleRepo(t)
	withRepo := []string{"--local=repo=" + repo}
	const scratch = "FROM scratch\nCOPY Containerfile /etc/motd\n"
	for _, tt := range []struct {
		name, options, file string
		opts, args          []string
		want                []string
		shown               []string // beside the message
	}{
		{"no such option", "max-layer=3", scratch, nil, nil,
			[]string{`invalid option "max-layer"`, "compression, compression-fast", "max-layers"}, nil},
		{"no such value", "format=tree", scratch, nil, nil, []string{"format=tree: give plain or ostree"}, nil},
		{"no such build argument", "", scratch, []string{"build-arg:OSTREE_EXT_MAXLAYERS=3"}, nil,
			[]string{"OSTREE_EXT_MAXLAYERS", "there are compression"}, nil},
		{"wrong build argument", "", scratch, []string{"build-arg:OSTREE_EXT_MAX_LAYERS=many"}, nil,
			[]string{"max-layers=many: give a number from 2 to 499"}, nil},
		{"wrong option of the client", "", scratch, []string{"max-layers=0"}, nil,
			[]string{"max-layers=0: give a number from 2 to 499"}, nil},
		{"contradiction", "single-layer max-layers=3", scratch, nil, nil,
			[]string{"single-layer and max-layers: choose one"}, nil},
		{"no such ref", "ref=absent", "FROM scratch\n", []string{"context:repo=local:repo"}, withRepo,
			[]string{"'absent' not found"}, nil},
		{"no such directory of the repository", "repo=elsewhere ref=" + ref, "FROM scratch\n",
			[]string{"context:repo=local:repo"}, withRepo, []string{"there is no OSTree repository (looked at elsewhere)"}, nil},
		{"not a repository", "ref=" + ref, scratch, nil, nil, []string{"there is no OSTree repository"}, nil},
		{"nothing", "", "FROM scratch\n", nil, nil, []string{"no files"}, nil},
		{"no such mapping", "mapping=rules.yaml", scratch, nil, nil,
			[]string{"mapping: there is no file rules.yaml in the build context"}, nil},
		{"bad mapping", "mapping=Containerfile", scratch, nil, nil, []string{"mapping: "}, nil},
		{"prior that cannot be read", "prior=127.0.0.1:1/x", scratch, nil, nil,
			[]string{"prior image 127.0.0.1:1/x cannot be read"}, nil},
		{"prior that is not a name", "prior=UPPER:x:y", scratch, nil, nil,
			[]string{"UPPER:x:y is not the name of an image"}, nil},
		{"keep-base of nothing", "keep-base", scratch, nil, nil,
			[]string{"keep-base: the last stage does not begin with an image"}, nil},
		{"a secret that is missing", "", "FROM " + env.host + "/debian\nRUN --mount=type=secret,id=token,required cat " +
			"/run/secrets/token\n", nil, nil, []string{"token", "not found"}, nil},
		{"a step that fails", "", "FROM " + env.host + "/debian\nRUN exit 42\n", nil, nil, []string{"exit code: 42"},
			[]string{"Containerfile:3", ">>> RUN exit 42"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := env.daemon.try(t.Context(), t,
				request{file: syntax(tt.options) + tt.file, name: "refused", opts: tt.opts, args: tt.args})
			if err == nil {
				t.Fatalf("the build worked:\n%s", out)
			}
			finals := finalError.FindAllStringIndex(out, -1)
			if len(finals) == 0 {
				t.Fatalf("there is no final error:\n%s", out)
			}
			// Look at the last lines only: the Containerfile is shown before, and its first line has the options.
			message := out[finals[len(finals)-1][0]:]
			if len(finals) != 1 {
				t.Errorf("there is more than one error:\n%s", out)
			}
			for _, want := range append(tt.want, tt.shown...) {
				where := message
				if slices.Contains(tt.shown, want) {
					where = out
				}
				if !strings.Contains(where, want) {
					t.Errorf("the error does not say %q:\n%s", want, out)
				}
			}
			if testing.Verbose() {
				t.Log(message)
			}
			env.daemon.build(t, request{file: syntax("prior=none") + scratch, name: "accepted"})
		})
	}
}
