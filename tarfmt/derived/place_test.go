package derived

import "testing"

func TestUpstream_PathsOfALayerArePlacedWhereOstreeWantsThem(t *testing.T) {
	factory := Root{FactoryVar: true}
	for _, c := range []struct {
		root Root
		path string
		to   string
		keep bool
	}{
		{Root{}, "/", "/", true},
		{Root{}, "/usr/bin/blah", "/usr/bin/blah", true},
		{Root{}, "/etc", "/usr/etc", true},
		{Root{}, "/etc/systemd/system/foo.service", "/usr/etc/systemd/system/foo.service", true},
		{Root{}, "/etcc/foo", "etcc", false},
		{Root{}, "/var/lib/blah", "/var/lib/blah", true},
		{factory, "/var/lib/blah", "/usr/share/factory/var/lib/blah", true},
		{factory, "/var", "/usr/share/factory/var", true},
		{Root{}, "/dev", "/dev", true},
		{Root{}, "/proc", "/proc", true},
		{Root{}, "/run/foo/bar", "foo", false},
		{Root{Other: true}, "/run/blah", "blah", false},
		{Root{Other: true}, "/dev/somedev", "somedev", false},
		{Root{}, "/boot", "boot", false},
		{Root{}, "/opt/puppet/blah", "opt", false},
		{Root{Other: true}, "/boot", "/boot", true},
		{Root{Other: true}, "/opt/puppet/blah", "/opt/puppet/blah", true},
		{Root{Other: true}, "/sysroot/x", "/sysroot/x", true},
		{Root{Other: true}, "/sysroot/ostree/repo", "sysroot", false},
		{Root{Other: true}, "/sysroot/ostree/repo/objects/ab", "sysroot", false},
		{Root{Other: true}, "/sysroot/ostree/repository", "/sysroot/ostree/repository", true},
	} {
		if to, keep := c.root.place(c.path); to != c.to || keep != c.keep {
			t.Errorf("%+v: %s is placed at %q, %v, want %q, %v", c.root, c.path, to, keep, c.to, c.keep)
		}
	}
}
