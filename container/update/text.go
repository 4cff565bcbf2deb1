package update

import (
	"fmt"
	"io"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/report"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// WriteText writes the difference for people.
func (d *Difference) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "from: %s\nto:   %s\n", &d.From, &d.To)
	for _, s := range d.To.Signatures {
		fmt.Fprintf(&b, "      signed by %s\n", printable.Line(s.String()))
	}
	switch {
	case !d.Changed:
		b.WriteString("the images are the same\n")
	case d.Packages != nil:
		d.writeKernel(&b)
		d.writePackages(&b)
	default:
		d.writeKernel(&b)
		d.writeComponents(&b)
	}
	writeAccounts(&b, "users", d.Users)
	writeAccounts(&b, "groups", d.Groups)
	fmt.Fprintf(&b, "to fetch: %s in %d of %s; in both images: %s in %d\n", sizes.Format(d.Fetch.Bytes),
		d.Fetch.Layers, sizes.Count(d.To.Layers, "layer"), sizes.Format(d.Shared.Bytes), d.Shared.Layers)
	if d.Store != nil && d.Fetch.Layers > 0 {
		fmt.Fprintf(&b, "to store: at most %s of files\n", sizes.Format(*d.Store))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// String describes the image on one line.
func (s *Side) String() string {
	text := s.Image
	if s.Version != "" {
		text += ", version " + s.Version
	}
	return printable.Line(text + ", " + s.Digest.String())
}

func (d *Difference) writeKernel(b *strings.Builder) {
	if d.From.Kernel != d.To.Kernel && d.From.Kernel != "" && d.To.Kernel != "" {
		fmt.Fprintf(b, "kernel: %s → %s\n", printable.Line(d.From.Kernel), printable.Line(d.To.Kernel))
	}
}

func (d *Difference) writePackages(b *strings.Builder) {
	p, known := d.Packages, ""
	if d.To.Packages == Annotations {
		known = " (as the layers' annotations name them; most versions are not known)"
	}
	fmt.Fprintf(b, "packages%s: %d changed, %d added, %d removed\n", known, len(p.Changed), len(p.Added), len(p.Removed))
	for _, c := range p.Changed {
		fmt.Fprintf(b, "  %-8s %s %s → %s\n", report.Changed, nameOf(c.System, c.Name), c.From, c.To)
	}
	for _, list := range []struct {
		change   string
		packages []Package
	}{{report.Added, p.Added}, {report.Removed, p.Removed}} {
		for _, c := range list.packages {
			line := fmt.Sprintf("  %-8s %s %s", list.change, nameOf(c.System, c.Name), c.Version)
			fmt.Fprintln(b, strings.TrimRight(line, " "))
		}
	}
}

func nameOf(system, name string) string {
	if system == "" {
		return name
	}
	return system + "/" + name
}

func (d *Difference) writeComponents(b *strings.Builder) {
	which := "both images"
	switch {
	case d.From.Packages != "":
		which = "the new image"
	case d.To.Packages != "":
		which = "the old image"
	}
	fmt.Fprintf(b, "the packages of %s are not known\n", which)
	if len(d.Components) > 0 {
		b.WriteString("components:\n")
	}
	for _, c := range d.Components {
		fmt.Fprintf(b, "  %-8s %s (%s)\n", c.Change, printable.Line(c.ID), sizes.Format(int64(min(c.Bytes, 1<<62))))
	}
}

// writeAccounts lists users or groups.
func writeAccounts(b *strings.Builder, what string, list []Account) {
	for i, a := range list {
		separator := ", "
		if i == 0 {
			separator = what + " added: "
		}
		fmt.Fprintf(b, "%s%s (%d)", separator, a.Name, a.ID)
	}
	if len(list) > 0 {
		b.WriteByte('\n')
	}
}
