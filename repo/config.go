package repo

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo/keyfile"
)

// ErrInvalidConfig is wrapped by errors about the config file of a repository.
var ErrInvalidConfig = errors.New("invalid repository configuration")

// maxConfigSize bounds the configuration, which other programs may have written, in bytes.
const maxConfigSize = 4 << 20

// Config is the typed view of the config file. It is immutable: [Repo.SetConfig] replaces it.
type Config struct {
	Mode Mode
	// Fsync is whether transactions make objects durable before they are visible.
	Fsync bool
	// PerObjectFsync is whether each object is also made durable when it is written.
	PerObjectFsync bool
	// DisableXattrs is whether xattrs are left out when files are read from and written to disk.
	DisableXattrs bool
	// Locking is whether the lock file is used.
	Locking bool
	// LockTimeout is how long to wait for a lock; negative waits for ever.
	LockTimeout time.Duration
	// MinFreeSpacePercent is the percentage of the filesystem that is kept free. It is 0 where MinFreeSpaceSize applies.
	MinFreeSpacePercent int
	// MinFreeSpaceSize is the number of bytes that are kept free, if positive.
	MinFreeSpaceSize int64
	// TmpExpiry is the age at which forgotten temporary files are deleted.
	TmpExpiry time.Duration
	// Parent is the path of the repository that is searched for objects and refs which this one lacks, or empty.
	Parent string
	// CollectionID is the collection that the refs of the repository belong to, or empty.
	CollectionID string
	// TombstoneCommits is whether deleted commits leave a tombstone.
	TombstoneCommits bool
	// ZlibLevel is the compression level of file objects in mode archive.
	ZlibLevel int

	// minFreeSpaceText is MinFreeSpaceSize as it was written, for messages.
	minFreeSpaceText string
	file             *keyfile.File
}

// Get returns the value of any key. It serves keys that have no field here, such as those of remotes.
func (c *Config) Get(group, key string) (string, bool) { return c.file.Get(group, key) }

// Groups returns the names of all groups in order.
func (c *Config) Groups() []string { return c.file.Groups() }

// Keys returns the keys of a group in order.
func (c *Config) Keys(group string) []string { return c.file.Keys(group) }

// parseConfig parses and checks the content of a config file.
func parseConfig(data []byte) (*Config, error) {
	file, err := keyfile.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidConfig, err)
	}
	p := configParser{file: file}
	c := &Config{
		file:                file,
		Fsync:               p.bool("core", "fsync", true),
		PerObjectFsync:      p.bool("core", "per-object-fsync", false),
		DisableXattrs:       p.bool("core", "disable-xattrs", false),
		Locking:             p.bool("core", "locking", true),
		LockTimeout:         p.seconds("core", "lock-timeout-secs", 300, -1),
		TmpExpiry:           p.seconds("core", "tmp-expiry-secs", 86400, 0),
		MinFreeSpacePercent: int(p.int("core", "min-free-space-percent", 3, 0, 99)),
		TombstoneCommits:    p.bool("core", "tombstone-commits", false),
		ZlibLevel:           int(p.int("archive", "zlib-level", 6, 0, 9)),
		Parent:              p.string("core", "parent", ""),
		CollectionID:        p.string("core", "collection-id", ""),
	}
	p.version()
	c.Mode = p.mode()
	if text := p.string("core", "min-free-space-size", ""); text != "" {
		size, err := parseFreeSpaceSize(text)
		p.fail("core", "min-free-space-size", err)
		c.MinFreeSpaceSize, c.MinFreeSpacePercent, c.minFreeSpaceText = size, 0, text
	}
	if p.err != nil {
		return nil, p.err
	}
	return c, nil
}

// configParser keeps the first error.
type configParser struct {
	file *keyfile.File
	err  error
}

func (p *configParser) fail(group, key string, err error) {
	if err != nil && p.err == nil {
		p.err = fmt.Errorf("%w: key %s.%s: %w", ErrInvalidConfig, group, key, err)
	}
}

func (p *configParser) string(group, key, missing string) string {
	if s, ok := p.file.Get(group, key); ok {
		return s
	}
	return missing
}

func (p *configParser) bool(group, key string, missing bool) bool {
	v, ok, err := p.file.Bool(group, key)
	p.fail(group, key, err)
	if !ok || err != nil {
		return missing
	}
	return v
}

func (p *configParser) int(group, key string, missing, least, most int64) int64 {
	s, ok := p.file.Get(group, key)
	if !ok {
		return missing
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err == nil && (n < least || n > most) {
		err = fmt.Errorf("%d is not between %d and %d", n, least, most)
	}
	p.fail(group, key, err)
	return n
}

func (p *configParser) seconds(group, key string, missing, least int64) time.Duration {
	const most = int64(1<<63-1) / int64(time.Second)
	return time.Duration(p.int(group, key, missing, least, most)) * time.Second
}

func (p *configParser) version() {
	if v, ok := p.file.Get("core", "repo_version"); !ok || strings.TrimSpace(v) != "1" {
		p.fail("core", "repo_version", fmt.Errorf("repository version %.80q, want 1", v))
	}
	if p.bool("core", "archive", false) {
		p.fail("core", "archive", errors.New("this version of archive is no longer supported"))
	}
}

func (p *configParser) mode() Mode {
	mode, err := ParseMode(p.string("core", "mode", "bare"))
	p.fail("core", "mode", err)
	return mode
}

// parseFreeSpaceSize reads a number of megabytes, gigabytes or terabytes, such as "500MB". libostree's units are
// powers of 1024.
func parseFreeSpaceSize(s string) (int64, error) {
	shifts := map[string]int{"MB": 20, "GB": 30, "TB": 40}
	if len(s) < 3 {
		return 0, fmt.Errorf("%q is not a size such as 500MB", s)
	}
	digits, unit := s[:len(s)-2], s[len(s)-2:]
	shift, ok := shifts[unit]
	n, err := strconv.ParseUint(digits, 10, 63)
	if !ok || err != nil || digits[0] == '+' {
		return 0, fmt.Errorf("%.80q is not a size such as 500MB", s)
	}
	if n > (1<<63-1)>>shift {
		return 0, fmt.Errorf("%.80q is too large", s)
	}
	return int64(n) << shift, nil
}

// readConfig reads the config file of the repository.
func readConfig(root *os.Root) (*Config, error) {
	data, err := readSmallFile(root, "config", maxConfigSize)
	if err != nil {
		return nil, err
	}
	return parseConfig(data)
}

// readSmallFile reads a regular file of at most limit bytes.
func readSmallFile(root *os.Root, name string, limit int64) ([]byte, error) {
	// O_NONBLOCK: a planted FIFO must not make the open hang.
	f, err := root.OpenFile(name, os.O_RDONLY|oNonblock, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s is longer than %s", name, sizes.Format(limit))
	}
	return data, err
}

// SetConfig sets a key in the config file and keeps everything else as it is. A value with which the repository could
// not be opened is an error; after an error the file is unchanged. The parent, the compression level and
// core.disable-xattrs take effect at the next [Open].
func (r *Repo) SetConfig(group, key, value string) error {
	if !r.writable {
		return r.readOnlyError()
	}
	r.configMu.Lock()
	defer r.configMu.Unlock()
	data, err := readSmallFile(r.root, "config", maxConfigSize)
	if err != nil {
		return err
	}
	file, err := keyfile.Parse(data)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidConfig, err)
	}
	if err := file.Set(group, key, value); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidConfig, err)
	}
	data = file.Encode()
	next, err := parseConfig(data)
	if err != nil {
		return err
	}
	if next.Mode != r.mode {
		return fmt.Errorf("%w: key core.mode: the mode of a repository cannot be changed", ErrInvalidConfig)
	}
	if err := r.replaceFile("config", data); err != nil {
		return err
	}
	r.config.Store(next)
	return nil
}
