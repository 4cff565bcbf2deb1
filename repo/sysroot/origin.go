package sysroot

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/ostree-ext/ostree-ext-go/repo/keyfile"
)

// Origin says where a deployment came from and what its next update is. libostree keeps it in a key file beside the
// deployment.
type Origin struct {
	// Image is the container image reference, as it is written there, or empty.
	Image string
	// Refspec is the ref of an ordinary OSTree host, or empty.
	Refspec string
	// OverrideCommit is the commit at which updates are held, or empty.
	OverrideCommit string
	// UnconfiguredState is the message that forbids updates until the host is configured, or empty.
	UnconfiguredState string
	// Pinned is whether the deployment is kept until it is unpinned.
	Pinned bool
	// File is the whole file, with the groups of other programs.
	File *keyfile.File
}

// ParseOrigin parses an origin file. If it is not a key file, the error wraps [keyfile.ErrSyntax].
func ParseOrigin(data []byte) (*Origin, error) {
	f, err := keyfile.Parse(data)
	if err != nil {
		return nil, err
	}
	o := &Origin{File: f}
	o.Image, _ = f.Get("origin", "container-image-reference")
	o.Refspec, _ = f.Get("origin", "refspec")
	o.OverrideCommit, _ = f.Get("origin", "override-commit")
	o.UnconfiguredState, _ = f.Get("origin", "unconfigured-state")
	if o.Pinned, _, err = f.Bool("libostree-transient", "pinned"); err != nil {
		// libostree takes what is not a boolean for false.
		o.Pinned = false
	}
	return o, nil
}

// readOrigin reads the origin of a deployment. It returns nil if there is none.
func (s *Sysroot) readOrigin(dir string) (*Origin, error) {
	name := dir + ".origin"
	data, err := s.read(name, keyfile.MaxSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	o, err := ParseOrigin(data)
	if err != nil {
		return nil, fmt.Errorf("parsing %s: %w", name, err)
	}
	return o, nil
}
