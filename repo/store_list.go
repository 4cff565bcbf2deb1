package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// looseTypes are the types that have files below objects/, by file name extension. File objects are not among them,
// since their extension depends on the mode.
func looseTypes(mode Mode) map[string]object.Type {
	types := map[string]object.Type{mode.fileSuffix(): object.TypeFile}
	for t := object.TypeDirTree; t <= object.TypeFileXattrsLink; t++ {
		types["."+t.String()] = t
	}
	return types
}

// parseLoose parses the name of a file in the directory first below objects/. It reports false if the file is not an
// object.
func parseLoose(first byte, name []byte, types map[string]object.Type) (object.Name, bool) {
	const digits = 62
	if len(name) <= digits {
		return object.Name{}, false
	}
	t, ok := types[string(name[digits:])]
	if !ok {
		return object.Name{}, false
	}
	n := object.Name{Type: t}
	n.Checksum[0] = first
	for i := range digits / 2 {
		hi, lo := hexDigit(name[2*i]), hexDigit(name[2*i+1])
		if hi > 15 || lo > 15 {
			return object.Name{}, false
		}
		n.Checksum[i+1] = hi<<4 | lo
	}
	return n, true
}

func hexDigit(b byte) byte {
	switch {
	case b >= '0' && b <= '9':
		return b - '0'
	case b >= 'a' && b <= 'f':
		return b - 'a' + 10
	}
	return 255
}

// list calls visit with each object whose id begins with first.
func (d *objectDir) list(first byte, buf []byte, types map[string]object.Type, visit func(object.Name) error) error {
	fd, err := openDir(d.fd, hexByte(first))
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("objects/%s: %w", hexByte(first), err)
	}
	err = readDir(fd, buf, func(name []byte, _ uint8) error {
		if n, ok := parseLoose(first, name, types); ok {
			return visit(n)
		}
		return nil
	})
	return errors.Join(err, unix.Close(fd))
}

var errStop = errors.New("stop")

// Objects yields each object of the repository itself, not of its parents, in no particular order. It stops after an
// error. Hold a lock, or objects may be deleted meanwhile.
func (r *Repo) Objects(ctx context.Context) iter.Seq2[object.Name, error] {
	return func(yield func(object.Name, error) bool) {
		buf, types := make([]byte, direntBuffer), looseTypes(r.mode)
		for first := range 256 {
			err := ctx.Err()
			if err == nil {
				err = r.objects.list(byte(first), buf, types, func(n object.Name) error {
					if !yield(n, nil) {
						return errStop
					}
					return nil
				})
			}
			if errors.Is(err, errStop) {
				return
			}
			if err != nil {
				yield(object.Name{}, err)
				return
			}
		}
	}
}

// withPrefix returns the commits whose ids begin with the given hexadecimal digits, at least two.
func (d *objectDir) withPrefix(digits string) ([]object.Checksum, error) {
	first, ok := parseHexByte(digits[:2])
	if !ok {
		return nil, nil
	}
	var found []object.Checksum
	rest := []byte(digits[2:])
	err := d.list(first, make([]byte, direntBuffer), looseTypes(d.mode), func(n object.Name) error {
		if n.Type == object.TypeCommit && bytes.HasPrefix([]byte(n.Checksum.String()[2:]), rest) {
			found = append(found, n.Checksum)
		}
		return nil
	})
	return found, err
}

// presence knows which objects exist: those of objects/ and those that the transaction has staged. A directory of
// objects/ is listed when the first of its objects is asked for. The transaction's lock keeps objects from being
// deleted; objects that others add meanwhile are found when ours are moved into place.
//
// If sound is set, it is asked once about each object of objects/, and what is not sound does not exist.
type presence struct {
	dir    *objectDir
	types  map[string]object.Type
	sound  func(object.Name) (bool, error)
	shards [256]presenceShard
}

type presenceShard struct {
	mu     sync.Mutex
	loaded bool
	known  map[object.Checksum]uint16 // bit t is set for an object of type t
	asked  map[object.Name]struct{}   // what sound was asked about, or was staged
	staged []object.Name
}

func newPresence(d *objectDir) *presence { return &presence{dir: d, types: looseTypes(d.mode)} }

// has reports whether the object is staged or in objects/.
func (p *presence) has(n object.Name) (bool, error) {
	s := &p.shards[n.Checksum[0]]
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := p.load(s, n.Checksum[0]); err != nil {
		return false, err
	}
	bit := uint16(1) << n.Type
	if s.known[n.Checksum]&bit == 0 || p.sound == nil {
		return s.known[n.Checksum]&bit != 0, nil
	}
	if _, ok := s.asked[n]; ok {
		return true, nil
	}
	ok, err := p.sound(n)
	if err != nil {
		return false, err
	}
	if !ok {
		s.known[n.Checksum] &^= bit
		return false, nil
	}
	s.ask(n)
	return true, nil
}

// ask records that nothing has to be asked about an object any more.
func (s *presenceShard) ask(n object.Name) {
	if s.asked == nil {
		s.asked = map[object.Name]struct{}{}
	}
	s.asked[n] = struct{}{}
}

func (p *presence) load(s *presenceShard, first byte) error {
	if s.loaded {
		return nil
	}
	if s.known == nil {
		s.known = make(map[object.Checksum]uint16)
	}
	buf := p.dir.pools.copies.Get().(*[]byte)
	defer p.dir.pools.copies.Put(buf)
	err := p.dir.list(first, *buf, p.types, func(n object.Name) error {
		s.known[n.Checksum] |= 1 << n.Type
		return nil
	})
	s.loaded = err == nil
	return err
}

// refresh forgets which directories were listed, so that objects that others added are found.
func (p *presence) refresh() {
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		s.loaded = false
		s.mu.Unlock()
	}
}

// staged records that the object was staged.
func (p *presence) stage(n object.Name) {
	s := &p.shards[n.Checksum[0]]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = make(map[object.Checksum]uint16)
	}
	s.known[n.Checksum] |= 1 << n.Type
	s.staged = append(s.staged, n)
	if p.sound != nil {
		s.ask(n)
	}
}
