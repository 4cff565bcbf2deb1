package tarfmt

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
)

func slotOf(fill byte) []byte { return bytes.Repeat([]byte{fill}, 100) }

func TestPathsInHeaders(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 98)
	for _, tc := range []struct {
		path string
		kind pathKind
		want string // up to the first NUL
		err  error
	}{
		{"./", namePath, "./", nil},
		{".", namePath, ".", nil},
		{"./usr/bin", namePath, "usr/bin", nil},
		{"usr/bin/", namePath, "usr/bin/", nil},
		{"usr//bin/./x", namePath, "usr/bin/x", nil},
		{"./" + long, namePath, long, nil},
		{"a/./" + long[:97], namePath, "a/" + long[:97], nil},
		{"/usr", namePath, "", errPathAbsolute},
		{"usr/../bin", namePath, "usr", errPathParent},
		{"usr/..", truncatedPath, "usr/..", nil},
		{"usr/../bin", truncatedPath, "usr", errPathParent},
		{"", namePath, "", errPathEmpty},
		{"a\x00b", namePath, "", errPathNUL},
		{"aa/" + long, namePath, "aa/", errPathTooLong},
		{"/", linkPath, "//", nil},
		{"/usr/bin/", linkPath, "/usr/bin/", nil},
		{"../a/./b", linkPath, "../a/b", nil},
		{".", linkPath, ".", nil},
		{"..", linkPath, "..", nil},
		{"./a", linkPath, "./a", nil},
	} {
		t.Run(fmt.Sprintf("%q", tc.path), func(t *testing.T) {
			t.Parallel()
			slot := slotOf(0)
			if err := putPath(slot, tc.path, tc.kind); err != tc.err {
				t.Errorf("got error %v, want %v", err, tc.err)
			}
			if got := cString(slot); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestPathsLeaveTheRestOfTheFieldAsItWas(t *testing.T) {
	t.Parallel()
	slot := slotOf('x')
	if err := putPath(slot, "usr/bin/bash", namePath); err != nil {
		t.Fatal(err)
	}
	if got, want := string(slot), "usr/bin/bash\x00"+strings.Repeat("x", 87); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNumbersInHeaders(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		v     uint64
		width int
		want  string
	}{
		{0, 8, "0000000\x00"},
		{0o755, 8, "0000755\x00"},
		{2097151, 8, "7777777\x00"},
		{2097152, 8, "\x80\x00\x00\x00\x00\x20\x00\x00"},
		{math.MaxUint32, 8, "\x80\x00\x00\x00\xff\xff\xff\xff"},
		{8589934591, 12, "77777777777\x00"},
		{8589934592, 12, "\x80\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00"},
	} {
		field := make([]byte, tc.width)
		putNumber(field, tc.v)
		if string(field) != tc.want {
			t.Errorf("%d: got %q, want %q", tc.v, field, tc.want)
		}
		if back, err := parseNumber(field); err != nil || back != tc.v {
			t.Errorf("%q: read back %d, %v, want %d", field, back, err, tc.v)
		}
	}
}

func TestNumbersThatAreNone(t *testing.T) {
	t.Parallel()
	for _, field := range []string{"8\x00\x00\x00\x00\x00\x00\x00", "-1\x00\x00\x00\x00\x00\x00",
		"1 2\x00\x00\x00\x00\x00", "\xff\xff\xff\xff\xff\xff\xff\xff", "\xc0\x00\x00\x00\x00\x00\x00\x00",
		"\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00"} {
		if v, err := parseNumber([]byte(field)); err == nil {
			t.Errorf("%q was read as %d", field, v)
		}
	}
}

// If upstream's bytes preserve a target, ours are the same. Other targets are preserved too.
func TestSymlinkTargetsAreCarriedExactly(t *testing.T) {
	t.Parallel()
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, tc := range []struct {
		name   string
		target string
		field  string // up to the first NUL
		record bool
	}{
		{"plain", "usr/bin", "usr/bin", false},
		{"trailing slash", "/usr/bin/", "/usr/bin/", false},
		{"doubled slash is literal upstream", "a//b", "a//b", false},
		{"dot in the middle", "a/./b", "a/./b", false},
		{"trailing dot", "a/.", "a/.", false},
		{"the root", "/", "/", false},
		{"100 bytes", x(100), x(100), false},
		{"100 bytes that would shrink", "a/./" + x(96), "a/./" + x(96), false},
		{"101 bytes, in a record upstream too", x(101), "", true},
		{"long with a part that fits, as upstream leaves it", "../" + x(101), "../", true},
		{"long, shrinking to fit", "a/./" + x(97), "", true},
		{"long with a doubled slash, which upstream refuses", "a//" + x(120), "", true},
		{"not ASCII", "日本語", "日本語", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var b block
			record, err := b.setTarget(tc.target)
			if err != nil {
				t.Fatal(err)
			}
			if got := cString(b.linkname()); got != tc.field || record != tc.record {
				t.Errorf("got field %q and record %v, want %q and %v", got, record, tc.field, tc.record)
			}
		})
	}
	for _, target := range []string{"", "a\x00b", "\xff"} {
		var b block
		if _, err := b.setTarget(target); err == nil {
			t.Errorf("target %q was taken", target)
		}
	}
}

func TestPAXRecordLengths(t *testing.T) {
	t.Parallel()
	for n := range 1200 {
		record := appendPAX(nil, "key", bytes.Repeat([]byte{'\n'}, n))
		key, value, rest, ok := cutPAX(append(record, "trailing"...))
		if !ok || key != "key" || len(value) != n || string(rest) != "trailing" {
			t.Fatalf("a record of %d bytes was read back as %q with %d bytes and %q, %v", n, key, len(value), rest, ok)
		}
	}
}

func TestUpstream_EtcIsMapped(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"usr/etc": "etc", "usr/etc/blah": "etc/blah", "usr/etcetera": "usr/etcetera", "etc": "etc",
		"usr/lib/usr/etc": "usr/lib/usr/etc",
		"usr/bin/blah":    "usr/bin/blah", "usr": "usr", "boot": "boot",
	} {
		if got := mapEtc(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

const (
	shard = "a8"
	stem  = "6d80a3e9ff77c2e3144c787b7769b300f91ffd770221aac27bab854960b964"
)

func TestUpstream_ObjectPaths(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		path string
		kind objectKind
		err  string
	}{
		{shard + "/" + stem + ".commit", kindCommit, ""},
		{"objects/" + shard + "/" + stem + ".file", kindFile, ""},
		{shard + "/" + stem + ".file.xattrs", kindXattrsV0, ""},
		{shard + "//" + stem + ".dirtree/", kindDirTree, ""},
		{"", "", "Invalid checksum parent "},
		{"42", "", "Invalid checksum parent "},
		{"objects/42", "", "Invalid checksum parent objects"},
		{"é/" + stem + ".commit", "", "Invalid checksum parent é"},
		{shard + "/" + stem, "", "Invalid objpath " + shard + "/" + stem},
		{shard + "/.commit", "", "Invalid objpath " + shard + "/.commit"},
		{shard + "/..", "", "Invalid objpath " + shard + "/.."},
		{shard + "/" + stem + "0.commit", "", "Invalid checksum part " + stem + "0"},
		{shard + "/" + strings.ToUpper(stem) + ".commit", "", "Invalid sha256 checksum " + shard + strings.ToUpper(stem)},
	} {
		t.Run(tc.path, func(t *testing.T) {
			t.Parallel()
			c, kind, err := parseObjectPath(tc.path)
			if tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Errorf("got %v, want %s", err, tc.err)
				}
				return
			}
			if err != nil || c.String() != shard+stem || kind != tc.kind {
				t.Errorf("got %s, %q, %v, want %s, %q", c, kind, err, shard+stem, tc.kind)
			}
		})
	}
}

func TestUpstream_XattrLinkTargets(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"../" + shard + "/" + stem + ".file-xattrs",
		objectsPrefix + shard + "/" + stem + ".file-xattrs"} {
		if c, err := parseLinkTarget(target); err != nil || c.String() != shard+stem {
			t.Errorf("%q: got %s, %v", target, c, err)
		}
	}
	for _, target := range []string{stem + ".file-xattrs", shard + "/" + stem[1:] + ".file-xattrs", "", "foo/bar/baz"} {
		if c, err := parseLinkTarget(target); err == nil {
			t.Errorf("%q was read as %s", target, c)
		}
	}
}

func TestWhichPathsBelongToTheRepository(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"sysroot/ostree/repo/objects/aa":     "objects/aa",
		"sysroot//ostree/./repo///objects/a": "objects/a",
		"./sysroot/ostree/repo/objects/aa":   "",
		"/sysroot/ostree/repo/objects/aa":    "",
		"sysroot/ostree/repo":                "",
		"sysroot/ostree/repo/":               "",
		"sysroot/ostree/repository/x":        "",
		"usr/bin/bash":                       "",
	} {
		if got, ok := repoPath(in); got != want && ok || ok != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", in, got, ok, want)
		}
	}
}

func TestXattrCacheIsBounded(t *testing.T) {
	t.Parallel()
	var c xattrCache
	var first [32]byte
	for i := range 200 {
		var sum [32]byte
		sum[0] = byte(i)
		c.add(sum, make([]byte, 1<<20))
		if c.size > maxXattrCache {
			t.Fatalf("after %d bodies the cache has %d bytes, more than %d", i+1, c.size, maxXattrCache)
		}
	}
	if _, err := c.get(first); err == nil {
		t.Error("the first body is still there")
	}
	if len(c.bodies) != c.recent.Len() {
		t.Errorf("%d bodies are listed, %d are held", c.recent.Len(), len(c.bodies))
	}
}

func TestChecksumsOfHeaders(t *testing.T) {
	t.Parallel()
	var b block
	for i := range b {
		b[i] = 0xff
	}
	if got, want := b.sum(), uint32(504*0xff+8*' '); got != want {
		t.Errorf("got %d, want %d", got, want)
	}
	b = newHeader(typeRegular, attributes{mode: 0o644}, 1)
	want := uint32(8 * ' ')
	for _, c := range b {
		want += uint32(c)
	}
	if got := b.sum(); got != want {
		t.Errorf("got %d, want %d", got, want)
	}
}
