package frontend

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend/gateway/client"

	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// Limits of the files that options name, in bytes. A request has the contents of both, as base64, and must fit into a
// message of 16 MiB.
const (
	maxMapping     = 2_000_000
	maxContentMeta = 8_000_000
)

// contextFile reads a file of the build context, which may have limit bytes. It returns nil if the name is empty.
func (b *job) contextFile(ctx context.Context, name string, limit int64) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	st, err := b.dc.MainContext(ctx, llb.FollowPaths([]string{name}))
	if err != nil {
		return nil, err
	}
	ref, err := b.solve(ctx, *st)
	if err != nil {
		return nil, err
	}
	return readRegular(ctx, ref, name, mainContext, limit)
}

// place is a context that files are read from.
type place struct {
	// name is how people call it, and hint what is said about a file that it does not have.
	name, hint string
}

// mainContext is the build context.
var mainContext = place{name: "the build context", hint: ", or .dockerignore excludes it"}

// errNoFile is wrapped by the error for a file that does not exist.
var errNoFile = errors.New("there is no file")

// readRegular reads a regular file of a context, which may have limit bytes. Symbolic links are followed.
func readRegular(ctx context.Context, ref client.Reference, name string, in place, limit int64) ([]byte, error) {
	absent := fmt.Errorf("%w %s in %s%s", errNoFile, name, in.name, in.hint)
	if ref == nil {
		return nil, absent
	}
	fi, err := ref.StatFile(ctx, client.StatRequest{Path: name})
	if err != nil {
		// What is wrapped around an error of the builder does not reach the user.
		text := firstLine(err.Error())
		switch {
		case strings.Contains(text, "no such file"):
			return nil, absent
		case strings.Contains(text, "too many"):
			return nil, fmt.Errorf("%s in %s is a symbolic link that leads back to itself (%s)", name, in.name, text)
		}
		return nil, fmt.Errorf("%s in %s cannot be read: %s", name, in.name, text)
	}
	if mode := os.FileMode(fi.Mode); !mode.IsRegular() {
		return nil, fmt.Errorf("%s in %s is %s, not a file", name, in.name, kind(mode))
	}
	if fi.Size == 0 {
		// BuildKit also sends a socket as an empty file.
		return nil, fmt.Errorf("%s in %s is empty", name, in.name)
	}
	if fi.Size > limit {
		return nil, fmt.Errorf("%s in %s has %s, more than the %s that the builder passes on", name, in.name,
			sizes.Format(fi.Size), sizes.Format(limit))
	}
	data, err := ref.ReadFile(ctx, client.ReadRequest{Filename: name})
	if err != nil {
		return nil, fmt.Errorf("%s in %s cannot be read: %s", name, in.name, firstLine(err.Error()))
	}
	if int64(len(data)) != fi.Size {
		return nil, fmt.Errorf("%s in %s was not read to its end", name, in.name)
	}
	return data, nil
}

// readBelow reads a file of at most limit bytes that a step made.
func readBelow(ctx context.Context, ref client.Reference, name string, limit int) ([]byte, error) {
	data, err := ref.ReadFile(ctx, client.ReadRequest{Filename: name, Range: &client.FileRange{Length: limit + 1}})
	if err == nil && len(data) > limit {
		err = fmt.Errorf("%s has more than %s", name, sizes.Format(int64(limit)))
	}
	return data, err
}

// kind names what is not a regular file.
func kind(mode os.FileMode) string {
	switch mode.Type() {
	case os.ModeDir:
		return "a directory"
	case os.ModeNamedPipe:
		return "a pipe"
	case os.ModeSocket:
		return "a socket"
	case os.ModeDevice, os.ModeDevice | os.ModeCharDevice:
		return "a device"
	}
	return "a special file"
}
