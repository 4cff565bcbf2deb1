package update

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

// Account is a system user or group.
type Account struct {
	Name string `json:"name"`
	// ID is its number.
	ID uint32 `json:"id"`
}

// maxAccounts is the size in bytes of the largest file of users or groups that is read.
const maxAccounts = 1 << 20

// compareAccounts sets the users and groups that only the new image has in /usr/lib. Those of /etc belong to the host.
func (d *Difference) compareAccounts(ctx context.Context, r *repo.Repo, from, to *Image) error {
	for _, f := range []struct {
		path  string
		added *[]Account
	}{{"/usr/lib/passwd", &d.Users}, {"/usr/lib/group", &d.Groups}} {
		old, err := d.accounts(ctx, r, from, f.path)
		if err != nil {
			return err
		}
		list, err := d.accounts(ctx, r, to, f.path)
		if err != nil {
			return err
		}
		had := map[string]bool{}
		for _, a := range old {
			had[a.Name] = true
		}
		for _, a := range list {
			if !had[a.Name] {
				*f.added = append(*f.added, a)
			}
		}
	}
	return nil
}

// accounts reads a file of users or groups, in its order. Lines that are not valid are left out.
func (d *Difference) accounts(ctx context.Context, r *repo.Repo, img *Image, path string) ([]Account, error) {
	view, err := repo.ViewCommit(ctx, r, img.Commit)
	if err != nil {
		return nil, err
	}
	data, err := view.ReadFile(ctx, path, maxAccounts)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, repo.ErrTooLarge), errors.Is(err, repo.ErrTooManySymlinks):
		d.warn(fmt.Errorf("image %s: %w", img.Ref.Image, err))
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("image %s: %w", img.Ref.Image, err)
	}
	var list []Account
	for line := range strings.Lines(string(data)) {
		fields := strings.Split(line, ":")
		if len(fields) < 4 || fields[0] == "" {
			continue
		}
		if id, err := strconv.ParseUint(fields[2], 10, 32); err == nil {
			list = append(list, Account{printable.Line(fields[0]), uint32(id)})
		}
	}
	return list, nil
}
