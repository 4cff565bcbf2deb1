package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/internal/printable"
)

// app holds what all commands share: the streams and the global options.
type app struct {
	streams
	quiet bool
	debug bool
	// trace receives a log of everything, unless it is nil.
	trace io.Writer
	// terminal is standard input if it may be a terminal, and nil if not.
	terminal *os.File
	// completing is set if a shell asks for completions. It parses unfinished arguments, and more than once.
	completing bool
}

func newRootCommand(a *app) *cobra.Command {
	root := group("ostree-ext", "OSTree commits as container images, and back")
	root.Long = `ostree-ext turns an OSTree commit into a container image and such an image back into the same commit,
byte for byte. It needs neither libostree nor any other program.

Results go to standard output; messages and progress go to standard error.`
	root.Example = `  ostree-ext repo init --repo=repo --mode=bare-user
  ostree-ext repo commit --repo=repo --branch=exampleos/x86_64/stable rootfs/
  ostree-ext container encapsulate --repo=repo exampleos/x86_64/stable docker://registry.example/os:latest
  ostree-ext container unencapsulate --repo=host ostree-unverified-registry:registry.example/os:latest`
	root.PersistentPreRun = func(*cobra.Command, []string) { redirectLogs(a.logger()) }
	root.Version = readVersion().Version
	root.SetVersionTemplate(readVersion().String())
	root.SilenceUsage, root.SilenceErrors, root.DisableAutoGenTag = true, true, true
	root.PersistentFlags().BoolVarP(&a.quiet, "quiet", "q", false, "print only results and errors")
	root.PersistentFlags().BoolVar(&a.debug, "debug", false, "log what is being done to standard error")
	root.AddCommand(
		newContainerCommand(a), newRechunkCommand(a), newChunksCommand(a), newAdviseCommand(a), newComposeCommand(a),
		newChunkahCommand(a),
		newTarCommand(a), newRepoCommand(a), newDiffCommand(a), newIMASignCommand(a), newProvisionalRepairCommand(a),
		newManCommand(a, root), newVersionCommand(a),
	)
	addStandardCommands(root)
	addCompletions(root)
	strict(root, a.completing)
	return root
}

// logger returns a logger to standard error. Its level is debug with --debug.
func (a *app) logger() *slog.Logger {
	level := slog.LevelWarn
	if a.debug {
		level = slog.LevelDebug
	}
	shown := slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level})
	if a.trace == nil {
		return slog.New(shown)
	}
	return slog.New(slog.NewMultiHandler(shown,
		slog.NewTextHandler(a.trace, &slog.HandlerOptions{Level: slog.LevelDebug})))
}

// warn prints a warning unless --quiet is set.
func (a *app) warn(message string) {
	if !a.quiet {
		fmt.Fprintf(a.err, "warning: %s\n", printable.Line(message))
	}
}

// warnAll prints several warnings.
func (a *app) warnAll(messages []string) {
	for _, m := range messages {
		a.warn(m)
	}
}

// printf prints a result for people.
func (a *app) printf(format string, args ...any) error {
	_, err := io.WriteString(a.out, printable.Text(fmt.Sprintf(format, args...)))
	return err
}

// printJSON prints a result as indented JSON with a newline at the end.
func (a *app) printJSON(v any) error { return a.encode(v, "  ") }

// printLine prints a result as JSON on one line.
func (a *app) printLine(v any) error { return a.encode(v, "") }

// encode prints a result as JSON. Characters that a terminal does not show are escaped, which means the same.
func (a *app) encode(v any, indent string) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(a.out, printable.JSON(b.String()))
	return err
}

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := fileOf(w)
	if !ok {
		return false
	}
	// Not every character device is a terminal. For example, /dev/null is not.
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil && os.Getenv("TERM") != "dumb"
}
