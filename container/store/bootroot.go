package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/keyfile"
)

// prepareRootFiles are where a tree configures how its root is mounted. The first one counts. In a commit, /etc is
// /usr/etc, but upstream's program looks for this name.
var prepareRootFiles = []string{"/etc/ostree/prepare-root.conf", "/usr/lib/ostree/prepare-root.conf"}

const maxPrepareRoot = 1 << 20

// overlayRoot reports whether hosts mount the root of a tree so that all its directories are visible: as an overlay, or
// writable.
func overlayRoot(ctx context.Context, tree *repo.TreeView) (bool, error) {
	for _, p := range prepareRootFiles {
		data, err := tree.ReadFile(ctx, p, maxPrepareRoot)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("%s: %w", p, err)
		}
		return parseOverlayRoot(p, data)
	}
	return false, nil
}

func parseOverlayRoot(name string, data []byte) (bool, error) {
	f, err := keyfile.Parse(data)
	if err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	if v, ok := f.Get("root", "transient"); ok {
		switch v {
		case "true", "1":
			return true, nil
		case "false", "0":
		default:
			return false, fmt.Errorf("%s: [root] transient is %.40q, which is neither true nor false", name, v)
		}
	}
	switch v, _ := f.Get("composefs", "enabled"); v {
	case "signed", "verity", "yes", "true", "1", "maybe":
		return true, nil
	}
	return false, nil
}
