package object

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
)

// Commit is a decoded commit object.
type Commit struct {
	// Metadata is in the order in which it is hashed.
	Metadata gvariant.Dict
	// Parent is zero for a first commit.
	Parent  Checksum
	Related []RelatedObject
	Subject string
	Body    string
	// Timestamp is in seconds since 1970.
	Timestamp uint64
	Tree      Checksum // root dirtree
	Meta      Checksum // root dirmeta
}

// RelatedObject is an entry of a field that no program writes any more.
type RelatedObject struct {
	Name     string
	Checksum Checksum
}

// Time is the time of the commit, in UTC.
func (c *Commit) Time() time.Time { return time.Unix(int64(c.Timestamp), 0).UTC() }

// ContentChecksum identifies the tree alone, independently of author and time. `ostree show` prints it.
func (c *Commit) ContentChecksum() Checksum {
	return sha256.Sum256(append(c.Tree[:], c.Meta[:]...))
}

const commitType = "(a{sv}aya(say)sstayay)"

func (c *Commit) check() error {
	if c.Timestamp > math.MaxInt64 {
		return fmt.Errorf("%w: timestamp %d", ErrNotNormal, c.Timestamp)
	}
	if c.Tree.IsZero() || c.Meta.IsZero() {
		return fmt.Errorf("%w: no root directory", ErrNotNormal)
	}
	seen := map[string]bool{}
	for _, e := range c.Metadata {
		if e.Key == "" || seen[e.Key] {
			return fmt.Errorf("%w: empty or repeated metadata key %q", ErrNotNormal, e.Key)
		}
		seen[e.Key] = true
	}
	return nil
}

// EncodeCommit returns the bytes of a commit object, of type (a{sv}aya(say)sstayay).
func EncodeCommit(c *Commit) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	v, err := c.value()
	if err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	if err := v.Validate(); err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	if len(v.Data()) > MaxMetadataSize {
		return nil, fmt.Errorf("commit: %d bytes are more than %d", len(v.Data()), MaxMetadataSize)
	}
	return v.Data(), nil
}

func (c *Commit) value() (gvariant.Value, error) {
	metadata, err := gvariant.New("a{sv}", c.Metadata.Encode())
	if err != nil {
		return metadata, err
	}
	var parent []byte
	if !c.Parent.IsZero() {
		parent = c.Parent[:]
	}
	related := make([]gvariant.Value, len(c.Related))
	for i, r := range c.Related {
		related[i] = gvariant.Tuple(gvariant.String(r.Name), gvariant.ByteArray(r.Checksum[:]))
	}
	list, err := gvariant.Array("(say)", related...)
	if err != nil {
		return list, err
	}
	// The format stores the time big-endian on every machine.
	stamp, err := gvariant.New("t", binary.BigEndian.AppendUint64(nil, c.Timestamp))
	if err != nil {
		return stamp, err
	}
	return gvariant.Tuple(metadata, gvariant.ByteArray(parent), list, gvariant.String(c.Subject), gvariant.String(c.Body),
		stamp, gvariant.ByteArray(c.Tree[:]), gvariant.ByteArray(c.Meta[:])), nil
}

// ParseCommit parses a commit object. It accepts commits that are not in normal form, as libostree does. To copy or
// verify a commit use its bytes, not the result of encoding it again.
func ParseCommit(data []byte) (*Commit, error) {
	c, err := parseCommit(data)
	if err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	return c, nil
}

func parseCommit(data []byte) (*Commit, error) {
	v, err := gvariant.New(commitType, data)
	if err != nil {
		return nil, err
	}
	var m [8]gvariant.Value
	for i := range m {
		if m[i], err = v.Index(i); err != nil {
			return nil, err
		}
	}
	c := &Commit{Timestamp: binary.BigEndian.Uint64(m[5].Data())}
	if c.Metadata, err = gvariant.ParseDict(m[0].Data()); err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	if len(m[1].Data()) > 0 {
		if c.Parent, err = ChecksumFromBytes(m[1].Data()); err != nil {
			return nil, fmt.Errorf("parent: %w", err)
		}
		if c.Parent.IsZero() {
			return nil, fmt.Errorf("%w: a parent of zeros would read as none", ErrNotNormal)
		}
	}
	for e, err := range m[2].Elements() {
		if err != nil {
			return nil, fmt.Errorf("related objects: %w", err)
		}
		var r RelatedObject
		if r.Name, r.Checksum, err = namedChecksum(e); err != nil {
			return nil, fmt.Errorf("related objects: %w", err)
		}
		c.Related = append(c.Related, r)
	}
	if c.Subject, err = m[3].Text(); err != nil {
		return nil, fmt.Errorf("subject: %w", err)
	}
	if c.Body, err = m[4].Text(); err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	if c.Tree, err = ChecksumFromBytes(m[6].Data()); err != nil {
		return nil, fmt.Errorf("root dirtree: %w", err)
	}
	if c.Meta, err = ChecksumFromBytes(m[7].Data()); err != nil {
		return nil, fmt.Errorf("root dirmeta: %w", err)
	}
	return c, c.check()
}

// EncodeTombstone returns the bytes of a tombstone, the mark of a deleted commit.
func EncodeTombstone(c Checksum) []byte {
	return gvariant.Dict{{Key: "commit", Value: gvariant.ByteArray(append([]byte(c.String()), 0))}}.Encode()
}

// HashMetadata returns the id of a metadata object.
func HashMetadata(data []byte) Checksum { return sha256.Sum256(data) }

// NormalizeMetadata converts a dirtree, dirmeta, commit or detached metadata to normal form, as libostree does before
// it writes an object from elsewhere. Bytes that are not an object of the type are an error.
func NormalizeMetadata(t Type, data []byte) ([]byte, error) {
	if len(data) > MaxMetadataSize {
		return nil, fmt.Errorf("%s: %d bytes are more than %d", t, len(data), MaxMetadataSize)
	}
	var again []byte
	switch t {
	case TypeDirTree:
		tree, err := ParseDirTreeLoose(data)
		if err == nil {
			again, err = EncodeDirTree(tree)
		}
		if err != nil {
			return nil, fmt.Errorf("dirtree: %w", err)
		}
	case TypeDirMeta:
		meta, err := ParseDirMetaLoose(data)
		if err == nil {
			again, err = EncodeDirMeta(meta)
		}
		if err != nil {
			return nil, fmt.Errorf("dirmeta: %w", err)
		}
	case TypeCommit:
		var err error
		if again, err = normalValue(commitType, data); err != nil {
			return nil, fmt.Errorf("commit: %w", err)
		}
		if _, err = ParseCommit(again); err != nil {
			return nil, err
		}
	case TypeCommitMeta:
		var err error
		if again, err = normalValue("a{sv}", data); err == nil {
			_, err = gvariant.ParseDict(again)
		}
		if err != nil {
			return nil, fmt.Errorf("detached metadata: %w", err)
		}
	default:
		return nil, fmt.Errorf("%s objects have no normal form", t)
	}
	if bytes.Equal(again, data) {
		return data, nil
	}
	return again, nil
}

// normalValue converts a value of any type to normal form at every depth.
func normalValue(typ string, data []byte) ([]byte, error) {
	v, err := gvariant.New(typ, data)
	if err != nil {
		return nil, err
	}
	if v, err = v.Normal(); err != nil {
		return nil, err
	}
	return v.Data(), nil
}
