package testca

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"strings"
	"sync"
	"testing"
	"time"
)

// tlog is a transparency log: a Merkle tree as RFC 6962 describes it, whose root is signed as a note
// (https://c2sp.org/signed-note).
type tlog struct {
	version int
	url     string
	origin  string // the first line of its notes
	key     *ecdsa.PrivateKey

	mu     sync.Mutex
	leaves [][]byte
}

func newLog(t testing.TB, version int) *tlog {
	l := &tlog{version: version, key: newKey(t)}
	name := fmt.Sprintf("rekor%d.example", version)
	l.url, l.origin = "https://"+name, name
	if version == 1 {
		l.origin += " - 1193050959916656506"
	}
	for i := range 5 { // others have signed before
		l.leaves = append(l.leaves, leafHash([]byte{byte(i)}))
	}
	return l
}

// TLogEntry is an entry of a transparency log in a bundle. Whole numbers are strings in this format.
type TLogEntry struct {
	LogIndex string `json:"logIndex"`
	LogID    struct {
		KeyID []byte `json:"keyId"`
	} `json:"logId"`
	KindVersion struct {
		Kind    string `json:"kind"`
		Version string `json:"version"`
	} `json:"kindVersion"`
	IntegratedTime    string          `json:"integratedTime,omitempty"`
	InclusionPromise  *Promise        `json:"inclusionPromise,omitempty"`
	InclusionProof    *InclusionProof `json:"inclusionProof,omitempty"`
	CanonicalizedBody []byte          `json:"canonicalizedBody"`
}

// Promise is what Rekor 1 signs at once: that the entry will be in the log, and the time.
type Promise struct {
	SignedEntryTimestamp []byte `json:"signedEntryTimestamp"`
}

// InclusionProof leads from an entry to a signed root of the log.
type InclusionProof struct {
	LogIndex   string   `json:"logIndex"`
	RootHash   []byte   `json:"rootHash"`
	TreeSize   string   `json:"treeSize"`
	Hashes     [][]byte `json:"hashes"`
	Checkpoint struct {
		Envelope string `json:"envelope"`
	} `json:"checkpoint"`
}

// add adds an entry to the log.
func (l *tlog) add(kind, version string, body []byte, at time.Time) (*TLogEntry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	index := len(l.leaves)
	l.leaves = append(l.leaves, leafHash(body), leafHash([]byte("the next one")))
	root := treeHash(l.leaves)
	checkpoint, err := l.checkpoint(root)
	if err != nil {
		return nil, err
	}
	e := &TLogEntry{LogIndex: fmt.Sprint(index), CanonicalizedBody: body}
	e.LogID.KeyID = keyID(l.key)
	e.KindVersion.Kind, e.KindVersion.Version = kind, version
	e.InclusionProof = &InclusionProof{
		LogIndex: fmt.Sprint(index), RootHash: root, TreeSize: fmt.Sprint(len(l.leaves)), Hashes: path(l.leaves, index),
	}
	e.InclusionProof.Checkpoint.Envelope = checkpoint
	if l.version == 1 {
		e.IntegratedTime = fmt.Sprint(at.Unix())
		promise, err := sign(l.key, encode(map[string]any{ // encoding/json sorts the keys, as the format wants
			"body": body, "integratedTime": at.Unix(), "logID": hex.EncodeToString(e.LogID.KeyID), "logIndex": index,
		}))
		if err != nil {
			return nil, err
		}
		e.InclusionPromise = &Promise{promise}
	}
	return e, nil
}

// checkpoint returns the signed root of the log.
func (l *tlog) checkpoint(root []byte) (string, error) {
	text := fmt.Sprintf("%s\n%d\n%s\n", l.origin, len(l.leaves), base64.StdEncoding.EncodeToString(root))
	sig, err := sign(l.key, []byte(text))
	name, _, _ := strings.Cut(l.origin, " ")
	hint := keyID(l.key)[:4]
	return text + "\n— " + name + " " + base64.StdEncoding.EncodeToString(append(hint, sig...)) + "\n", err
}

func leafHash(data []byte) []byte { return hash([]byte{0}, data) }

func hash(parts ...[]byte) []byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// split returns the largest power of two below n.
func split(n int) int { return 1 << (bits.Len(uint(n-1)) - 1) }

func treeHash(leaves [][]byte) []byte {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := split(len(leaves))
	return hash([]byte{1}, treeHash(leaves[:k]), treeHash(leaves[k:]))
}

// path returns the hashes beside the way from a leaf to the root.
func path(leaves [][]byte, index int) [][]byte {
	if len(leaves) == 1 {
		return nil
	}
	k := split(len(leaves))
	if index < k {
		return append(path(leaves[:k], index), treeHash(leaves[k:]))
	}
	return append(path(leaves[k:], index-k), treeHash(leaves[:k]))
}

// body1 is what Rekor 1 stores of an envelope: an entry of kind dsse, version 0.0.1.
func body1(envelope, payload, sig, certPEM []byte) []byte {
	sum := func(data []byte) map[string]string {
		return map[string]string{"algorithm": "sha256", "value": hex.EncodeToString(hash(data))}
	}
	return encode(map[string]any{"apiVersion": "0.0.1", "kind": "dsse", "spec": map[string]any{
		"envelopeHash": sum(envelope), "payloadHash": sum(payload),
		"signatures": []map[string]any{{"signature": base64.StdEncoding.EncodeToString(sig), "verifier": certPEM}},
	}})
}

// body1OfHash is what Rekor 1 stores of a signature of a SHA-256, in hexadecimal: an entry of kind hashedrekord,
// version 0.0.1.
func body1OfHash(sum string, sig, certPEM []byte) []byte {
	return encode(map[string]any{"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": map[string]any{
		"data": map[string]any{"hash": map[string]any{"algorithm": "sha256", "value": sum}},
		"signature": map[string]any{
			"content": sig, "publicKey": map[string]any{"content": certPEM},
		},
	}})
}

// body2 is what Rekor 2 stores of any signature: an entry of kind hashedrekord, version 0.0.2. The digest is of what
// was signed, which for an envelope is its encoding before signing.
func body2(digest, sig, cert []byte) []byte {
	return encode(map[string]any{"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": map[string]any{
		"hashedRekordV002": map[string]any{
			"data": map[string]any{"algorithm": "SHA2_256", "digest": digest},
			"signature": map[string]any{"content": sig, "verifier": map[string]any{
				"keyDetails": "PKIX_ECDSA_P256_SHA_256", "x509Certificate": RawBytes{cert},
			}},
		},
	}})
}

// pae is what is signed of an envelope (https://github.com/secure-systems-lab/dsse/blob/master/protocol.md).
func pae(kind string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, len(payload), payload)
}

// certificateTimestamp returns the extension that a log of certificates signs (RFC 6962, section 3.3): a list of one
// timestamp about the certificate without it.
func certificateTimestamp(key *ecdsa.PrivateKey, issuerKey, tbs []byte, at time.Time) ([]byte, error) {
	issuer := hash(issuerKey)
	millis := binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli()))
	signed := append([]byte{0, 0}, millis...) // version 1, certificate timestamp
	signed = append(signed, 0, 1)             // of a certificate without the timestamp
	signed = append(signed, issuer...)
	signed = append(signed, byte(len(tbs)>>16), byte(len(tbs)>>8), byte(len(tbs)))
	signed = append(signed, tbs...)
	signed = append(signed, 0, 0) // no extensions
	sig, err := sign(key, signed)
	if err != nil {
		return nil, err
	}
	sct := append([]byte{0}, keyID(key)...)
	sct = append(append(sct, millis...), 0, 0)
	sct = append(sct, 4, 3) // SHA-256, ECDSA
	sct = append(binary.BigEndian.AppendUint16(sct, uint16(len(sig))), sig...)
	list := binary.BigEndian.AppendUint16(nil, uint16(len(sct)+2))
	return append(binary.BigEndian.AppendUint16(list, uint16(len(sct))), sct...), nil
}
