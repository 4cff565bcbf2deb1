//go:build boot

package boot

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/aptsources"
)

// system is a root filesystem from which images are made.
type system struct {
	root, dir string
	registry  *blobRegistry
}

// files are those that all versions have, by path.
var files = map[string]string{
	// The initial RAM disk has what starts the root filesystem of the machine, and nothing else.
	"etc/dracut.conf.d/boot-test.conf": `hostonly=no
compress=cat
dracutmodules+=" bash systemd systemd-initrd base fs-lib kernel-modules rootfs-block udev-rules dracut-systemd ostree "
drivers+=" virtio_pci virtio_blk ext4 crc32c_generic crc32c-intel "
`,
	"usr/lib/systemd/system/boot-test.service": `[Service]
ExecStart=/usr/lib/boot-test/agent
`,
	// The agent runs the scripts that the test sends over the second serial line, each as one line in base64, and answers
	// with their output in the same form and their exit code.
	"usr/lib/boot-test/agent": `#!/bin/bash
exec <>/dev/ttyS1 >&0
stty raw -echo
systemctl is-system-running --wait >/dev/null || true # the test asks which services failed
# Without a gateway the machine reaches the host and nothing beyond.
ip address add 10.0.2.15/24 dev eth0
ip link set eth0 up
echo ready
while IFS= read -r line; do
  script=$(base64 -d <<<"$line")
  output=$(bash -euo pipefail -c "$script" </dev/null 2>&1) && code=0 || code=$?
  echo "$(base64 -w0 <<<"$output") $code"
done
`,
	// The registry has no certificate.
	"etc/systemd/system/ostree-ext-update.service.d/insecure.conf": `[Service]
ExecStart=
ExecStart=/usr/bin/ostree-ext container image deploy --update --insecure-skip-tls-verification
`,
	"usr/share/boot-test/version": "1\n",
	"etc/boot-test/theirs":        "1\n",
	"etc/boot-test/mine":          "1\n",
}

// links are the units that all versions start, and those that they do not.
var links = map[string]string{
	"usr/lib/systemd/system/multi-user.target.wants/boot-test.service": "../boot-test.service",
	"etc/systemd/system/apt-daily.timer":                               "/dev/null",
	"etc/systemd/system/apt-daily-upgrade.timer":                       "/dev/null",
	"etc/systemd/system/e2scrub_reap.service":                          "/dev/null",
	"etc/systemd/system/getty.target":                                  "/dev/null",
}

// newSystem makes a Debian with kernel, systemd and ostree-boot, as a user would for an image.
func newSystem(t *testing.T, registry *blobRegistry) *system {
	t.Helper()
	debian, err := aptsources.Find("bookworm")
	if err != nil {
		t.Fatal(err)
	}
	s := &system{dir: t.TempDir(), registry: registry}
	s.root = filepath.Join(s.dir, "root")
	added := filepath.Join(s.dir, "added")
	for name, content := range files {
		write(t, filepath.Join(added, name), []byte(content))
	}
	for name, target := range links {
		name = filepath.Join(added, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	// The units of our packages, which are off.
	for _, unit := range []string{"ostree-ext-update.service", "ostree-ext-update.timer"} {
		data, err := os.ReadFile(filepath.Join("../../release/files", unit))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(added, "usr/lib/systemd/system", unit), data)
	}
	for name, source := range map[string]string{"usr/lib/boot-test/agent": "", "usr/bin/ostree-ext": program} {
		name = filepath.Join(added, name)
		if source != "" {
			must(t, "install", "-D", source, name)
		}
		if err := os.Chmod(name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	must(t, "mmdebstrap", aptsources.Mmdebstrap("bookworm", s.root, debian.All(),
		"--include=systemd,systemd-sysv,udev,linux-image-cloud-amd64,dracut,iproute2,ostree,ostree-boot",
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/locale/*",
		// Before the kernel is installed, which makes the initial RAM disk.
		"--essential-hook=cp -a '"+added+"/.' \"$1\"")...)
	return s
}

// publish makes an image of the system as it is, with our program, and pushes it under the tag latest.
func (s *system) publish(t *testing.T, version string) image {
	t.Helper()
	mapping := filepath.Join(s.dir, "mapping")
	write(t, mapping, []byte(`
- {name: large, paths: ["/usr/lib/boot-test/large"], layer: exclusive}
`))
	must(t, program, "container", "build", "--quiet", "--format=ostree", "--compression-level=1", "--max-layers=32",
		"--mapping="+mapping, "--label=org.opencontainers.image.version="+version, "--insecure-skip-tls-verification",
		"--rootfs="+s.root, "docker://"+s.registry.Host+"/os:latest")
	return s.registry.Image(t)
}

// change writes a file of the system.
func (s *system) change(t *testing.T, name string, content []byte) {
	t.Helper()
	write(t, filepath.Join(s.root, name), content)
}

// changeKernel changes the initial RAM disk, so that the system has another kernel for libostree. Zeros after an
// archive mean nothing to the kernel.
func (s *system) changeKernel(t *testing.T) {
	t.Helper()
	sh(t, `head -c 512 /dev/zero >>"$(echo "$1"/boot/initrd.img-*)"`, s.root)
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// noise returns bytes that cannot be compressed, the same for each seed.
func noise(seed byte, size int) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

// install deploys the image with the tag latest into a new sysroot, and makes the filesystem of a machine from it.
func (s *system) install(t *testing.T) disk {
	t.Helper()
	sysroot, file := filepath.Join(s.dir, "sysroot"), filepath.Join(s.dir, "disk")
	must(t, "mkdir", sysroot)
	must(t, "ostree", "admin", "init-fs", "--modern", sysroot)
	must(t, "ostree", "admin", "os-init", "--sysroot="+sysroot, "default")
	// The machine has another address for the registry.
	must(t, program, "container", "image", "deploy", "--sysroot="+sysroot, "--stateroot=default",
		"--imgref=ostree-unverified-registry:"+s.registry.Host+"/os:latest", "--insecure-skip-tls-verification",
		"--target-imgref="+s.reference(),
		"--karg=root=LABEL=boot-test", "--karg=rw", "--karg=console=ttyS0",
		// An emulated processor needs no protection, which takes time.
		"--karg=net.ifnames=0", "--karg=loglevel=4", "--karg=mitigations=off")
	must(t, "mke2fs", "-q", "-t", "ext4", "-L", "boot-test", "-d", sysroot, file, strconv.Itoa(2<<20)+"k")
	must(t, "rm", "-rf", sysroot)
	return disk(file)
}

// reference is the reference of the image in the machine.
func (s *system) reference() string {
	return "ostree-unverified-registry:10.0.2.2:" + s.registry.Port + "/os:latest"
}
