package imgref

import (
	"errors"
	"fmt"
	"strings"
)

// ErrInvalid is wrapped by errors about text that is not a reference. Their messages are upstream's.
var ErrInvalid = errors.New("invalid image reference")

// parseError is an error with upstream's message, so nothing is added to it.
type parseError string

func (e parseError) Error() string      { return string(e) }
func (parseError) Is(target error) bool { return target == ErrInvalid }

func invalidf(format string, args ...any) error { return parseError(fmt.Sprintf(format, args...)) }

// Transport is a way to store images.
type Transport uint8

// The transports that have a name.
const (
	Registry Transport = iota + 1
	OCIDir
	OCIArchive
	DockerArchive
	ContainersStorage
	Dir
	// DockerDaemon can be parsed, but this program neither reads from it nor writes to it.
	DockerDaemon
)

var transportNames = [...]string{
	Registry: "registry", OCIDir: "oci", OCIArchive: "oci-archive", DockerArchive: "docker-archive",
	ContainersStorage: "containers-storage", Dir: "dir", DockerDaemon: "docker-daemon",
}

// ParseTransport parses the name of a transport: "registry", "docker", "oci". It also accepts the prefixes of
// references, such as "docker://" and "oci:".
func ParseTransport(s string) (Transport, error) {
	name, colon := strings.CutSuffix(s, ":")
	if s == "docker" || s == "docker://" {
		return Registry, nil
	}
	if colon && name == "docker" {
		return 0, invalidf("Missing // in docker:// in %s", s)
	}
	return transportNamed(name)
}

func transportNamed(name string) (Transport, error) {
	for t, n := range transportNames {
		if n != "" && n == name {
			return Transport(t), nil
		}
	}
	return 0, invalidf("Invalid transport: %s", name)
}

// String returns the name of the transport, without a colon.
func (t Transport) String() string {
	if int(t) < len(transportNames) && transportNames[t] != "" {
		return transportNames[t]
	}
	return fmt.Sprintf("transport-%d", uint8(t))
}

// prefix returns what precedes the name in a printed reference.
func (t Transport) prefix() string {
	if t == Registry {
		return "docker://"
	}
	return t.String() + ":"
}

// ImageReference says where an image is. The form of Name depends on the transport: [host/]repository[:tag][@digest]
// in a registry, path[:tag] in an OCI directory or archive (see [ImageReference.PathAndTag]), a path for [Dir]. It is
// not validated, but never empty in a parsed reference.
type ImageReference struct {
	Transport Transport
	Name      string
}

// ParseImageReference parses TRANSPORT:NAME. "registry:" is the same as "docker://".
func ParseImageReference(s string) (ImageReference, error) {
	scheme, name, ok := strings.Cut(s, ":")
	if !ok {
		return ImageReference{}, invalidf("Missing ':' in %s", s)
	}
	ref := ImageReference{Transport: Registry}
	if scheme == "docker" {
		if name, ok = strings.CutPrefix(name, "//"); !ok {
			return ImageReference{}, invalidf("Missing // in docker:// in %s", s)
		}
	} else {
		var err error
		if ref.Transport, err = transportNamed(scheme); err != nil {
			return ImageReference{}, err
		}
	}
	if name == "" {
		return ImageReference{}, invalidf("Invalid empty name in %s", s)
	}
	ref.Name = name
	return ref, nil
}

// String returns the canonical spelling, in which references are compared and stored.
func (r ImageReference) String() string { return r.Transport.prefix() + r.Name }

// PathAndTag splits the name of an image in an OCI directory, an OCI archive or a Docker archive. The tag may contain
// colons; it is empty if there is none.
func (r ImageReference) PathAndTag() (path, tag string) {
	path, tag, _ = strings.Cut(r.Name, ":")
	return path, tag
}
