// Package gobuild compiles programs of this module for the images that have them.
package gobuild

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build compiles the main package of a directory, such as "./cmd/ostree-ext", for an architecture of Linux, and returns
// the program. The same sources and the same Go version give the same program, whatever go is told by the environment.
// tags may be empty. ldflags are further flags of the linker, such as "-X" and "main.name=value". Build runs go in the
// current directory, which must be in the module.
func Build(ctx context.Context, dir, arch, tags string, ldflags ...string) (program []byte, err error) {
	tmp, err := os.MkdirTemp("", "ostree-ext-build-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	name := filepath.Join(tmp, "program")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags="+tags,
		"-ldflags="+strings.Join(append([]string{"-s -w"}, ldflags...), " "), "-o", name, dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=", "GOEXPERIMENT=",
		"GOFIPS140=off", "GOAMD64=v1", "GOARM64=v8.0", "GOPPC64=power8", "GORISCV64=rva20u64")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go build %s for %s: %w", dir, arch, err)
	}
	return os.ReadFile(name)
}
