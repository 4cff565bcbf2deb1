package source

import (
	"errors"
	"net"
	"syscall"
)

// brokenConnection reports whether a connection was reset or timed out, as opposed to a host that does not exist.
func brokenConnection(err error) bool {
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EPIPE) {
		return true
	}
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}
