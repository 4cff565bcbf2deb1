//go:build boot

package boot

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// host is a machine with the registry that it is updated from.
type host struct {
	system   *system
	registry *blobRegistry
	disk     disk
	// images are the versions 1, 2 and 3, in this order, as far as they are published.
	images []image
}

// TestBoot_AHostIsUpdatedAndRolledBackAndSurvivesAPowerFailure installs a system that the program made, and is its
// administrator: all commands run in the system itself. Each step begins with what the last one left.
func TestBoot_AHostIsUpdatedAndRolledBackAndSurvivesAPowerFailure(t *testing.T) {
	h := &host{registry: newRegistry(t)}
	h.system = newSystem(t, h.registry)
	h.images = append(h.images, h.system.publish(t, "1"))
	h.disk = h.system.install(t)

	var m *machine
	step := func(name string, f func(t *testing.T)) {
		t.Helper()
		if !t.Run(name, f) {
			t.FailNow()
		}
	}
	// A machine runs longer than a step.
	boot := func(e entry) { t.Helper(); m = h.disk.boot(t, e) }

	boot(h.disk.menu(t)[0])
	step("the installed system boots", func(t *testing.T) { h.isInstalled(t, m) })
	step("an update fetches the layers that changed, and is staged", func(t *testing.T) { h.stagesUpdate(t, m) })
	m.shutdown(t)

	menu := h.disk.menu(t)
	if len(menu) != 2 || menu[0].Initrd == menu[1].Initrd || menu[0].Options == menu[1].Options {
		t.Fatalf("the boot menu is %+v, want two entries with kernels of their own", menu)
	}
	boot(menu[0])
	step("the update was finalised at shutdown and is booted", func(t *testing.T) { h.isUpdated(t, m) })
	m.shutdown(t)

	boot(menu[1])
	step("the second entry of the menu is the way back", func(t *testing.T) { h.isRolledBack(t, m) })
	var before traffic
	step("the power fails in the middle of a pull", func(t *testing.T) { before = h.losesPower(t, m) })

	boot(h.disk.menu(t)[0])
	step("the pull goes on where it was", func(t *testing.T) { h.resumes(t, m, before) })
	m.shutdown(t)

	boot(h.disk.menu(t)[0])
	step("the third version is booted", func(t *testing.T) { h.isThird(t, m) })
	m.shutdown(t)
}

// deployCommand is what an administrator types to update the system.
func (h *host) deployCommand() string {
	return "ostree-ext container image deploy --insecure-skip-tls-verification --imgref=" + h.system.reference()
}

// states returns the deployments that the program shows, each as "STATE VERSION".
func (h *host) states(t *testing.T, m *machine) (states []string) {
	t.Helper()
	var status struct {
		Deployments []struct{ State, Version, Image string }
	}
	parse(t, m.run(t, "ostree-ext container image status --json"), &status)
	for _, d := range status.Deployments {
		states = append(states, d.State+" "+d.Version)
		if d.Image != h.system.reference() {
			t.Errorf("version %s is of %s, want %s", d.Version, d.Image, h.system.reference())
		}
	}
	return states
}

// expect compares what the system runs, and what its deployments are.
func (h *host) expect(t *testing.T, m *machine, version string, states ...string) {
	t.Helper()
	if got := m.run(t, "cat /usr/share/boot-test/version"); got != version {
		t.Errorf("version %q runs, want %s", got, version)
	}
	if got := h.states(t, m); !slices.Equal(got, states) {
		t.Errorf("deployments %q, want %q", got, states)
	}
	if got := m.run(t, "systemctl --no-pager --plain --no-legend list-units --state=failed"); got != "" {
		t.Errorf("services failed:\n%s", got)
	}
}

// expectFile compares a file in the system.
func (m *machine) expectFile(t *testing.T, name, want string) {
	t.Helper()
	if got := m.run(t, "cat "+name); got != want {
		t.Errorf("%s has %q, want %q", name, got, want)
	}
}

func (h *host) isInstalled(t *testing.T, m *machine) {
	h.expect(t, m, "1", "booted 1")
	// /usr and the physical root are those of OSTree.
	m.run(t, "test -e /run/ostree-booted && test -L /ostree && ! touch /usr/x && test -d /sysroot/ostree/repo")
	if got := m.run(t, "ostree admin status"); !strings.Contains(got, "* default ") {
		t.Errorf("ostree shows %s", got)
	}
}

func (h *host) stagesUpdate(t *testing.T, m *machine) {
	s := h.system
	s.change(t, "usr/share/boot-test/version", []byte("2\n"))
	s.change(t, "usr/lib/boot-test/second", noise(2, 3<<20))
	s.change(t, "etc/boot-test/theirs", []byte("2\n"))
	s.change(t, "etc/boot-test/mine", []byte("2\n"))
	s.change(t, "etc/boot-test/new", []byte("2\n"))
	s.changeKernel(t)
	h.images = append(h.images, s.publish(t, "2"))
	want, size := h.images[1].added(h.images[0])

	m.run(t, "echo changed >/etc/boot-test/mine")
	h.registry.Forget()
	out := m.run(t, h.deployCommand())
	if !strings.Contains(out, "Staged: "+s.reference()+" => ") {
		t.Errorf("it printed %s", out)
	}
	got := h.registry.Sent()
	checkFetched(t, got, append(want, h.images[1].Config))
	t.Logf("fetched %d of %d layers, %d bytes", len(want), len(h.images[1].Layers), size)
	h.expect(t, m, "1", "staged 2", "booted 1")
	// Until the shutdown nothing in the boot menu changes, and what is changed in /etc is not lost.
	if got := m.run(t, "ls /boot/loader/entries | wc -l"); got != "1" {
		t.Errorf("the boot menu has %s entries", got)
	}
	m.run(t, "echo late >/etc/boot-test/late")
}

func (h *host) isUpdated(t *testing.T, m *machine) {
	h.expect(t, m, "2", "booted 2", "rollback 1")
	m.expectNoise(t, "/usr/lib/boot-test/second", 2, 3<<20)
	m.expectFile(t, "/etc/boot-test/theirs", "2")
	m.expectFile(t, "/etc/boot-test/mine", "changed")
	m.expectFile(t, "/etc/boot-test/new", "2")
	m.expectFile(t, "/etc/boot-test/late", "late")
}

func (h *host) isRolledBack(t *testing.T, m *machine) {
	h.expect(t, m, "1", "pending 2", "booted 1")
	m.expectFile(t, "/etc/boot-test/theirs", "1")
	m.run(t, "ostree admin undeploy 0")
	h.expect(t, m, "1", "booted 1")
}

// traffic is what a pull had done when the power failed.
type traffic struct {
	// imported are the layers that were stored.
	imported []layer
	// begun is the layer that was arriving.
	begun layer
	// sent is what had been sent of each blob.
	sent map[string][]sent
}

func (h *host) losesPower(t *testing.T, m *machine) (lost traffic) {
	const size, quick = 24 << 20, 16 << 20
	s := h.system
	s.change(t, "usr/share/boot-test/version", []byte("3\n"))
	s.change(t, "usr/lib/boot-test/third", noise(3, 5<<20))
	s.change(t, "usr/lib/boot-test/large", noise(4, size))
	h.images = append(h.images, s.publish(t, "3"))
	added, _ := h.images[2].added(h.images[1])
	for _, l := range added {
		switch {
		case l.Size >= size:
			lost.begun = l
		case l != h.images[2].Layers[0]: // it has the commit, which is stored when all its objects are
			lost.imported = append(lost.imported, l)
		}
	}
	if lost.begun.Digest == "" || len(lost.imported) == 0 {
		t.Fatalf("the third version has the new layers %+v", added)
	}
	h.registry.Limit(map[string]limit{lost.begun.hex(): {From: quick, Rate: 16 << 10}})
	h.registry.Forget()

	m.run(t, "systemd-run --quiet --unit=update "+h.deployCommand())
	eventually(t, "the import of the other layers", commandLimit, func() bool {
		time.Sleep(2 * time.Second) // asking takes the machine's time, too
		if state, _ := m.try(t, "systemctl is-active update"); state != "active" {
			log, _ := m.try(t, "journalctl --no-pager -u update")
			t.Fatalf("the update is %s:\n%s", state, log)
		}
		refs := m.run(t, "ostree --repo=/ostree/repo refs --list ostree/container/blob")
		for _, l := range lost.imported {
			if !strings.Contains(refs, l.hex()) {
				return false
			}
		}
		return true
	})
	eventually(t, "the beginning of the large layer", commandLimit, func() bool {
		return bytesOf(h.registry.Sent()[lost.begun.hex()]) >= quick
	})
	// The kernel writes what was fetched to the disk some seconds later.
	time.Sleep(20 * time.Second)
	m.powerOff()
	lost.sent = h.registry.Sent()
	h.registry.Limit(nil)
	return lost
}

// update runs the service with which hosts update themselves, and returns what it printed since the system started.
func (m *machine) update(t *testing.T) string {
	t.Helper()
	m.try(t, "systemctl start ostree-ext-update.service") // if it fails, it has printed why
	return m.run(t, "journalctl --sync && journalctl --no-pager --output=cat --boot --unit=ostree-ext-update.service")
}

func (h *host) resumes(t *testing.T, m *machine, lost traffic) {
	h.expect(t, m, "1", "booted 1")
	h.registry.Forget()
	if out := m.update(t); !strings.Contains(out, "Staged: "+h.system.reference()+" => ") {
		t.Errorf("it printed %s", out)
	}
	all := h.registry.Sent()
	for _, l := range lost.imported {
		if list := all[l.hex()]; len(list) > 0 {
			t.Errorf("layer %s was stored and is fetched again: %+v", l.Digest, list)
		}
	}
	list := all[lost.begun.hex()]
	got := bytesOf(lost.sent[lost.begun.hex()])
	t.Logf("of the layer with %d bytes, %d had been fetched; now %+v", lost.begun.Size, got, list)
	if len(list) != 1 || list[0].From < got/2 || list[0].From+list[0].Bytes != lost.begun.Size {
		t.Errorf("%d of %d bytes of the layer had been fetched, and now %+v", got, lost.begun.Size, list)
	}
	h.expect(t, m, "1", "staged 3", "booted 1")
	m.run(t, "ostree fsck --repo=/ostree/repo")
	if left := m.run(t, "find /ostree/repo/tmp -type f"); left != "" {
		t.Errorf("these files are left:\n%s", left)
	}
}

func (h *host) isThird(t *testing.T, m *machine) {
	h.expect(t, m, "3", "booted 3", "rollback 1")
	m.expectFile(t, "/etc/boot-test/mine", "changed")
	m.expectNoise(t, "/usr/lib/boot-test/large", 4, 24<<20)
}

// expectNoise compares a file in the system with what [noise] returns.
func (m *machine) expectNoise(t *testing.T, name string, seed byte, size int) {
	t.Helper()
	want := fmt.Sprintf("%x  %s", sha256.Sum256(noise(seed, size)), name)
	if got := m.run(t, "sha256sum "+name); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// checkFetched checks that each of some blobs was sent once, and nothing else.
func checkFetched(t *testing.T, all map[string][]sent, want []layer) {
	t.Helper()
	digests := slices.Sorted(maps.Keys(all))
	var size, wantSize int64
	for _, answers := range all {
		size += bytesOf(answers)
	}
	var wantDigests []string
	for _, l := range want {
		wantDigests, wantSize = append(wantDigests, l.hex()), wantSize+l.Size
	}
	slices.Sort(wantDigests)
	if !slices.Equal(digests, wantDigests) || size != wantSize {
		t.Errorf("%d bytes were sent of the blobs %q; want %d bytes of %q", size, digests, wantSize, wantDigests)
	}
}
