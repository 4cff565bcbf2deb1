package encapsulate_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/encapsulate"
)

func TestAConfigurationIsCheckedForItsAuthor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, in, want string
		unknown        []string
	}{
		{"a container's", `{"Cmd": ["sh"], "Env": ["A=1"], "StopTimeout": 3, "Labels": {"a": "b"}}`, "", nil},
		{"nothing set", `{}`, "", nil},
		{"a misspelt key", `{"Comand": ["sh"]}`, "", []string{"Comand"}},
		{"a key in another case", `{"cmd": ["sh"]}`, `the key "cmd", which is written "Cmd"`, nil},
		{"a wrong type", "{\n \"Cmd\": \"sh\"}", "line 2, column 9: Cmd: a list of strings is expected, not a string", nil},
		{"cut off", `{"Cmd": [`, "line 1, column 9: this is not JSON", nil},
		{"a list", `[1]`, "line 1, column 1: an object is expected, not a list", nil},
		{"null", `null`, "an object is expected", nil},
		{"a whole configuration", `{"architecture": "amd64", "config": {}, "rootfs": {}}`, "(jq .config)", nil},
		{"docker image inspect", `[{"Id": "sha256:1", "Config": {}, "RootFS": {}}]`, "(jq '.[0].Config')", nil},
		{"docker inspect of one", `{"Id": "sha256:1", "Config": {}}`, "(jq .Config)", nil},
		{"skopeo inspect", `{"Name": "x", "RepoTags": [], "Env": ["A=1"], "Layers": []}`, "skopeo inspect --config", nil},
		{"buildah inspect", `{"Type": "buildah", "FromImage": "x", "Config": "{}", "OCIv1": {}}`, "jq .OCIv1.config", nil},
		{"a manifest", `{"schemaVersion": 2, "config": {}, "layers": []}`, "this is the manifest", nil},
		{"an index", `{"schemaVersion": 2, "manifests": []}`, "this is the index", nil},
	} {
		unknown, err := encapsulate.CheckConfig([]byte(c.in))
		if !slices.Equal(unknown, c.unknown) {
			t.Errorf("%s: unknown keys %q, want %q", c.name, unknown, c.unknown)
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}
