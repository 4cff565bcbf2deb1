package fetch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	magic      = "OEXBLOB1"
	headerSize = len(magic) + 8 + 4
	blockHead  = 4 + 4
	maxBlock   = 256 << 10
	// writeback is how long bytes wait before the kernel is asked to write them. Blobs that are read faster never reach
	// the disk.
	writeback = 5 * time.Second
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// kept is the file of a begun blob. Its blocks are read first, with next, then more are appended. The package comment
// has the format.
type kept struct {
	dir  directory
	name string
	f    *os.File
	size int64 // of the blob

	at     int64     // where the next block is read or written
	data   int64     // bytes of the blob before it
	in     []byte    // the block that was read last
	out    []byte    // the block that is being filled, with its head
	asked  time.Time // when the kernel was last asked to write
	failed bool      // the file is gone
}

// readHeader returns the size of the blob.
func readHeader(f io.ReaderAt) (int64, error) {
	var h [headerSize]byte
	if _, err := f.ReadAt(h[:], 0); err != nil {
		return 0, err
	}
	size := binary.BigEndian.Uint64(h[len(magic):])
	sum := binary.BigEndian.Uint32(h[headerSize-4:])
	if string(h[:len(magic)]) != magic || crc32.Checksum(h[:headerSize-4], castagnoli) != sum || size > 1<<62 {
		return 0, errors.New("not the header of a begun blob")
	}
	return int64(size), nil
}

// start checks the header, or writes it.
func (k *kept) start() error {
	k.at, k.asked = int64(headerSize), time.Now()
	if size, err := readHeader(k.f); err == nil && size == k.size {
		return nil
	}
	if err := k.f.Truncate(0); err != nil {
		return err
	}
	h := binary.BigEndian.AppendUint64([]byte(magic), uint64(k.size))
	h = binary.BigEndian.AppendUint32(h, crc32.Checksum(h, castagnoli))
	_, err := k.f.WriteAt(h, 0)
	return err
}

// next returns the next bytes that were kept, until the next call. It returns nil after the last, and then cuts off
// what is in the file after them: the end of a file is not whole after a crash.
func (k *kept) next() []byte {
	var head [blockHead]byte
	if _, err := k.f.ReadAt(head[:], k.at); err == nil {
		n := int64(binary.BigEndian.Uint32(head[:]))
		if n > 0 && n <= maxBlock && k.data+n <= k.size {
			if k.in == nil {
				k.in = make([]byte, maxBlock)
			}
			block := k.in[:n]
			_, err := k.f.ReadAt(block, k.at+blockHead)
			if err == nil && crc32.Checksum(block, castagnoli) == binary.BigEndian.Uint32(head[4:]) {
				k.at, k.data = k.at+blockHead+n, k.data+n
				return block
			}
		}
	}
	k.in = nil
	if err := k.f.Truncate(k.at); err != nil {
		// Without that, old blocks might follow new ones.
		k.drop()
	}
	return nil
}

// holds reports whether a later reader can continue with the file.
func (k *kept) holds() bool { return k != nil && !k.failed && (k.data > 0 || len(k.out) > blockHead) }

// append adds bytes. After an error, which is returned once, the file is gone and nothing is kept.
func (k *kept) append(p []byte) error {
	for len(p) > 0 && !k.failed {
		if k.out == nil {
			k.out = make([]byte, blockHead, blockHead+maxBlock)
		}
		n := min(len(p), cap(k.out)-len(k.out))
		k.out, p = append(k.out, p[:n]...), p[n:]
		if len(k.out) == cap(k.out) {
			if err := k.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush writes the block that is being filled.
func (k *kept) flush() error {
	if k.failed || len(k.out) <= blockHead {
		return nil
	}
	data := k.out[blockHead:]
	binary.BigEndian.PutUint32(k.out, uint32(len(data)))
	binary.BigEndian.PutUint32(k.out[4:], crc32.Checksum(data, castagnoli))
	if _, err := k.f.WriteAt(k.out, k.at); err != nil {
		k.drop()
		return fmt.Errorf("writing %s: %w", k.f.Name(), err)
	}
	k.at, k.data = k.at+int64(len(k.out)), k.data+int64(len(data))
	k.out = k.out[:blockHead]
	if now := time.Now(); now.Sub(k.asked) >= writeback {
		k.asked = now
		// It starts writing and waits for nothing. It only helps, so errors do not matter.
		_ = unix.SyncFileRange(int(k.f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	}
	return nil
}

// drop gives up keeping: the file takes no room any more.
func (k *kept) drop() {
	k.failed, k.out = true, nil
	// There may have been an error already, and the sweep removes what cannot be removed now.
	_ = k.f.Truncate(0)
	_ = k.unlink()
}

// unlink removes the name of the file, unless it has become that of another one.
func (k *kept) unlink() error {
	if err := k.dir.lock(context.Background()); err == nil {
		defer k.dir.unlock()
	}
	ours, err := k.f.Stat()
	if err != nil {
		return err
	}
	if st, ok := ours.Sys().(*syscall.Stat_t); ok && k.dir.inode(k.name) != st.Ino {
		return nil
	}
	return k.dir.remove(k.name)
}

// remove removes the file and closes it.
func (k *kept) remove() error {
	var err error
	if !k.failed {
		err = k.unlink()
	}
	return errors.Join(err, k.f.Close(), k.dir.Close())
}

// close closes the file, and leaves it for a later reader.
func (k *kept) close() error {
	err := k.flush()
	if k.data == 0 && !k.failed {
		return errors.Join(err, k.remove())
	}
	return errors.Join(err, k.f.Close(), k.dir.Close())
}
