// Command frontend is the program in the image of the BuildKit frontend. BuildKit runs it without arguments as the
// frontend of a build. The frontend lets the builder run it again: as the step that splits a root filesystem into
// layers ("chunk"), as the registry that the builder fetches the layers from ("serve"), and as the one who decides
// about images whose signatures BuildKit does not fetch ("judge").
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/gateway/grpcclient"
	_ "golang.org/x/crypto/x509roots/fallback" // a judge has the authorities for TLS of the user, or else these

	"github.com/ostree-ext/ostree-ext-go/frontend"
	"github.com/ostree-ext/ostree-ext-go/frontend/chunk"
	"github.com/ostree-ext/ostree-ext-go/frontend/judge"
	"github.com/ostree-ext/ostree-ext-go/frontend/serve"
	"github.com/ostree-ext/ostree-ext-go/internal/heaplimit"
)

func main() {
	heaplimit.Set()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return grpcclient.RunFromEnvironment(ctx, frontend.Build)
	}
	switch args[0] {
	case "chunk":
		return runChunk(ctx, args[1:])
	case "serve":
		return runServe(ctx, args[1:])
	case "judge":
		return judge.Run(ctx, os.Stdin, os.Stdout)
	case "nothing":
		return nil // the step is run for its mounts
	}
	return fmt.Errorf("unknown command %q: this is the BuildKit frontend of ostree-ext: "+
		"name it on the syntax line of a Containerfile", args[0])
}

func runChunk(ctx context.Context, args []string) error {
	var dirs chunk.Dirs
	fs := flag.NewFlagSet("chunk", flag.ContinueOnError)
	request := fs.String("request", "", "`FILE` with the request")
	fs.StringVar(&dirs.In, "in", "", "`DIR` with the root filesystem or the repository")
	fs.StringVar(&dirs.Base, "base", "", "`DIR` with the root filesystem of the base image")
	fs.StringVar(&dirs.Layout, "layout", "", "`DIR` for the image")
	fs.StringVar(&dirs.Result, "result", "", "`DIR` for the result")
	if err := fs.Parse(args); err != nil {
		return err
	}
	data, err := os.ReadFile(*request)
	if err != nil {
		return err
	}
	var req chunk.Request
	if err := json.Unmarshal(data, &req); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	return chunk.Run(ctx, req, dirs, os.Stderr)
}

func runServe(ctx context.Context, args []string) error {
	var c serve.Config
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	fs.StringVar(&c.Layout, "layout", "", "`DIR` with the image")
	fs.StringVar(&c.Result, "result", "", "`DIR` with the chunk step's result")
	variable := fs.String("repository-env", "", "environment `VARIABLE` with the name of the image, which is secret: "+
		"other users can read command lines")
	fs.StringVar(&c.Repository, "repository", "", "`NAME` of the image, if it is not secret: to try the command by hand")
	fs.BoolVar(&c.Whole, "whole", false, "serve one image of all layers")
	fs.StringVar(&c.Images.Salt, "salt", "", "`TEXT` that makes the images differ from all others")
	lent := fs.String("lent", "", "empty `DIR` for layers of the prior image, which are requested on standard output and "+
		"read from standard input")
	platform := fs.String("platform", "", "`PLATFORM` of the image")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *variable != "" {
		c.Repository = os.Getenv(*variable)
	}
	if c.Repository == "" {
		return errors.New("serve: --repository-env is needed, and the variable must be set")
	}
	p, err := platforms.Parse(*platform)
	if err != nil {
		return err
	}
	c.Images.Platform = p
	if *lent != "" {
		c.Prior = &serve.PriorLayers{Dir: *lent}
	}
	return serve.Run(ctx, c, os.Stdin, os.Stdout)
}
