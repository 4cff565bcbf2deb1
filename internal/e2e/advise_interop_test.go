//go:build interop

package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// advised is what advise says about a tree.
type advised struct {
	Bytes, Download uint64
	Advice          []struct {
		Name            string
		EachUpdate      bool `json:"each_update"`
		Bytes, Download uint64
		Files           []struct{ Path, Why string }
	}
}

func advise(t *testing.T, args ...string) (r advised) {
	t.Helper()
	if err := json.Unmarshal([]byte(must(t, program, append([]string{"advise", "--json"}, args...)...)), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// of returns the bytes and the compressed bytes of some advice together.
func (r *advised) of(names ...string) (bytes, download uint64) {
	for _, a := range r.Advice {
		for _, name := range names {
			if a.Name == name {
				bytes, download = bytes+a.Bytes, download+a.Download
			}
		}
	}
	return bytes, download
}

// updateOf builds two images of a tree, the second one after change, and returns what a host downloads.
func updateOf(t *testing.T, root, change string) uint64 {
	t.Helper()
	layout := "oci:" + filepath.Join(t.TempDir(), "layout")
	must(t, program, "container", "build", "-q", "--rootfs="+root, layout+":1")
	sh(t, change, root)
	must(t, program, "container", "build", "-q", "--rootfs="+root, "--prior="+layout+":1", layout+":2")
	var d struct{ Download uint64 }
	out := must(t, program, "chunks", "diff", "--json", layout+":1", layout+":2")
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatal(err)
	}
	return d.Download
}

// debianWithApt returns a Debian root filesystem without kernel, in which apt has left its lists and caches.
func debianWithApt(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root := dir + "/root"
	writeFile(t, dir+"/sources", strings.Join(bookworm(t).All(), "\n")+"\n")
	// The machine's own settings and what it runs after apt have no effect.
	writeFile(t, dir+"/config", `Dir::Etc { main "/dev/null"; parts "/dev/null"; sourceparts "/dev/null"; sourcelist "`+
		dir+`/sources"; }
		Dir::State "`+root+`/var/lib/apt"; Dir::State::status "`+root+`/var/lib/dpkg/status";
		Dir::Cache "`+root+`/var/cache/apt"; APT::Sandbox::User "root"; APT::Keep-Downloaded-Packages "true";
		Acquire::Languages "none";
	`)
	sh(t, `mkdir "$2" && tar -C "$1" --exclude=./boot --exclude=./usr/lib/modules -c . | tar -C "$2" -x
		cd "$2" && mv usr/etc etc && rm -f var/log/*.log && mkdir -p var/cache/apt/archives/partial
		export APT_CONFIG="$3"
		apt-get -q update && apt-get -q install -y --download-only --reinstall apt cpio dpkg systemd`,
		debianRoot(t), root, dir+"/config")
	return root
}

// TestInterop_AdviceIsWhatAnUpdateOfDebianHasTooMuch updates the lists and caches of apt, and compares what that costs
// a host with the advice. When apt has cleaned up, both are gone. Then it looks into initial RAM disks.
func TestInterop_AdviceIsWhatAnUpdateOfDebianHasTooMuch(t *testing.T) {
	root := debianWithApt(t)
	before := advise(t, root)
	caches, estimate := before.of("apt-lists", "apt-cache")
	onDisk := strings.Fields(sh(t, `find "$1"/var/lib/apt/lists "$1"/var/cache/apt -type f -printf '%s\n' |
		awk '{n += $1} END {printf "%d\n", n}'`, root))
	if len(onDisk) != 1 || onDisk[0] != decimal(caches) || caches < 20<<20 {
		t.Errorf("advice of %d bytes, and apt has %s", caches, onDisk)
	}
	// An update of the archive changes the lists, and apt makes its indexes anew.
	const change = `cd "$1" && for f in var/lib/apt/lists/*_Packages; do [ ! -f $f ] || sed -i '1i # updated' $f; done
		for f in var/cache/apt/*.bin; do [ ! -f $f ] || printf updated >>$f; done
		for f in var/cache/apt/archives/*.deb; do [ ! -f $f ] || printf updated >>$f; done
		echo "# updated" >>var/lib/dpkg/available`
	dirty := updateOf(t, root, change)

	sh(t, `cd "$1" && chroot . apt-get clean && rm -rf var/lib/apt/lists/* var/cache/apt/*.bin`, root)
	after := advise(t, root)
	if n, _ := after.of("apt-lists", "apt-cache"); n != 0 {
		t.Errorf("%d bytes of advice after apt-get clean: %+v", n, after.Advice)
	}
	if gone := before.Bytes - after.Bytes; gone != caches {
		t.Errorf("%d bytes of advice are gone, and apt had %d", gone, caches)
	}
	clean := updateOf(t, root, change)
	saved := dirty - clean
	t.Logf("an update has %d bytes, and %d without the caches; advice says %d of %d", dirty, clean, estimate, dirty)
	if saved < estimate*2/3 || saved > estimate*3/2 {
		t.Errorf("an update downloads %d bytes, and %d when apt has cleaned up: %d less, and the advice is %d", dirty, clean,
			saved, estimate)
	}
	if clean > 5<<20 {
		t.Errorf("%d bytes are left", clean)
	}
	checkInitramfs(t, root)
}

func decimal(n uint64) string {
	data, _ := json.Marshal(n) // it cannot fail
	return string(data)
}

// checkInitramfs judges the initial RAM disk of a Debian, and two that cpio of another Debian makes: one as a build
// does that obeys SOURCE_DATE_EPOCH, and one with the times of a build.
func checkInitramfs(t *testing.T, cpio string) {
	t.Helper()
	tree := t.TempDir()
	sh(t, `mkdir "$2"/boot && cp "$1"/boot/initrd.img-* "$2"/boot/initrd.img-1`, debianRoot(t), tree)
	r := advise(t, tree)
	if len(r.Advice) != 1 || r.Advice[0].Name != "initramfs" ||
		!strings.Contains(r.Advice[0].Files[0].Why, "inode numbers") {
		t.Errorf("that of Debian: %+v", r.Advice)
	}
	const script = `rm -rf "$1"/tmp/work && mkdir -p "$1"/tmp/work/etc "$1"/tmp/work/bin && cd "$1"/tmp/work &&
		echo x >bin/sh && echo y >etc/fstab && find . -exec touch -d @1700000000 {} + && $3 &&
		chroot "$1" sh -c "cd /tmp/work && find . -print0 | LC_ALL=C sort -z |
			cpio --quiet --null --create --format=newc --reproducible | gzip -n" >"$2"/boot/initrd.img-1`
	sh(t, script, cpio, tree, "true")
	if r := advise(t, tree); len(r.Advice) != 0 {
		t.Errorf("a reproducible one: %+v", r.Advice)
	}
	sh(t, script, cpio, tree, "touch -d @1700000009 bin")
	if r := advise(t, tree); len(r.Advice) != 1 ||
		!strings.Contains(r.Advice[0].Files[0].Why, "directories have 2 times") {
		t.Errorf("one with times: %+v", r.Advice)
	}
}
