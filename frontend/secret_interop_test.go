//go:build interop

package frontend_test

import (
	"fmt"
	"os"
	"regexp"
	"testing"
	"time"
)

// Every user of the builder's machine can read command lines.
func TestInterop_TheNameOfTheRegistryIsNotInACommandLine(t *testing.T) {
	d := newDaemon(t, daemonOptions{}) // without a cache, so that all layers are fetched
	built, watched := make(chan struct{}), make(chan []string)
	go func() {
		var seen []string
		for {
			for _, pid := range running(t, "serve\x00") {
				if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && len(line) > 0 {
					seen = append(seen, string(line))
				}
			}
			select {
			case <-built:
				watched <- seen
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	d.build(t, request{file: syntax("prior=none") + "FROM " + env.host + "/debian\n", name: "secret"})
	close(built)
	seen := <-watched
	if len(seen) == 0 {
		t.Fatal("no registry was seen")
	}
	for _, line := range seen {
		if regexp.MustCompile(`[0-9a-f]{16}`).MatchString(line) {
			t.Fatalf("a command line has the name: %q", line)
		}
	}
}
