package sysroot

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
)

func FuzzEntry(f *testing.F) {
	f.Add("title Example\nversion 2\noptions quiet ostree=/ostree/boot.0/os/"+strings.Repeat("0", 64)+"/0\n", "10")
	f.Add("version\t1\nlinux /ostree/x/vmlinuz\ninitrd /a\ninitrd /b\n", "09")
	f.Fuzz(func(t *testing.T, text, version string) {
		e := parseEntry([]byte(text))
		for _, key := range []string{"linux", "initrd"} {
			name, err := e.bootFile(key)
			if err == nil && name != "" && !strings.HasPrefix(filepath.Join("/boot", name)+"/", "/boot/") {
				t.Errorf("%s: %q leads out of /boot", key, name)
			}
		}
		if link, ok := e.bootLink(); ok {
			if m := bootLinkPattern.FindStringSubmatch(link); m != nil && checkName(m[2]) == nil &&
				filepath.Clean(link) != link {
				t.Errorf("the link %q is taken", link)
			}
		}
		own := e.keys["version"]
		if got, back := compareVersions(own, version), compareVersions(version, own); got != -back {
			t.Errorf("%q and %q: got %d and %d", own, version, got, back)
		}
	})
}

func FuzzStaged(f *testing.F) {
	target, err := gvariant.New("a{sv}", gvariant.Dict{
		{Key: "name", Value: gvariant.String(strings.Repeat("0", 64) + ".0")},
		{Key: "osname", Value: gvariant.String("default")},
		{Key: "bootcsum", Value: gvariant.String(strings.Repeat("1", 64))},
	}.Encode())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(gvariant.Dict{
		{Key: "target", Value: target}, {Key: "kargs", Value: gvariant.Strings([]string{"quiet"})},
		{Key: "locked", Value: gvariant.Bool(true)},
	}.Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if d, _, err := parseStaged(data); err == nil && d != nil && checkName(d.Stateroot) != nil {
			t.Errorf("the stateroot %q is taken", d.Stateroot)
		}
	})
}
