package setup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"github.com/ostree-ext/ostree-ext-go/internal/output"
)

// ErrChanged is wrapped by the error of [Plan.Write] if somebody else has changed a file since it was planned.
var ErrChanged = errors.New("the file was changed meanwhile: run the command again")

// Write writes all files, each in one step. If one cannot be written, what was written before is taken back, and the
// error names what could not be.
func (p *Plan) Write(ctx context.Context) (err error) {
	l, err := p.host.open()
	if err != nil {
		return err
	}
	defer l.Close()
	w := &writer{layout: l}
	for _, c := range p.changes {
		if err = context.Cause(ctx); err == nil {
			err = w.write(c)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("writing %s: %w", l.show(c.path), err), w.undo())
		}
	}
	return nil
}

// writer writes files, and can take that back.
type writer struct {
	layout *layout
	// done are the files that were written, with the paths that they resolved to.
	done []written
	// dirs are the directories that were made, outer ones first.
	dirs []string
}

type written struct {
	change
	at string
}

func (w *writer) write(c change) error {
	old, exists, err := w.layout.read(c.path)
	if err != nil {
		return err
	}
	if exists != c.exists || !bytes.Equal(old, c.old) {
		return ErrChanged
	}
	at, err := w.layout.resolve(c.path)
	if err != nil {
		return err
	}
	if err := w.makeDirs(path.Dir(at)); err != nil {
		return err
	}
	if err := output.WriteFileIn(w.layout.root, at, c.new); err != nil {
		return err
	}
	w.done = append(w.done, written{c, at})
	return nil
}

// makeDirs makes a directory and those around it.
func (w *writer) makeDirs(dir string) error {
	if _, err := w.layout.root.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := w.makeDirs(path.Dir(dir)); err != nil {
		return err
	}
	if err := w.layout.root.Mkdir(dir, 0o755); err != nil {
		return err
	}
	w.dirs = append(w.dirs, dir)
	return nil
}

// undo restores what was there.
func (w *writer) undo() error {
	var errs []error
	for i := len(w.done) - 1; i >= 0; i-- {
		c := w.done[i]
		var err error
		if c.exists {
			err = output.WriteFileIn(w.layout.root, c.at, c.old)
		} else if err = w.layout.root.Remove(c.at); errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s was written, and could not be taken back: %w", w.layout.show(c.path), err))
		}
	}
	for i := len(w.dirs) - 1; i >= 0; i-- {
		_ = w.layout.root.Remove(w.dirs[i]) // somebody else may have put something there
	}
	return errors.Join(errs...)
}
