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

// aboutStdout is part of the help of each command that writes an image.
const aboutStdout = `oci-archive:-[:TAG] and docker-archive:-[:REF] write to standard output; the result is then
printed to standard error. A target that is not a regular file, such as a pipe, is written to as a
stream. If it is a symbolic link, the link stays and the file that it points to is replaced.`

// checkArchive returns a usage error if an archive would be written to a terminal.
func (a *app) checkArchive(ref imgref.ImageReference) error {
	if a.isStdout(ref) && isTerminal(a.out) {
		return usagef("standard output is a terminal: send the archive to a file or a program")
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
