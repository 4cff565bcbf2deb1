// Package hosttool runs programs of the host.
package hosttool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrNoStorageTool says that no program that can read containers-storage is installed.
var ErrNoStorageTool = errors.New("containers-storage: needs skopeo or podman, and neither is installed: " +
	"install one of them")

// Run runs a program and returns its standard output. The error has the program's name, its first argument and the last
// line that it wrote to standard error, and wraps an [*exec.ExitError] if the program ran and failed. The program is
// killed when the context is done.
func Run(ctx context.Context, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", filepath.Base(program), args[0], err, lastLine(stderr.String()))
	}
	return stdout.Bytes(), nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}
