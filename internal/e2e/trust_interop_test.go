//go:build interop

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/docblocks"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// TestInterop_TheCommandsOfThePageAboutTrustWork runs the commands of docs/trust.md in their order, exactly as they are
// printed, in a root of their own, which is a copy on write of the machine's.
func TestInterop_TheCommandsOfThePageAboutTrustWork(t *testing.T) {
	blocks, err := docblocks.Read("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var script strings.Builder
	script.WriteString(`
		mkdir -p rootfs/usr/lib/modules/6.1.0 rootfs/usr/etc
		echo kernel >rootfs/usr/lib/modules/6.1.0/vmlinuz
		ostree-ext container build -q --rootfs=rootfs --format=ostree docker://registry.example/os:latest
		ostree-ext container build -q --rootfs=rootfs --format=ostree --label=signed=no docker://registry.example/os:unsigned
		openssl genpkey -algorithm ed25519 -out secret.pem
		der() { openssl pkey -in secret.pem -outform DER "$@" | tail -c 32; }
		{ der; der -pubout; } | base64 -w0 >secret.key
		mkdir -p /etc/ostree && der -pubout | base64 >/etc/ostree/os.ed25519
		ostree-ext repo init --repo=build --mode=archive
		ostree-ext repo commit --repo=build --branch=os rootfs
		ostree-ext container encapsulate -q --repo=build --sign-type=ed25519 --sign-from-file=secret.key os \
			docker://registry.example/os:commit
`)
	ran := 0
	for _, b := range blocks {
		first := b.First()
		runs := strings.HasPrefix(first, "ostree") || strings.HasPrefix(first, "openssl")
		if b.File != "docs/trust.md" || !runs || strings.HasPrefix(first, "ostree-ext container trust update") ||
			strings.HasPrefix(first, "ostree-ext container image deploy") {
			continue
		}
		ran++
		if strings.HasSuffix(first, "os:unsigned") {
			// The page says that it is refused.
			fmt.Fprintf(&script, "status=0\n{ %s } >refused 2>&1 || status=$?\n[ $status -eq 1 ] && grep -q 'there is no "+
				"signature' refused && grep -q 'Verdict: *refused' refused || { cat refused; exit 1; }\n", b.Text)
			continue
		}
		script.WriteString("echo '" + strings.ReplaceAll(b.String(), "'", "") + "' >&2\n" + b.Text)
	}
	if ran < 9 {
		t.Errorf("%d blocks of the page were found", ran)
	}
	// What the commands wrote makes others refuse the same image.
	script.WriteString(`
		! ostree-ext container image pull /ostree/repo ostree-image-signed:docker://registry.example/os:unsigned
		! ostree-ext container image pull /ostree/repo ostree-remote-image:exampleos:docker://registry.example/os:latest
		ostree-ext container image list --repo=/ostree/repo --json | grep -q '"kind": "attachment"'
		ostree-ext container image list --repo=/ostree/repo --json | grep -q '"kind": "ostree-ed25519"'
		! ostree refs --repo=/ostree/repo | grep unsigned
`)
	if err := os.WriteFile(filepath.Join(dir, "page.sh"), []byte(script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "unshare", "--mount", "bash", "-euc", `
		mount -t tmpfs tmpfs /mnt && mkdir /mnt/upper /mnt/work /mnt/root
		mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
		for d in proc sys dev tmp; do mount --rbind "/$d" "/mnt/root/$d"; done
		mkdir -p /mnt/root/ostree
		exec chroot /mnt/root bash -euo pipefail -c \
			'cd "$1"; ostree-ext repo init --repo=/ostree/repo; source ./page.sh' bash "$@"`, "bash", dir)
	c.Env = append(os.Environ(), testreg.Named(t, testreg.New(t), dir, "registry.example")...)
	c.Env = append(c.Env, "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
