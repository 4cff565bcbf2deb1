package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/pflag"

	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/internal/ctxio"
	"github.com/ostree-ext/ostree-ext-go/internal/output"
)

// results is standard output. Writing to it ends with the context, although nobody reads.
type results struct {
	// to is where results go, and w writes to it.
	to, w io.Writer
	// failed is the first error. Cobra does not return the errors of writing help.
	failed error
}

// Write implements [io.Writer].
func (r *results) Write(p []byte) (int, error) {
	n, err := r.w.Write(p)
	if err != nil && r.failed == nil {
		r.failed = err
	}
	return n, err
}

// closed reports whether an error says that the reader of standard output has gone, so that nobody wants more results.
// The output may have been opened under another name, such as /dev/stdout.
func (r *results) closed(err error) bool {
	failed, ok := errors.AsType[*fs.PathError](err)
	if !ok || !errors.Is(failed, syscall.EPIPE) {
		return false
	}
	out, ok := r.to.(*os.File)
	return ok && (failed.Path == out.Name() || isOpenAs(out, failed.Path))
}

// isOpenAs reports whether an open file has a name.
func isOpenAs(f *os.File, name string) bool {
	here, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(name)
	return err == nil && os.SameFile(here, there)
}

// fileOf returns the file that a stream of the program writes to, if it is one.
func fileOf(w io.Writer) (*os.File, bool) {
	if r, ok := w.(*results); ok {
		w = r.to
	}
	f, ok := w.(*os.File)
	return f, ok
}

// readFile reads a file that a flag names. "-" is standard input. It returns nil for an empty name.
func (a *app) readFile(ctx context.Context, flag, name string) (data []byte, err error) {
	switch name {
	case "":
		return nil, nil
	case "-":
		data, err = io.ReadAll(a.in)
	default:
		data, err = ctxio.ReadFile(ctx, name)
	}
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	if len(data) == 0 {
		return nil, fmt.Errorf("--%s: %s is empty", flag, name)
	}
	return data, nil
}

// aboutStdout is part of the help of each command that writes an image.
const aboutStdout = `oci-archive:-[:TAG] and docker-archive:-[:REF] write to standard output; the result is then
printed to standard error. A target that is not a regular file, such as a pipe, is written to as a
stream. If it is a symbolic link, the link stays and the file that it points to is replaced.`

// checkOutputs checks, before any work is done, where an image and its digest are written to. It returns a usage error
// if an archive would be written to a terminal, and warns about options that the transport has no place for.
func (a *app) checkOutputs(fs *pflag.FlagSet, ref imgref.ImageReference, digestFile string) error {
	if a.isStdout(ref) && isTerminal(a.out) {
		return usagef("standard output is a terminal: send the archive to a file or a program")
	}
	if digestFile != "" {
		if _, err := output.Open(digestFile); err != nil {
			return fmt.Errorf("--digestfile: %w", err)
		}
	}
	if ref.Transport == imgref.DockerArchive {
		for _, name := range []string{"annotation", "compression", "compression-level", "compression-fast"} {
			if fs.Changed(name) {
				a.warn("--" + name + " has no effect: a Docker archive has neither annotations nor compressed layers")
			}
		}
	}
	return nil
}

// isStdout reports whether an image goes to standard output, named "-" or otherwise, such as /dev/stdout.
func (a *app) isStdout(ref imgref.ImageReference) bool {
	if !dest.IsStream(ref) {
		return false
	}
	name, _ := ref.PathAndTag()
	if name == "-" {
		return true
	}
	out, ok := fileOf(a.out)
	return ok && isOpenAs(out, name)
}

// report writes the digest of an image to a file if there is one, and prints the result. If the image went to standard
// output, the result goes to standard error.
func (a *app) report(
	ctx context.Context, ref imgref.ImageReference, d digest.Digest, c continued, toFile string, result any,
) error {
	if toFile != "" {
		if err := output.WriteFile(ctx, toFile, []byte(d)); err != nil {
			return fmt.Errorf("the image was written, but its digest was not: %w", err)
		}
	}
	if a.isStdout(ref) {
		aside := *a
		aside.out = a.err
		a = &aside
	}
	if result != nil {
		return a.printJSON(result)
	}
	a.printContinued(c)
	return a.printf("%s\n", d)
}
