package dpkg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
)

// paragraphs calls f with the known fields of each paragraph of a file. It skips continuation lines. A paragraph that
// is not valid, or for which f returns an error that wraps [pkgdb.ErrBroken], is a fault and is left out. If whole is
// set, the package manager wrote the file, and a truncated last paragraph is a fault.
func (r *reader) paragraphs(ctx context.Context, name string, whole bool, f func(map[string]string) error) error {
	p := &paragraph{fields: map[string]string{}}
	end := func() error {
		defer func() { *p = paragraph{fields: p.fields} }()
		defer clear(p.fields)
		if p.start == 0 {
			return nil
		}
		err := p.err
		if err == nil {
			err = f(p.fields)
		}
		if errors.Is(err, pkgdb.ErrBroken) {
			r.Fault(fmt.Errorf("%s:%d: %w", name, max(p.start, p.line), err))
			return nil
		}
		return err
	}
	cut, err := r.Lines(ctx, name, func(n int, line []byte) error {
		if len(bytes.TrimSpace(line)) == 0 {
			return end()
		}
		p.add(n, line)
		return nil
	})
	if err != nil {
		return err
	}
	if p.start > 0 && whole {
		switch {
		case cut:
			p.broken(p.last, "the file is truncated within this line")
		case p.fields["Version"] == "":
			p.broken(p.last, "the file is truncated within a paragraph")
		}
	}
	return end()
}

// paragraph is the state of reading a paragraph of a control file.
type paragraph struct {
	fields      map[string]string
	start, last int // the first and the last line; 0 before the first
	line        int // the line of err
	err         error
}

// broken marks the paragraph as broken. The first error is kept.
func (p *paragraph) broken(line int, format string, args ...any) {
	if p.err == nil {
		p.line, p.err = line, pkgdb.Broken(format, args...)
	}
}

// add takes a line.
func (p *paragraph) add(n int, line []byte) {
	if p.last = n; p.start == 0 {
		p.start = n
	}
	if bytes.IndexByte(line, 0) >= 0 {
		p.broken(n, "the line %s has a zero byte", pkgdb.Quote(line))
		return
	}
	if line[0] == ' ' || line[0] == '\t' {
		return
	}
	key, value, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		p.broken(n, "the line %s has no colon", pkgdb.Quote(line))
		return
	}
	switch key := string(key); key {
	case "Package", "Status", "Version", "Architecture", "Source", "Installed-Time", "OE":
		if _, twice := p.fields[key]; twice {
			p.broken(n, "the paragraph has a second field %s", key)
		}
		p.fields[key] = strings.TrimSpace(string(value))
	}
}
