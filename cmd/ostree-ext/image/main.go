// Command image builds ostree-ext, or the frontend, for several platforms and writes its image to a registry or to an
// OCI layout. Run it in the module's directory. The same sources and the same Go version give the same image.
// SOURCE_DATE_EPOCH sets its time.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/commandimage"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/programs"
	"github.com/ostree-ext/ostree-ext-go/frontend/image"
	"github.com/ostree-ext/ostree-ext-go/internal/gobuild"
	"github.com/ostree-ext/ostree-ext-go/internal/release"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

// tags are those that the program is built with, as in the Makefile.
const tags = "containers_image_openpgp"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var to programs.Destination
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(),
			"usage: image [--platform=PLATFORMS] [--push=IMAGE] [--layout=DIR] command|frontend")
		flag.PrintDefaults()
	}
	list := flag.String("platform", "", "`PLATFORMS` of the image, separated by commas (default: those of the releases, "+
		"and for the frontend linux/amd64,linux/arm64)")
	flag.StringVar(&to.Image, "push", "", "`IMAGE` to write in a registry")
	flag.StringVar(&to.Layout, "layout", "", "`DIR` to write as an OCI layout")
	flag.Parse()
	if err := to.Check(); err != nil {
		return err
	}
	created := time.Unix(0, 0)
	if s := os.Getenv("SOURCE_DATE_EPOCH"); s != "" {
		var err error
		if created, err = repo.SourceDateEpoch(s); err != nil {
			return err
		}
	}
	var describe func(context.Context, ocispec.Platform, time.Time) (programs.Image, error)
	names := *list
	switch flag.Arg(0) {
	case "command":
		describe = command
		if names == "" {
			names = "linux/" + strings.Join(release.Arches(), ",linux/")
		}
	case "frontend":
		describe = frontend
		if names == "" {
			names = "linux/amd64,linux/arm64"
		}
	default:
		return fmt.Errorf("say which image to make: command or frontend, not %q", flag.Arg(0))
	}
	var of []programs.Image
	for name := range strings.SplitSeq(names, ",") {
		p, err := platforms.Parse(name)
		if err != nil {
			return err
		}
		i, err := describe(ctx, p, created)
		if err != nil {
			return err
		}
		of = append(of, i)
	}
	index, err := programs.Index(ctx, of, nil)
	if err != nil {
		return err
	}
	digest, err := to.Write(ctx, index)
	if err != nil {
		return err
	}
	fmt.Println(digest)
	return nil
}

func command(ctx context.Context, p ocispec.Platform, created time.Time) (programs.Image, error) {
	program, err := gobuild.Build(ctx, "./cmd/ostree-ext", p.Architecture, tags)
	if err != nil {
		return programs.Image{}, err
	}
	shell, err := gobuild.Build(ctx, "./cmd/ostree-ext/sh", p.Architecture, "")
	of := commandimage.Platform{Platform: p, Command: program, Shell: shell}
	return commandimage.Of(of, commandimage.Options{Created: created}), err
}

func frontend(ctx context.Context, p ocispec.Platform, created time.Time) (programs.Image, error) {
	program, err := gobuild.Build(ctx, "./cmd/frontend", p.Architecture, tags)
	return image.Of(image.Platform{Platform: p, Program: program}, image.Options{Created: created}), err
}
