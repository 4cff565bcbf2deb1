// Package testproc starts programs that end with the test process.
package testproc

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// starter runs functions on one thread, which lives as long as this process.
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// Start starts a program that gets SIGTERM when this process ends, however it ends: a test that takes too long panics
// and runs no clean-up. The kernel sends the signal when the thread that started the program ends, so one thread starts
// them all.
func Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	started := make(chan error)
	starter() <- func() { started <- cmd.Start() }
	return <-started
}
