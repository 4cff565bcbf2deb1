package chunking_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/chunking/component"
)

func TestPackagesAreCanonicalInTheLabel(t *testing.T) {
	t.Parallel()
	list := []component.Installed{
		{System: "rpm", Name: "kernel", Arch: "x86_64", Version: "6.2-1"},
		{System: "rpm", Name: "kernel", Arch: "x86_64", Version: "6.1-1"},
		{System: "deb", Name: "libc6", Arch: "i386", Version: "2.36-9"},
		{System: "deb", Name: "libc6", Arch: "amd64", Version: "2.36-9"},
		{System: "deb", Name: "Hello", Arch: "amd64", Version: "1:2.10-3"},
		{System: "deb", Name: "hello", Arch: "amd64", Version: ""},
		{System: "apk", Name: "evil", Version: "1\x1b[2J\xff"},
	}
	const want = `{"apk":{"evil":"1\\x1b[2J\\xff"},` +
		`"deb":{"Hello":"1:2.10-3","hello":"","libc6.amd64":"2.36-9","libc6.i386":"2.36-9"},` +
		`"rpm":{"kernel":"6.1-1 6.2-1"}}`
	p := chunking.NewPackages(list)
	label, err := p.Encode()
	if err != nil || label != want {
		t.Errorf("the label is\n%s, %v, want\n%s", label, err, want)
	}
	again, err := chunking.ParsePackages(label)
	if diff := cmp.Diff(p, again); diff != "" || err != nil {
		t.Errorf("read back (-want +got), %v:\n%s", err, diff)
	}
}

func TestTooManyPackagesGetNoLabel(t *testing.T) {
	t.Parallel()
	var list []component.Installed
	for i := range 10_000 {
		name := fmt.Sprintf("package-%05d", i)
		list = append(list, component.Installed{System: "deb", Name: name, Version: "1:2.3-4+deb12u5"})
	}
	if _, err := chunking.NewPackages(list).Encode(); !errors.Is(err, chunking.ErrPackagesTooLong) {
		t.Errorf("the error is %v, want ErrPackagesTooLong", err)
	}
	if _, err := chunking.NewPackages(list[:5000]).Encode(); err != nil {
		t.Error(err)
	}
}

func TestHostileLabelsWithPackagesAreBounded(t *testing.T) {
	t.Parallel()
	for name, label := range map[string]string{
		"empty":             "",
		"not an object":     `["deb"]`,
		"not a map":         `{"deb":["hello"]}`,
		"not text":          `{"deb":{"hello":1}}`,
		"no name":           `{"deb":{"":"1"}}`,
		"a control in one":  `{"deb":{"a\n":"1"}}`,
		"a system with one": `{"deb\u001b":{"a":"1"}}`,
		"a long name":       `{"deb":{"` + strings.Repeat("a", 513) + `":"1"}}`,
		"a system twice":    `{"deb":{"a":"1"},"deb":{"a":"2"}}`,
		"a package twice":   `{"deb":{"a":"1","a":"2"}}`,
		"something after":   `{"deb":{"a":"1"}} {}`,
		"more than a label": `{"deb":{"a":"` + strings.Repeat("1", 1<<20) + `"}}`,
	} {
		if p, err := chunking.ParsePackages(label); !errors.Is(err, chunking.ErrPackages) {
			t.Errorf("%s: %v, %v, want ErrPackages", name, p, err)
		}
	}
	p, err := chunking.ParsePackages(`{"deb":{"a":"\u202e` + strings.Repeat("1", 1000) + `"},"rpm":{"R":"1","r":"2"}}`)
	if err != nil {
		t.Fatal(err)
	}
	if v := p["deb"]["a"]; !strings.HasPrefix(v, `\u202e1`) || len(v) > 512 {
		t.Errorf("the packages are %.200q", p)
	}
	if p["rpm"]["R"] != "1" || p["rpm"]["r"] != "2" {
		t.Errorf("names that differ in case: %v", p["rpm"])
	}
}

func FuzzParsePackages(f *testing.F) {
	f.Add(`{"deb":{"hello":"1"},"rpm":{"kernel":"1 2"}}`)
	f.Fuzz(func(t *testing.T, label string) {
		p, err := chunking.ParsePackages(label)
		if err != nil {
			return
		}
		again, err := p.Encode()
		if errors.Is(err, chunking.ErrPackagesTooLong) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if q, err := chunking.ParsePackages(again); err != nil || !cmp.Equal(p, q) {
			t.Errorf("%q is read as %v, and %q as %v, %v", label, p, again, q, err)
		}
	})
}
