package encapsulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ostree-ext/ostree-ext-go/internal/jsonkeys"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonplace"
)

// foreign are documents that people take for a container configuration. A key that only such a document has tells which
// one it is. Most specific documents are first.
var foreign = []struct {
	keys       []string
	what, give string
}{
	{[]string{"OCIv1", "FromImage"}, "what 'buildah inspect' prints", "jq .OCIv1.config"},
	{[]string{"RepoTags", "LayersData", "DockerVersion"}, "what 'skopeo inspect' prints",
		"skopeo inspect --config IMAGE | jq .config"},
	{[]string{"Config", "RootFS", "ContainerConfig"}, "what 'docker inspect' or 'podman inspect' prints", "jq .Config"},
	{[]string{"manifests"}, "the index of an image", "skopeo inspect --config IMAGE | jq .config"},
	{[]string{"layers", "schemaVersion"}, "the manifest of an image", "skopeo inspect --config IMAGE | jq .config"},
	{[]string{"config", "rootfs", "architecture"}, "the configuration of a whole image", "jq .config"},
}

// moreKeys are keys of container configurations that the type of the registry library does not have.
var moreKeys = []string{"CpuShares", "Memory", "MemorySwap", "StopTimeout"}

// configKeys returns the keys of a container configuration, which are those of OCI and Docker.
func configKeys() []string {
	keys := slices.Clone(moreKeys)
	t := reflect.TypeFor[v1.Config]()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		keys = append(keys, name)
	}
	return keys
}

// CheckConfig checks a container configuration that a person gave as [Options.Config]. The error says where the mistake
// is, and what to give if this is another document about an image. unknown are the keys that neither OCI nor Docker
// has. They are kept, but may be misspelt.
func CheckConfig(data []byte) (unknown []string, err error) {
	var list []json.RawMessage
	if json.Unmarshal(data, &list) == nil && len(list) > 0 {
		if err := checkForeign(list[0], "jq '.[0].Config'"); err != nil {
			return nil, err
		}
	}
	if err := checkForeign(data, ""); err != nil {
		return nil, err
	}
	known := configKeys()
	schema := jsonkeys.Schema{"": known, ".Labels": {"*"}, ".Volumes": {"*"}, ".ExposedPorts": {"*"}}
	if err := jsonkeys.Check(data, schema); err != nil {
		return nil, err
	}
	var keys map[string]json.RawMessage
	if err := jsonplace.Unmarshal(data, &keys); err != nil {
		return nil, err
	}
	if keys == nil {
		return nil, errors.New("an object is expected, not null")
	}
	if err := jsonplace.Unmarshal(data, &v1.Config{}); err != nil {
		return nil, err
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if !slices.Contains(known, k) {
			unknown = append(unknown, k)
		}
	}
	return unknown, nil
}

// checkForeign returns an error if a document is another one about an image. give says how to get the right one.
func checkForeign(data []byte, give string) error {
	var keys map[string]json.RawMessage
	if json.Unmarshal(data, &keys) != nil {
		return nil
	}
	for _, f := range foreign {
		if slices.ContainsFunc(f.keys, func(k string) bool { return keys[k] != nil }) {
			if give == "" {
				give = f.give
			}
			return fmt.Errorf("this is %s: give only the object with the container's Env, Cmd and so on (%s)", f.what, give)
		}
	}
	return nil
}
