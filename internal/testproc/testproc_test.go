package testproc

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

func TestAProgramEndsWithWhatStartedIt(t *testing.T) {
	if os.Getenv("TESTPROC_START") != "" {
		cmd := exec.Command("sleep", "1000")
		if err := Start(cmd); err != nil {
			t.Fatal(err)
		}
		fmt.Println("started", cmd.Process.Pid)
		panic("as a test does that takes too long")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "TESTPROC_START=1")
	out, err := cmd.Output()
	var pid int
	if _, scan := fmt.Sscanf(string(out), "started %d", &pid); err == nil || scan != nil {
		t.Fatalf("%v, %v: %s", err, scan, out)
	}
	for deadline := time.Now().Add(time.Minute); !ended(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("the program runs on")
		}
	}
}

// ended reports whether a process has ended, possibly as a zombie.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	var id int
	var name, state string
	if err == nil {
		_, err = fmt.Sscan(string(stat), &id, &name, &state)
	}
	return err != nil || state == "Z"
}

func TestAProgramRunsOnAfterTheGoroutineThatStartedIt(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sleep", "1000")
	started := make(chan error)
	go func() { started <- Start(cmd) }()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if ended(cmd.Process.Pid) {
		t.Error("the program ended")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
}
