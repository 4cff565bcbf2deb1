// Command image builds ostree-ext for several platforms and writes its image to a registry or to an OCI layout. Run it
// in the module's directory. The same sources and the same Go version give the same image. SOURCE_DATE_EPOCH sets its
// time.
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

	"github.com/ostree-ext/ostree-ext-go/container/commandimage"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/programs"
	"github.com/ostree-ext/ostree-ext-go/internal/gobuild"
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
	list := flag.String("platform", "linux/amd64,linux/arm64,linux/riscv64,linux/ppc64le,linux/s390x",
		"`PLATFORMS` of the image, separated by commas")
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
	var of []commandimage.Platform
	for name := range strings.SplitSeq(*list, ",") {
		p, err := platforms.Parse(name)
		if err != nil {
			return err
		}
		command, err := gobuild.Build(ctx, "./cmd/ostree-ext", p.Architecture, tags)
		if err != nil {
			return err
		}
		shell, err := gobuild.Build(ctx, "./cmd/ostree-ext/sh", p.Architecture, "")
		if err != nil {
			return err
		}
		of = append(of, commandimage.Platform{Platform: p, Command: command, Shell: shell})
	}
	index, err := commandimage.Index(ctx, of, commandimage.Options{Created: created})
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
