// Command image builds the frontend for several platforms and writes its image to a registry or to an OCI layout. Run
// it in the module's directory. The same sources and the same Go version give the same image.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/frontend/image"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	list := flag.String("platform", "linux/amd64,linux/arm64", "`PLATFORMS` of the image, separated by commas")
	push := flag.String("push", "", "`IMAGE` to write in a registry")
	dir := flag.String("layout", "", "`DIR` to write as an OCI layout")
	flag.Parse()
	if *push == "" && *dir == "" {
		return errors.New("name a destination: --push=IMAGE or --layout=DIR")
	}
	var programs [][]byte
	var of []ocispec.Platform
	for name := range strings.SplitSeq(*list, ",") {
		p, err := platforms.Parse(name)
		if err != nil {
			return err
		}
		program, err := build(ctx, p)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		programs, of = append(programs, program), append(of, p)
	}
	index, err := image.Index(programs, of)
	if err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	if *dir != "" {
		if err := image.WriteLayout(index, *dir); err != nil {
			return err
		}
	}
	if *push != "" {
		if err := image.Push(ctx, index, *push); err != nil {
			return err
		}
	}
	fmt.Println(digest)
	return nil
}

// build compiles the program for a platform.
func build(ctx context.Context, p ocispec.Platform) (program []byte, err error) {
	dir, err := os.MkdirTemp("", "ostree-ext-frontend-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	name := filepath.Join(dir, "frontend")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", name,
		"./cmd/frontend")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.OS, "GOARCH="+p.Architecture, "GOFLAGS=")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go build: %w", err)
	}
	return os.ReadFile(name)
}
