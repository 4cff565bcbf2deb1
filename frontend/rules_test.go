package frontend

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
)

// TestTheFrontendHasTheRulesOfTheCommandLine runs the table of package request with the options of a build. Entries
// that only the command line refuses use options that do not exist here.
func TestTheFrontendHasTheRulesOfTheCommandLine(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../encapsulate/request/testdata/rules.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name, Input, Refused, Says string
		Options                    map[string]string
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	metadata := map[string][]byte{exptypes.ExporterImageConfigKey: []byte("{}")}
	for _, c := range cases {
		if c.Refused == "command line" {
			continue
		}
		all := map[string]string{}
		for name, value := range c.Options {
			all["build-arg:OSTREE_EXT_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = value
		}
		if c.Input == "commit" {
			all["build-arg:OSTREE_EXT_REF"] = "os"
		}
		o, err := ParseOptions(all)
		if err == nil {
			_, _, err = newRequest(o, ocispec.Platform{OS: "linux", Architecture: "amd64"}, metadata, "", nil)
		}
		if (err != nil) != (c.Refused != "") {
			t.Errorf("%s: %v", c.Name, err)
		}
		if err != nil && (!errors.Is(err, request.ErrOption) || !strings.Contains(err.Error(), c.Says)) {
			t.Errorf("%s: %v, want an error about options that says %q", c.Name, err, c.Says)
		}
	}
}
