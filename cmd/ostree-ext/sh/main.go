// Command sh is the shell in the command's image. It is there for the RUN lines of Containerfiles and the scripts of
// jobs, and has no programs beside it except those of the image. Its language is that of bash.
//
// It takes the arguments of a POSIX shell: "sh [-OPTIONS] [-o OPTION] -c SCRIPT [NAME [ARG...]]", "sh [-OPTIONS] FILE
// [ARG...]", or a script on standard input. An interrupt and a request to end are passed on to the program that runs,
// since the shell may be the first process of a container, and give the exit status 128 and the signal's number.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// grace is how long a program may take to end after a signal.
const grace = 10 * time.Second

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ended := make(chan int, 1)
	go func() {
		if s, ok := (<-signals).(syscall.Signal); ok {
			ended <- 128 + int(s)
			cancel()
		}
	}()
	status := run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr)
	select {
	case status = <-ended:
	default:
	}
	os.Exit(status)
}

// command is what the arguments of the shell say.
type command struct {
	options []string // for the interpreter: set's options
	script  io.Reader
	name    string // $0
	params  []string
	close   func() error
}

// parse reads the arguments of the shell, of which the first is its own name.
func parse(args []string, stdin io.Reader) (*command, error) {
	c := &command{script: stdin, name: args[0], close: func() error { return nil }}
	args = args[1:]
	inline := false
	for len(args) > 0 && len(args[0]) > 1 && (args[0][0] == '-' || args[0][0] == '+') {
		word := args[0]
		args = args[1:]
		if word == "--" {
			break
		}
		if word == "--login" {
			continue
		}
		for _, option := range word[1:] {
			switch option {
			case 'c':
				inline = true
			case 's', 'l', 'i': // what it does anyway, or what has no meaning without a terminal
			case 'o':
				if len(args) == 0 {
					return nil, errors.New("-o: the name of an option is missing")
				}
				c.options = append(c.options, word[:1]+"o", args[0])
				args = args[1:]
			default:
				c.options = append(c.options, word[:1]+string(option))
			}
		}
	}
	switch {
	case inline && len(args) == 0:
		return nil, errors.New("-c: the script is missing")
	case inline:
		c.script = strings.NewReader(args[0])
		if args = args[1:]; len(args) > 0 {
			c.name, c.params = args[0], args[1:]
		}
	case len(args) > 0:
		f, err := os.Open(args[0])
		if err != nil {
			return nil, err
		}
		c.script, c.name, c.params, c.close = f, args[0], args[1:], f.Close
	}
	return c, nil
}

// run runs the shell and returns its exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c, err := parse(args, stdin)
	if err != nil {
		fmt.Fprintf(stderr, "sh: %v\n", err)
		return 2
	}
	defer c.close()
	replace := false
	runner, err := interp.New(
		interp.StdIO(stdin, stdout, stderr),
		interp.Env(expand.ListEnviron(os.Environ()...)),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc {
			start := interp.DefaultExecHandler(grace)
			return func(ctx context.Context, args []string) error {
				if replace {
					become(interp.HandlerCtx(ctx), args)
				}
				return start(ctx, args)
			}
		}),
		interp.Params(append(append(c.options, "--"), c.params...)...),
	)
	if err != nil {
		fmt.Fprintf(stderr, "sh: %v\n", err)
		return 2
	}
	if c.script == stdin {
		return stream(ctx, runner, c, stderr)
	}
	script, err := syntax.NewParser().Parse(c.script, c.name)
	if err != nil {
		fmt.Fprintf(stderr, "%v\n", err)
		return 2
	}
	replace = isOneProgram(script)
	return status(runner.Run(ctx, script), stderr)
}

// stream runs a script from standard input. Each statement runs when it was read, since what writes the script may wait
// for its output.
func stream(ctx context.Context, runner *interp.Runner, c *command, stderr io.Writer) int {
	var last error
	for statement, err := range syntax.NewParser().StmtsSeq(c.script) {
		if err != nil {
			fmt.Fprintf(stderr, "%s: %v\n", c.name, err)
			return 2
		}
		if last = runner.Run(ctx, statement); runner.Exited() || ctx.Err() != nil {
			return status(last, stderr)
		}
	}
	// What "trap … EXIT" asked for runs at the end of a file.
	if err := runner.Run(ctx, &syntax.File{Name: c.name}); runner.Exited() {
		last = err
	}
	return status(last, stderr)
}

// isOneProgram reports whether a script does nothing but start one program. The shell then becomes that program, which
// so gets the signals itself.
func isOneProgram(script *syntax.File) bool {
	if len(script.Stmts) != 1 {
		return false
	}
	s := script.Stmts[0]
	if _, ok := s.Cmd.(*syntax.CallExpr); !ok || s.Negated || s.Background || s.Coprocess || len(s.Redirs) > 0 {
		return false
	}
	one := true
	syntax.Walk(s, func(n syntax.Node) bool {
		switch n.(type) {
		case *syntax.CmdSubst, *syntax.ProcSubst:
			one = false // these start other programs first
		}
		return one
	})
	return one
}

// become replaces this process by a program. It returns only if that fails; then the program is started as usual, with
// the messages of that.
func become(hc interp.HandlerContext, args []string) {
	path, err := interp.LookPathDir(hc.Dir, hc.Env, args[0])
	if err != nil || os.Chdir(hc.Dir) != nil {
		return
	}
	var env []string
	for name, v := range hc.Env.Each {
		if v.Exported && v.Kind == expand.String {
			env = append(env, name+"="+v.Str)
		}
	}
	// What was to be done after a signal is the program's affair, whatever this process was told to do.
	signal.Reset()
	_ = syscall.Exec(path, args, env) // if it returns, it failed
}

// status returns the exit status of the last command.
func status(err error, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	if s, ok := errors.AsType[interp.ExitStatus](err); ok {
		return int(s)
	}
	fmt.Fprintf(stderr, "sh: %v\n", err)
	return 1
}
