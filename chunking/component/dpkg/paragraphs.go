package dpkg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
)

// paragraphs calls f with the fields of each paragraph of a file that count here. Continuation lines are passed over.
// A paragraph that breaks the rules, or for which f gives an error that wraps [pkgdb.ErrBroken], is a fault and left
// out. Where a whole file was written by the package manager, the last paragraph may not be cut.
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
			p.broken(p.last, "it ends within this line: it was cut")
		case p.fields["Version"] == "":
			p.broken(p.last, "it ends within a paragraph: it was cut")
		}
	}
	return end()
}

// paragraph is one of a control file, while it is read.
type paragraph struct {
	fields      map[string]string
	start, last int // lines; 0 if there are none yet
	line        int // of the error
	err         error
}

func (p *paragraph) broken(line int, format string, args ...any) {
	if p.err == nil {
		p.line, p.err = line, pkgdb.Broken(format, args...)
	}
}

func (p *paragraph) add(n int, line []byte) {
	if p.last = n; p.start == 0 {
		p.start = n
	}
	if bytes.IndexByte(line, 0) >= 0 {
		p.broken(n, "the line %s", pkgdb.Quote(line))
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
	case "Package", "Status", "Version", "Architecture", "Source", "Installed-Time":
		if _, twice := p.fields[key]; twice {
			p.broken(n, "a second %s in one paragraph", key)
		}
		p.fields[key] = strings.TrimSpace(string(value))
	}
}
