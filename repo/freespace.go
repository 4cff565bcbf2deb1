package repo

import (
	"fmt"
	"math"
	"math/bits"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// spaceError says that less space would remain free than the configuration demands. It wraps [ErrNoSpace] and ENOSPC.
type spaceError struct {
	limit string // the key and value
	want  int64  // bytes
}

// Error implements error in libostree's words.
func (e *spaceError) Error() string {
	return fmt.Sprintf("%s would be exceeded, at least %s requested", e.limit, sizes.Format(e.want))
}

// Unwrap returns both.
func (e *spaceError) Unwrap() []error { return []error{ErrNoSpace, unix.ENOSPC} }

// spaceBudget counts the blocks that a transaction may still write. The free space is measured once, so writes of other
// processes are not counted.
type spaceBudget struct {
	limit     string
	blockSize int64
	left      atomic.Int64 // blocks
}

func newSpaceBudget(rootFD int, c *Config) (*spaceBudget, error) {
	if c.MinFreeSpacePercent == 0 && c.MinFreeSpaceSize == 0 {
		return nil, nil
	}
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(rootFD, &st) }); err != nil {
		return nil, fmt.Errorf("measuring free space: %w", err)
	}
	free := st.Bavail
	if os.Geteuid() == 0 && hasAdminBounding() {
		free = st.Bfree
	}
	b := &spaceBudget{blockSize: max(1, int64(st.Bsize))} //nolint:unconvert // an int32 on other processors
	var reserved uint64
	if c.MinFreeSpaceSize > 0 {
		b.limit = "min-free-space-size " + c.minFreeSpaceText
		reserved = uint64(c.MinFreeSpaceSize) / uint64(b.blockSize)
	} else {
		b.limit = fmt.Sprintf("min-free-space-percent '%d%%'", c.MinFreeSpacePercent)
		reserved = percentOf(st.Blocks, uint64(max(1, st.Frsize)), uint64(b.blockSize), uint64(c.MinFreeSpacePercent))
	}
	if free > reserved {
		b.left.Store(int64(min(free-reserved, math.MaxInt64)))
	}
	return b, nil
}

// Room checks that the filesystem has room for a number of bytes more, beside what the configuration keeps free. The
// error wraps [ErrNoSpace] and says how much is missing.
func (r *Repo) Room(n int64) error {
	free, limit, err := r.free()
	if err != nil {
		return err
	}
	if limit != "" {
		limit = " beside " + limit
	}
	if n > free {
		return fmt.Errorf("%w in %s: %s are needed, %s are there%s: %s are missing",
			ErrNoSpace, r.path, sizes.Format(n), sizes.Format(free), limit, sizes.Format(n-free))
	}
	return nil
}

// Free returns for how many bytes the filesystem has room, beside what the configuration keeps free.
func (r *Repo) Free() (int64, error) {
	free, _, err := r.free()
	return free, err
}

// free also returns the setting that keeps room free, or "".
func (r *Repo) free() (free int64, limit string, err error) {
	b, err := newSpaceBudget(r.rootFD, r.Config())
	if err != nil {
		return 0, "", err
	}
	if b != nil {
		return b.left.Load() * b.blockSize, b.limit, nil
	}
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(r.rootFD, &st) }); err != nil {
		return 0, "", fmt.Errorf("measuring free space: %w", err)
	}
	block := max(1, int64(st.Bsize)) //nolint:unconvert // an int32 on other processors
	return int64(min(st.Bavail, uint64(math.MaxInt64/block))) * block, "", nil
}

// percentOf returns a percentage of a number of fragments, in blocks.
func percentOf(fragments, fragmentSize, blockSize, percent uint64) uint64 {
	hi, lo := bits.Mul64(fragments, fragmentSize)
	if hi >= blockSize {
		return math.MaxUint64
	}
	blocks, _ := bits.Div64(hi, lo, blockSize)
	return blocks / 100 * percent
}

// hasAdminBounding reports whether this process may use the blocks that are reserved for root. In containers root often
// lacks the capability.
func hasAdminBounding() bool {
	v, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, unix.CAP_SYS_ADMIN, 0, 0, 0)
	return err == nil && v == 1
}

func (b *spaceBudget) blocks(size int64) int64 { return size/b.blockSize + 1 }

// reserve takes the space for size bytes of content out of the budget.
func (b *spaceBudget) reserve(size int64) error {
	if b == nil {
		return nil
	}
	if n := b.blocks(size); b.left.Add(-n) < 0 {
		b.left.Add(n)
		return &spaceError{limit: b.limit, want: size}
	}
	return nil
}

// giveBack returns space that was not used to the budget.
func (b *spaceBudget) giveBack(size int64) {
	if b != nil {
		b.left.Add(b.blocks(size))
	}
}
