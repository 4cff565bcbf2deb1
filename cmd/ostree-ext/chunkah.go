package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// chunkahName is the name by which the program takes chunkah's place.
const chunkahName = "chunkah"

// rootOf returns the root of the commands for the name that the program was called by, and the arguments. Called as
// chunkah, it has the commands of chunkah, and runs all others after the word ostree-ext, so that an image whose entry
// point is chunkah serves both.
func rootOf(a *app, name string, args []string) (*cobra.Command, []string) {
	const all = "ostree-ext"
	switch {
	case filepath.Base(name) != chunkahName:
		return newRootCommand(a), args
	case len(args) > 0 && args[0] == all:
		return newRootCommand(a), args[1:]
	}
	root := newChunkahCommand(a)
	root.Version = readVersion().Version
	root.SetVersionTemplate(readVersion().String())
	root.SilenceUsage, root.SilenceErrors, root.DisableAutoGenTag = true, true, true
	root.Long += "\n\n'chunkah ostree-ext' followed by a command runs the other commands of this program."
	root.CompletionOptions.DisableDefaultCmd = true
	for _, c := range append(root.Commands(), root) {
		c.Example = strings.ReplaceAll(c.Example, all+" "+chunkahName, chunkahName)
	}
	addCompletions(root)
	strict(root, a.completing)
	return root, args
}

// chunkahLogs are the options about messages.
type chunkahLogs struct {
	verbose int
	file    string
	to      io.Closer // the open file
}

func newChunkahCommand(a *app) *cobra.Command {
	logs := &chunkahLogs{}
	c := group(chunkahName, "Split a root filesystem with the command line of chunkah", newChunkahBuildCommand(a, logs))
	c.Long = `Takes the place of chunkah: it has chunkah's options and environment, and a program of the name chunkah
has these commands as its own. The layers are those of 'ostree-ext container build', which keeps what
it can of the image that hosts have.`
	fs := c.PersistentFlags()
	fs.CountVarP(&logs.verbose, "verbose", "v", "print what is being done; twice for more")
	fs.StringVar(&logs.file, "trace-logfile", "", "`FILE` to write a log to")
	_ = fs.MarkHidden("trace-logfile") // it exists
	c.PersistentPreRunE = func(*cobra.Command, []string) error {
		err := logs.start(a)
		redirectLogs(a.logger())
		return err
	}
	c.PersistentPostRunE = func(*cobra.Command, []string) error {
		if logs.to == nil {
			return nil
		}
		return logs.to.Close()
	}
	return c
}

// start sets what is printed. The environment variable RUST_LOG is for less, or for more.
func (l *chunkahLogs) start(a *app) error {
	filter := strings.ToLower(os.Getenv("RUST_LOG"))
	switch {
	case l.verbose > 0, strings.Contains(filter, "debug"), strings.Contains(filter, "trace"):
		a.debug = true
	case filter == "error", filter == "off":
		a.quiet = true
	}
	if l.file == "" {
		return nil
	}
	f, err := os.Create(l.file)
	if err != nil {
		return fmt.Errorf("--trace-logfile: %w", err)
	}
	l.to, a.trace = f, f
	return nil
}

// A variable is an environment variable that sets an option that is not given.
type variable struct {
	option, name string
	// mayBeEmpty says that an empty value is the same as none. Otherwise it is a mistake, as it is for an option.
	mayBeEmpty bool
}

// chunkahVariables are the environment variables of "chunkah build".
var chunkahVariables = []variable{
	{"rootfs", "CHUNKAH_ROOTFS", false},
	{"threads", "CHUNKAH_THREADS", false},
	{"config-str", "CHUNKAH_CONFIG_STR", false},
	{"source-date-epoch", "SOURCE_DATE_EPOCH", true},
	{"prior", "CHUNKAH_PRIOR", true},
}

// fromEnvironment sets the options that are not given from the environment. Those that a given option excludes are left
// alone.
func fromEnvironment(fs *pflag.FlagSet) error {
	for _, v := range chunkahVariables {
		value, ok := os.LookupEnv(v.name)
		if !ok || value == "" && v.mayBeEmpty || fs.Changed(v.option) || v.option == "config-str" && fs.Changed("config") {
			continue
		}
		if err := fs.Set(v.option, value); err != nil {
			if errors.Is(err, errEmpty) {
				return usagef("%s is empty: set it to a value, or unset it", v.name)
			}
			return usagef("invalid value '%s' in %s for '--%s'", value, v.name, v.option)
		}
	}
	return nil
}
