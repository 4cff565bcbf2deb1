// Package hosttool runs programs of the host.
package hosttool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ErrNoStorageTool says that no program that can read containers-storage is installed.
var ErrNoStorageTool = errors.New("containers-storage: needs skopeo or podman, and neither is installed: " +
	"install one of them")

// Error is the failure of a program.
type Error struct {
	// Command is the program's name and its first argument.
	Command string
	// Said is what the program gave as the cause, or empty.
	Said string
	// Err is how the program ended, an [*exec.ExitError] if it ran.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Said == "" {
		return e.Command + ": " + e.Err.Error()
	}
	return e.Command + ": " + e.Said
}

// Unwrap returns how the program ended.
func (e *Error) Unwrap() error { return e.Err }

// Run runs a program and returns its standard output. The error is an [*Error]. The program is killed when the context
// is done, and the error wraps the cause of that.
func Run(ctx context.Context, program string, args ...string) ([]byte, error) {
	return RunInput(ctx, nil, program, args...)
}

// RunInput is [Run] for a program that reads input from its standard input.
func RunInput(ctx context.Context, input []byte, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if input != nil {
		cmd.Stdin = bytes.NewReader(input)
	}
	if err := cmd.Run(); err != nil {
		e := &Error{Command: filepath.Base(program) + " " + args[0], Said: cause(stderr.String()), Err: err}
		if ctx.Err() != nil {
			e.Said, e.Err = "", context.Cause(ctx)
		}
		return nil, e
	}
	return stdout.Bytes(), nil
}

// logLine matches the messages of skopeo and podman, which are written for machines if there is no terminal.
var logLine = regexp.MustCompile(`^time=\S+ level=(\w+) msg=("(?:[^"\\]|\\.)*"|\S+)`)

// cause returns what a program that failed gave as the cause: all its errors, or else the last line.
func cause(stderr string) string {
	var errs []string
	last := ""
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		m := logLine.FindStringSubmatch(line)
		said, failed := strings.CutPrefix(line, "Error: ")
		if m != nil {
			said, failed = m[2], m[1] == "error" || m[1] == "fatal"
			if text, err := strconv.Unquote(m[2]); err == nil {
				said = text
			}
		}
		if said != "" {
			last = said
		}
		if failed && !slices.Contains(errs, said) {
			errs = append(errs, said)
		}
	}
	if len(errs) == 0 {
		return last
	}
	return strings.Join(errs, "; ")
}

// MissingError says that a program is not installed.
type MissingError struct {
	// Program is its name, and Package the name of the package that has it in most distributions.
	Program, Package string
}

// Error implements error.
func (e *MissingError) Error() string {
	return fmt.Sprintf("%s is not installed: install the package %s", e.Program, e.Package)
}

// Find returns the path of a program. If it is not installed, the error is a [*MissingError].
func Find(program, pkg string) (string, error) {
	path, err := exec.LookPath(program)
	if errors.Is(err, exec.ErrNotFound) {
		return "", &MissingError{program, pkg}
	}
	return path, err
}
