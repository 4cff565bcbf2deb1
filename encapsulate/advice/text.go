package advice

import (
	"fmt"
	"io"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// WriteText writes the report for people: what each kind of files costs, and what ends it. With all it also lists the
// files.
func (r *Report) WriteText(w io.Writer, all bool) error {
	if err := r.writeTotal(w); err != nil {
		return err
	}
	for _, a := range r.Advice {
		often := "whenever their layer changes"
		if a.EachUpdate {
			often = "in each update"
		}
		fmt.Fprintf(w, "\n%s: %s, %s\n", a.Name, a.size(), often)
		fmt.Fprintf(w, "  %s\n", a.Summary)
		if _, err := fmt.Fprintf(w, "  to end it: %s\n", a.End); err != nil {
			return err
		}
		if !all {
			continue
		}
		for _, f := range a.Files {
			why := ""
			if f.Why != "" {
				why = ": " + f.Why
			}
			size := sizes.Format(int64(f.Bytes))
			if _, err := fmt.Fprintf(w, "  %12s  %s\n", size, printable.Line(f.Path+why)); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeTotal writes the first line.
func (r *Report) writeTotal(w io.Writer) error {
	var text string
	switch compared := len(r.Inputs) == 2; {
	case len(r.Advice) == 0 && compared:
		text = "nothing differs"
	case len(r.Advice) == 0:
		text = "nothing makes updates larger than they need be"
	case compared:
		text = "what differs between the builds: " + total(r.Bytes, r.Download)
	case r.Bytes == 0:
		text = "each update has only what it needs"
	default:
		text = "each update downloads more than it needs: " + total(r.Bytes, r.Download)
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

// total says how many bytes something has, and how many when it is compressed.
func total(bytes, download uint64) string {
	s := sizes.Format(int64(bytes))
	if download > 0 {
		return s + ", about " + sizes.Format(int64(download)) + " compressed"
	}
	return s + " before compression"
}

// size says how many files there are, and how large they are.
func (a *Advice) size() string {
	what := "file"
	if a.Name == rulePrior {
		what = "layer"
	}
	return total(a.Bytes, a.Download) + " in " + sizes.Count(len(a.Files), what)
}

// Lines returns what is said about a report at the end of a build: one line with the bytes and what they are, and one
// with what ends the largest part and how to see the rest. image is the argument of advise. Kinds with less than a
// thousandth of the bytes are not named. There are no lines if updates have only what they need.
func (r *Report) Lines(image string) []string {
	var parts []string
	for _, a := range r.Advice {
		if a.EachUpdate {
			size, all := a.Bytes, r.Bytes
			if r.Download > 0 {
				size, all = a.Download, r.Download
			}
			if size >= all/1000 {
				parts = append(parts, a.Name+" "+sizes.Format(int64(size)))
			}
		}
	}
	if len(parts) == 0 {
		return nil
	}
	more := sizes.Format(int64(r.Bytes)) + " (before compression)"
	if r.Download > 0 {
		more = "about " + sizes.Format(int64(r.Download)) + " (compressed)"
	}
	return []string{
		"advice: each update downloads " + more + " more than it needs: " + strings.Join(parts, ", "),
		"advice: to end " + r.Advice[0].Name + ": " + r.Advice[0].End + " (all: ostree-ext advise " + image + ")",
	}
}
