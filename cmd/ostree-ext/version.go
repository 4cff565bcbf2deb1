package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/container/trust/policy"
)

func newVersionCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program",
		Example: "  ostree-ext version --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := readVersion()
			if asJSON {
				return a.printJSON(v)
			}
			return a.printf("%s", v)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return c
}

// version describes this program.
type version struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	// Policies says whether images can be judged by the policy of the container tools.
	Policies bool `json:"policies"`
}

// String returns the line that is printed for people.
func (v version) String() string {
	built := v.Go + ", " + v.Platform
	if v.Revision != "" {
		built = "commit " + v.Revision + ", " + built
	}
	if !v.Policies {
		built += ", without the policies of container images"
	}
	return fmt.Sprintf("ostree-ext %s (%s)\n", v.Version, built)
}

// release and revision are set by the linker in the programs of a release: its tag, and the commit of the sources.
// Other programs have what the go command knows.
var release, revision string

func readVersion() version {
	v := version{Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Policies: policy.Supported}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if m := info.Main.Version; m != "" && m != "(devel)" {
		v.Version = m
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.Revision = s.Value
		}
	}
	if release != "" {
		v.Version, v.Revision = release, revision
	}
	return v
}
