package main

import (
	"context"
	"fmt"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/internal/output"
)

// aboutStdout is in the help of each command that writes an image.
const aboutStdout = `oci-archive:-[:TAG] and docker-archive:-[:REF] are standard output; the result is then
printed to standard error. What is not a regular file, such as a pipe, is written to as a stream; a symbolic link stays,
and its target is replaced.`

// checkArchive refuses to write an archive to a terminal.
func (a *app) checkArchive(ref imgref.ImageReference) error {
	if a.isStdout(ref) && isTerminal(a.out) {
		return usagef("standard output is a terminal: send the archive to a file or a program")
	}
	return nil
}

// isStdout reports whether an image goes to standard output, by the name "-" or by another such as /dev/stdout.
func (a *app) isStdout(ref imgref.ImageReference) bool {
	if !dest.IsStream(ref) {
		return false
	}
	name, _ := ref.PathAndTag()
	if name == "-" {
		return true
	}
	out, ok := a.out.(*os.File)
	if !ok {
		return false
	}
	here, err := out.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(name)
	return err == nil && os.SameFile(here, there)
}

// report writes what a command found out about the image that it wrote: the digest to a file, if there is one to
// write, and the result. Nothing is added to an image that went to standard output.
func (a *app) report(
	ctx context.Context, ref imgref.ImageReference, d digest.Digest, c continued, toFile string, result any,
) error {
	if toFile != "" {
		if err := output.WriteFile(ctx, toFile, []byte(d)); err != nil {
			return fmt.Errorf("the image is written, its digest is not: %w", err)
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
	a.tellContinued(c)
	return a.printf("%s\n", d)
}
