package source

import (
	"errors"
	"net"
	"syscall"
)

// brokenConnection reports whether a connection was refused, reset or timed out. It returns false if the host does not
// exist.
func brokenConnection(err error) bool {
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EPIPE) {
		return true
	}
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}
