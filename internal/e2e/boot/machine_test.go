//go:build boot

package boot

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ostree-ext/ostree-ext-go/internal/testproc"
)

// How long things may take. The processor is emulated, and shared with other tests.
const (
	bootLimit    = 8 * time.Minute
	commandLimit = 8 * time.Minute
)

// disk is the file with the filesystem that machines boot from.
type disk string

// entry is an entry of the boot menu.
type entry struct {
	// Version orders the menu: the highest is the default.
	Version int
	// Options are the arguments of the kernel. Linux and Initrd are paths on the boot filesystem.
	Options, Linux, Initrd string
	// from is where the entry was read.
	from disk
}

// menu reads the boot menu of a machine that is off, the default first.
func (d disk) menu(t *testing.T) []entry {
	t.Helper()
	from := d.replayed(t)
	var all []entry
	// The lines are /INODE/MODE/USER/GROUP/NAME/SIZE/.
	list := from.debugfs(t, "ls -p /boot/loader/entries/")
	for line := range strings.Lines(list) {
		if fields := strings.Split(line, "/"); len(fields) > 5 && strings.HasSuffix(fields[5], ".conf") {
			e := parseEntry(t, from.debugfs(t, "cat /boot/loader/entries/"+fields[5]))
			e.from = from
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b entry) int { return b.Version - a.Version })
	if len(all) == 0 {
		t.Fatalf("the boot menu is empty:\n%s", list)
	}
	return all
}

func parseEntry(t *testing.T, text string) (e entry) {
	t.Helper()
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "version":
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			e.Version = n
		case "options":
			e.Options = value
		case "linux":
			e.Linux = value
		case "initrd":
			e.Initrd = value
		}
	}
	if e.Options == "" || e.Linux == "" || e.Initrd == "" {
		t.Fatalf("an entry without options, linux or initrd:\n%s", text)
	}
	return e
}

// replayed returns the disk, or a copy after the replay of the journal if the power failed. The system itself replays
// the journal when it mounts the disk.
func (d disk) replayed(t *testing.T) disk {
	t.Helper()
	if !strings.Contains(must(t, "dumpe2fs", "-h", string(d)), "needs_recovery") {
		return d
	}
	t.Logf("without the journal: %s", sh(t, `debugfs -R "ls -p /boot/loader/entries/" "$1" 2>&1`, string(d)))
	replica := string(d) + "-replayed"
	must(t, "cp", "--sparse=always", string(d), replica)
	sh(t, `e2fsck -p "$1" || [ $? -eq 1 ]`, replica) // 1 is that something was to do
	return disk(replica)
}

// debugfs runs a command of debugfs, which only reads.
func (d disk) debugfs(t *testing.T, command string) string {
	t.Helper()
	return must(t, "debugfs", "-R", command, string(d))
}

// machine is a running machine.
type machine struct {
	cmd     *exec.Cmd
	ended   chan struct{}
	agent   net.Conn
	answers *bufio.Reader
	console string // file with what was printed on the console
}

// boot boots an entry of the menu and waits until the system has started.
func (d disk) boot(t *testing.T, e entry) *machine {
	t.Helper()
	// The path of a socket must be short.
	dir, err := os.MkdirTemp("", "boot")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	kernel, initrd := filepath.Join(dir, "vmlinuz"), filepath.Join(dir, "initramfs")
	e.from.debugfs(t, "dump "+path.Join("/boot", e.Linux)+" "+kernel)
	e.from.debugfs(t, "dump "+path.Join("/boot", e.Initrd)+" "+initrd)

	socket := filepath.Join(dir, "agent")
	m := &machine{ended: make(chan struct{}), console: filepath.Join(dir, "console")}
	m.cmd = exec.Command("qemu-system-x86_64", "-accel", "tcg", "-machine", "pc,usb=off,hpet=off",
		"-cpu", "qemu64,-svm", "-m", "1024", "-smp", "2", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", kernel, "-initrd", initrd, "-append", e.Options,
		"-drive", "if=virtio,format=raw,cache=unsafe,file="+string(d),
		"-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci",
		"-serial", "file:"+m.console,
		"-chardev", "socket,id=agent,server=on,wait=off,path="+socket, "-serial", "chardev:agent")
	m.cmd.Stderr = os.Stderr
	began := time.Now()
	if err := testproc.Start(m.cmd); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = m.cmd.Wait()
		close(m.ended)
	}()
	t.Cleanup(m.powerOff)
	eventually(t, "the start of QEMU", time.Minute, func() bool {
		m.agent, err = net.Dial("unix", socket)
		return err == nil || m.hasEnded()
	})
	if m.hasEnded() {
		t.Fatal("QEMU ended")
	}
	m.answers = bufio.NewReader(m.agent)
	if line := m.answer(t, bootLimit); line != "ready" {
		t.Fatalf("the system printed %q", line)
	}
	t.Logf("booted in %.0f s", time.Since(began).Seconds())
	return m
}

func (m *machine) hasEnded() bool {
	select {
	case <-m.ended:
		return true
	default:
		return false
	}
}

// answer reads a line from the agent in the system.
func (m *machine) answer(t *testing.T, limit time.Duration) string {
	t.Helper()
	if err := m.agent.SetReadDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	line, err := m.answers.ReadString('\n')
	if err != nil {
		log, _ := os.ReadFile(m.console)
		t.Fatalf("waiting for the system: %v; the console:\n%s", err, log[max(0, len(log)-6000):])
	}
	return strings.TrimSpace(line)
}

// send sends a script to the agent.
func (m *machine) send(t *testing.T, script string) {
	t.Helper()
	if _, err := fmt.Fprintln(m.agent, base64.StdEncoding.EncodeToString([]byte(script))); err != nil {
		t.Fatal(err)
	}
}

// try runs a script in the system and returns its output, trimmed, and its exit code.
func (m *machine) try(t *testing.T, script string) (output string, code int) {
	t.Helper()
	began := time.Now()
	m.send(t, script)
	text, status, ok := strings.Cut(m.answer(t, commandLimit), " ")
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err == nil && ok {
		code, err = strconv.Atoi(status)
	}
	if err != nil || !ok {
		t.Fatalf("the agent answered %q %q: %v", text, status, err)
	}
	if d := time.Since(began); d > 2*time.Second {
		first, _, _ := strings.Cut(script, "\n")
		t.Logf("in the system: %s: %.0f s", first, d.Seconds())
	}
	return strings.TrimSpace(string(decoded)), code
}

// run runs a script in the system, which must succeed.
func (m *machine) run(t *testing.T, script string) string {
	t.Helper()
	output, code := m.try(t, script)
	if code != 0 {
		t.Fatalf("in the system: %s: exit code %d\n%s", script, code, output)
	}
	return output
}

// shutdown shuts the system down as an administrator does, and waits until it is off.
func (m *machine) shutdown(t *testing.T) {
	t.Helper()
	began := time.Now()
	m.send(t, "systemctl reboot") // ends the agent, too, and QEMU instead of starting it again
	select {
	case <-m.ended:
		t.Logf("shut down in %.0f s; since its start, the machine took %.0f s of a processor",
			time.Since(began).Seconds(), (m.cmd.ProcessState.UserTime() + m.cmd.ProcessState.SystemTime()).Seconds())
	case <-time.After(bootLimit):
		log, _ := os.ReadFile(m.console)
		t.Fatalf("the system does not shut down; the console:\n%s", log[max(0, len(log)-6000):])
	}
}

// powerOff is what happens when the power fails.
func (m *machine) powerOff() {
	_ = m.cmd.Process.Signal(syscall.SIGKILL)
	<-m.ended
	if m.agent != nil {
		_ = m.agent.Close()
	}
}
