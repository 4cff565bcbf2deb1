// Command release makes a release, and publishes its images. Run it in the module's directory.
//
// "release build" writes programs, packages, images and documents about them into a directory. The same sources,
// version and Go version give the same bytes. "release publish" pushes the images of such a directory, and can sign
// them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/internal/release"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("say what to do: build or publish")
	}
	fs := flag.NewFlagSet(args[0], flag.ContinueOnError)
	dist := fs.String("dist", "dist", "`DIR` of the release")
	switch args[0] {
	case "build":
		version := fs.String("version", "", "`VERSION`, such as v1.2.3 (default: the tag of HEAD)")
		arch := fs.String("arch", strings.Join(release.Arches(), ","), "`ARCHITECTURES`, separated by commas")
		nfpm := fs.String("nfpm", "", "`FILE` of a program nfpm (default: the one that tools/nfpm/go.mod names, compiled)")
		if err := fs.Parse(args[1:]); err != nil {
			return err
		}
		source, err := release.Find(ctx, ".", *version, os.Getenv("SOURCE_DATE_EPOCH"))
		if err != nil {
			return err
		}
		b := builder{source: source, arches: strings.Split(*arch, ","), nfpm: *nfpm}
		return b.build(ctx, *dist)
	case "publish":
		registry := fs.String("registry", "", "`REGISTRY` to push to, such as ghcr.io/ostree-ext")
		sign := fs.String("sign", "", "`FILE` of a private key to sign with, or keyless: the identity of the job in "+
			"GitHub Actions or GitLab CI")
		config := fs.String("signing-config", "", "`FILE` with the addresses for signing without a key")
		if err := fs.Parse(args[1:]); err != nil {
			return err
		}
		return publish(ctx, *dist, publication{registry: *registry, sign: *sign, signingConfig: *config})
	}
	return fmt.Errorf("unknown command %q: it is build or publish", args[0])
}
