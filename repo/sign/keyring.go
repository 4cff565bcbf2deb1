package sign

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Tags of OpenPGP packets.
const (
	tagSignature = 2
	tagPublicKey = 6
	tagUserID    = 13
	tagSubkey    = 14
)

// maxKeyPackets bounds the packets in one keyring.
const maxKeyPackets = 1 << 16

// keyring is a set of OpenPGP keys. What several files say about one key is put together, as when gpg imports them.
type keyring struct {
	certs map[string]*certificate // by fingerprint
	loose []*selfSignature        // revocations in a file of their own
	// broken says which files, or parts of them, could not be used.
	broken []error
}

// certificate is an OpenPGP key: a primary key with user ids and subkeys. Nothing in it was verified yet.
type certificate struct {
	primary *packet.PublicKey
	sigs    []*selfSignature
	users   []*userID
	subkeys []*subkey
}

type userID struct {
	name string
	sigs []*selfSignature
}

type subkey struct {
	key  *packet.PublicKey
	sigs []*selfSignature
}

// selfSignature is a signature in a certificate.
type selfSignature struct {
	// sig is nil if the format is not supported.
	sig  *packet.Signature
	body []byte
}

// class returns the type of the signature, which is known even if the rest is not supported.
func (s *selfSignature) class() (packet.SignatureType, bool) {
	switch {
	case s.sig != nil:
		return s.sig.SigType, true
	case len(s.body) > 2 && (s.body[0] == 2 || s.body[0] == 3):
		return packet.SignatureType(s.body[2]), true
	case len(s.body) > 1 && s.body[0] >= 4 && s.body[0] <= 6:
		return packet.SignatureType(s.body[1]), true
	}
	return 0, false
}

// add adds the keys of a file, binary or armored. A problem is recorded and does not concern other keys.
func (k *keyring) add(name string, data []byte) {
	if k.certs == nil {
		k.certs = map[string]*certificate{}
	}
	note := func(err error) { k.broken = append(k.broken, fmt.Errorf("%s: %w", name, err)) }
	if len(data) >= 12 && string(data[8:12]) == "KBXf" {
		note(errors.New("a keybox cannot be read: export the keys with 'gpg --export'"))
		return
	}
	keys := 0
	read := func(block []byte, err error) {
		n := 0
		if err == nil {
			n, err = k.read(block)
		}
		if keys += n; err != nil {
			note(err)
		}
	}
	if len(data) > 0 && data[0]&0x80 == 0 { // text, as no packet begins
		for block, err := range armored(data) {
			read(block, err)
		}
	} else {
		read(data, nil)
	}
	if keys == 0 && len(data) > 0 {
		note(errors.New("there is no OpenPGP public key in it"))
	}
}

const armorBegin = "-----BEGIN PGP "

// armored yields the content of the armored blocks in a text.
func armored(data []byte) func(func([]byte, error) bool) {
	return func(yield func([]byte, error) bool) {
		for rest := data; ; {
			i := bytes.Index(rest, []byte(armorBegin))
			if i < 0 {
				return
			}
			rest = rest[i:]
			end := len(rest)
			if j := bytes.Index(rest[len(armorBegin):], []byte(armorBegin)); j >= 0 {
				end = j + len(armorBegin)
			}
			if !yield(dearmor(rest[:end])) {
				return
			}
			rest = rest[end:]
		}
	}
}

// dearmor returns the content of the one armored block in a text.
func dearmor(text []byte) ([]byte, error) {
	block, err := armor.Decode(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(block.Body)
}

// read reads the keys of a binary keyring, and returns how many there are.
func (k *keyring) read(data []byte) (keys int, err error) {
	r := keyReader{ring: k}
	packets := packet.NewOpaqueReader(bytes.NewReader(data))
	var problems []error
	for n := 0; ; n++ {
		p, err := packets.Next()
		if errors.Is(err, io.EOF) {
			r.finish()
			return r.keys, errors.Join(problems...)
		}
		if err == nil && n == maxKeyPackets {
			err = fmt.Errorf("more than %d packets", maxKeyPackets)
		}
		if err != nil {
			// Whatever is behind this point is lost, and it may be what revokes the key that was being read.
			return r.keys, errors.Join(append(problems, fmt.Errorf("damaged: %w", err))...)
		}
		if err := r.packet(p); err != nil {
			problems = append(problems, err)
		}
	}
}

// keyReader reads a keyring packet by packet.
type keyReader struct {
	ring   *keyring
	keys   int               // keys and revocations that were added
	cert   *certificate      // the key that is being read, or nil
	target *[]*selfSignature // where the next signature belongs, or nil
	skip   bool              // in a key that cannot be used
}

// finish adds the key that was read.
func (r *keyReader) finish() {
	if r.cert == nil {
		return
	}
	name := fingerprint(r.cert.primary)
	if old := r.ring.certs[name]; old != nil {
		old.merge(r.cert)
	} else {
		r.ring.certs[name] = r.cert
	}
	r.keys++
	r.cert = nil
}

func (r *keyReader) packet(p *packet.OpaquePacket) error {
	switch p.Tag {
	case tagPublicKey:
		r.finish()
		r.target, r.skip = nil, true
		key, err := parsePacket[*packet.PublicKey](p)
		if err != nil {
			return fmt.Errorf("a key that cannot be used: %w", err)
		}
		r.cert, r.skip = &certificate{primary: key}, false
		r.target = &r.cert.sigs
	case tagSignature:
		sig, err := parsePacket[*packet.Signature](p)
		if err != nil {
			sig = nil
		}
		s := &selfSignature{sig: sig, body: p.Contents}
		if r.target != nil {
			*r.target = append(*r.target, s)
		} else if r.cert == nil && !r.skip && sig != nil && sig.SigType == packet.SigTypeKeyRevocation {
			r.ring.loose = append(r.ring.loose, s)
			r.keys++
		}
	case tagUserID:
		if r.target = nil; r.cert != nil {
			u := &userID{name: string(p.Contents)}
			r.cert.users = append(r.cert.users, u)
			r.target = &u.sigs
		}
	case tagSubkey:
		if r.target = nil; r.cert != nil {
			key, err := parsePacket[*packet.PublicKey](p)
			if err != nil {
				return nil //nolint:nilerr // a subkey of an unknown kind is one that nothing can be verified with
			}
			s := &subkey{key: key}
			r.cert.subkeys = append(r.cert.subkeys, s)
			r.target = &s.sigs
		}
	case 12: // trust, which is between a key and its signatures in gpg's own files
	default:
		r.target = nil
	}
	return nil
}

// parsePacket parses a packet as one of a type.
func parsePacket[T packet.Packet](p *packet.OpaquePacket) (T, error) {
	parsed, err := p.Parse()
	t, ok := parsed.(T)
	if err == nil && !ok {
		err = errors.New("unexpected packet")
	}
	return t, err
}

// merge adds what another copy of the same certificate has.
func (c *certificate) merge(other *certificate) {
	c.sigs = append(c.sigs, other.sigs...)
	for _, u := range other.users {
		same := func(v *userID) bool { return v.name == u.name }
		if i := slices.IndexFunc(c.users, same); i >= 0 {
			c.users[i].sigs = append(c.users[i].sigs, u.sigs...)
		} else {
			c.users = append(c.users, u)
		}
	}
	for _, s := range other.subkeys {
		same := func(v *subkey) bool { return bytes.Equal(v.key.Fingerprint, s.key.Fingerprint) }
		if i := slices.IndexFunc(c.subkeys, same); i >= 0 {
			c.subkeys[i].sigs = append(c.subkeys[i].sigs, s.sigs...)
		} else {
			c.subkeys = append(c.subkeys, s)
		}
	}
}

// fingerprint returns the fingerprint of a key as gpg prints it.
func fingerprint(key *packet.PublicKey) string {
	return strings.ToUpper(hex.EncodeToString(key.Fingerprint))
}
