package encapsulate_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate"
)

// inspect is what podman 4 prints about an image, and docker with other values beside; both shortened.
const (
	podmanInspect = `[{"Id": "1f", "Digest": "sha256:1f", "RepoTags": ["localhost/x:latest"], "Parent": "",
 "Created": "2026-01-31T12:00:00.123456789Z",
 "Config": {"Env": ["A=1"], "Cmd": ["sh"], "WorkingDir": "/srv", "Labels": {"a": "b"}},
 "Version": "", "Author": "somebody", "Architecture": "arm64", "Os": "linux", "Size": 1,
 "RootFS": {"Type": "layers", "Layers": ["sha256:aa", "sha256:bb"]},
 "Labels": {"a": "b"}, "Annotations": {"n": "x"}, "ManifestType": "x", "User": "", "History": [],
 "HealthCheck": {"Test": ["CMD", "true"]}, "NamesHistory": []}]`
	dockerInspect = `[{"Id": "sha256:1f", "RepoTags": [], "Created": "2026-01-31T12:00:00+02:00", "DockerVersion": "",
 "Config": {"Hostname": "", "Domainname": "", "User": "1000", "AttachStdin": false, "Tty": false, "Env": ["A=1"],
  "Cmd": null, "Image": "", "Volumes": {"/data": {}}, "WorkingDir": "", "Entrypoint": ["/app"], "OnBuild": null,
  "Labels": null},
 "Architecture": "arm64", "Variant": "v8", "Os": "linux", "Size": 1, "GraphDriver": {},
 "RootFS": {"Type": "layers", "Layers": ["sha256:aa"]}, "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"}}]`
	wholeConfig = `{"created": "2026-01-31T12:00:00Z", "author": "somebody", "architecture": "s390x", "os": "linux",
 "config": {"Cmd": ["sh"]}, "rootfs": {"type": "layers", "diff_ids": ["sha256:aa"]}, "history": []}`
)

func TestDocumentsAboutAnImageAreRead(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	earlier := noon.Add(-2 * time.Hour)
	arm, arm8 := ocispec.Platform{OS: "linux", Architecture: "arm64"}, ocispec.Platform{OS: "linux", Architecture: "arm64"}
	arm8.Variant = "v8"
	podman := encapsulate.Given{
		Config: []byte(`{"Cmd":["sh"],"Env":["A=1"],"Healthcheck":{"Test":["CMD","true"]},"Labels":{"a":"b"},` +
			`"WorkingDir":"/srv"}`),
		Image: true, Annotations: map[string]string{"n": "x"}, Platform: &arm, Created: &noon, Author: "somebody",
		Layers: []digest.Digest{"sha256:aa", "sha256:bb"},
	}
	for _, c := range []struct {
		name, in string
		want     encapsulate.Given
	}{
		{"podman inspect", podmanInspect, podman},
		{"one object of it", strings.Trim(podmanInspect, "[]"), podman},
		{"docker inspect", dockerInspect, encapsulate.Given{
			Config: []byte(`{"Entrypoint":["/app"],"Env":["A=1"],"User":"1000","Volumes":{"/data":{}}}`),
			Image:  true, Platform: &arm8, Created: &earlier, Layers: []digest.Digest{"sha256:aa"},
		}},
		{"the configuration alone, as chunkah's own image gives it", `{"Config": {"Entrypoint": ["/usr/bin/chunkah"]}}`,
			encapsulate.Given{Config: []byte(`{"Entrypoint":["/usr/bin/chunkah"]}`), Image: true}},
		{"a time of the year 1", `{"Config": {}, "Created": "0001-01-01T00:00:00Z"}`,
			encapsulate.Given{Config: []byte(`{}`), Image: true}},
		{"a whole configuration", wholeConfig, encapsulate.Given{
			Config: []byte(`{"Cmd": ["sh"]}`), Image: true, Created: &noon, Author: "somebody",
			Platform: &ocispec.Platform{OS: "linux", Architecture: "s390x"}, Layers: []digest.Digest{"sha256:aa"},
		}},
		{"a whole configuration without a container's", `{"architecture": "s390x", "os": "linux", "rootfs": {}}`,
			encapsulate.Given{Config: []byte(`{}`), Image: true,
				Platform: &ocispec.Platform{OS: "linux", Architecture: "s390x"}}},
		{"buildah inspect", `{"Type": "buildah", "FromImage": "x", "Config": "{}", "ImageAnnotations": {"n": "x"},
			"OCIv1": {"architecture": "s390x", "os": "linux", "config": {"Cmd": ["sh"]}, "rootfs": {}}}`,
			encapsulate.Given{Config: []byte(`{"Cmd": ["sh"]}`), Image: true, Annotations: map[string]string{"n": "x"},
				Platform: &ocispec.Platform{OS: "linux", Architecture: "s390x"}}},
		{"a container's configuration", `{"Cmd": ["sh"], "Comand": []}`,
			encapsulate.Given{Config: []byte(`{"Cmd": ["sh"], "Comand": []}`), Unknown: []string{"Comand"}}},
	} {
		got, err := encapsulate.ReadConfig([]byte(c.in))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if diff := cmp.Diff(&c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestOtherDocumentsAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, want string }{
		{"nothing", ``, "this is not JSON"},
		{"two images", `[{"Config": {}}, {"Config": {}}]`, "this describes 2 images: give one"},
		{"no image", `[]`, "this describes 0 images: give one"},
		{"a manifest", `{"schemaVersion": 2, "config": {}, "layers": []}`, "this is the manifest"},
		{"an index", `{"schemaVersion": 2, "manifests": []}`, "this is the index"},
		{"skopeo inspect", `{"Name": "x", "RepoTags": [], "Env": ["A=1"], "Layers": []}`, "skopeo inspect --config"},
		{"another system", `{"Config": {}, "Architecture": "amd64", "Os": "windows"}`, "images are for linux"},
		{"a time that is none", `{"Config": {}, "Created": "yesterday"}`, "RFC 3339"},
		{"a key twice", `{"Config": {}, "Architecture": "amd64", "Architecture": "arm64"}`, "Architecture"},
		{"a command that is not a list", `{"Config": {"Cmd": "sh"}}`, "Cmd: a list of strings is expected"},
		{"the same in a whole configuration", `{"config": {"Cmd": "sh"}, "rootfs": {}}`, "a list of strings is expected"},
		{"text", `"sh"`, "an object is expected"},
	} {
		if _, err := encapsulate.ReadConfig([]byte(c.in)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}
