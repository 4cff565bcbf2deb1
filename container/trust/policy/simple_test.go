//go:build containers_image_openpgp

package policy_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policy"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// person has an OpenPGP key.
type person struct {
	key  *openpgp.Entity
	file string // a keyring with the public key
	ring []byte
}

func newPerson(t *testing.T, c *packet.Config) person {
	t.Helper()
	if c == nil {
		c = &packet.Config{}
	}
	c.Algorithm = packet.PubKeyAlgoEdDSA
	e, err := openpgp.NewEntity("test", "", "test@example.com", c)
	if err != nil {
		t.Fatal(err)
	}
	p := person{key: e, file: filepath.Join(t.TempDir(), "key.gpg")}
	var b bytes.Buffer
	if err := e.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	p.ring = b.Bytes()
	write(t, p.file, b.String())
	return p
}

func (p person) fingerprint() string { return fmt.Sprintf("%X", p.key.PrimaryKey.Fingerprint) }

// simplePayload is what a simple signature signs.
func simplePayload(t *testing.T, name string, d digest.Digest) []byte {
	t.Helper()
	return bytes.Replace(payload(t, name, d), []byte(`"cosign container image signature"},"optional":null`),
		[]byte(`"atomic container signature"},"optional":{}`), 1)
}

// sign returns a message that is signed, as gpg --sign makes it.
func (p person) sign(t *testing.T, payload []byte, c *packet.Config) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := openpgp.Sign(&b, p.key, nil, c)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(payload)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// compress puts a message into a packet that is compressed, as gpg does.
func compress(t *testing.T, message io.Reader) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := packet.SerializeCompressed(noClose{&b}, packet.CompressionZLIB, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(w, message)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type noClose struct{ io.Writer }

func (noClose) Close() error { return nil }

// store writes simple signatures of a document to a lookaside storage.
func store(t *testing.T, dir string, d digest.Digest, signatures ...[]byte) {
	t.Helper()
	for i, s := range signatures {
		write(t, filepath.Join(dir, repository+"@sha256="+d.Encoded(), fmt.Sprintf("signature-%d", i+1)), string(s))
	}
}

// lookaside starts a registry whose simple signatures are in a directory.
func lookaside(t *testing.T) (r *testreg.Registry, dir string) {
	t.Helper()
	r, dir = registry(t), t.TempDir()
	configure(t, map[string]string{"registries.d/0.yaml": attachmentsOn + "  lookaside: file://" + dir + "\n"})
	return r, dir
}

// signedBy is a requirement with keyrings.
func signedBy(identity object, files ...string) object {
	o := object{"type": policyjson.SignedBy, "keyType": "GPGKeys", "keyPaths": files}
	if identity != nil {
		o["signedIdentity"] = identity
	}
	return o
}

func TestSimpleSignatures(t *testing.T) {
	r, _ := lookaside(t)
	old := &packet.Config{Time: func() time.Time { return time.Now().AddDate(-1, 0, 0) }, KeyLifetimeSecs: 3600}
	me, other, expired := newPerson(t, nil), newPerson(t, nil), newPerson(t, old)
	sub := newPerson(t, nil)
	if err := sub.key.AddSigningSubkey(&packet.Config{Algorithm: packet.PubKeyAlgoEdDSA}); err != nil {
		t.Fatal(err)
	}
	var ring bytes.Buffer
	if err := sub.key.Serialize(&ring); err != nil {
		t.Fatal(err)
	}
	write(t, sub.file, ring.String())
	both := filepath.Join(t.TempDir(), "both.gpg")
	write(t, both, string(other.ring)+string(me.ring))
	var armored bytes.Buffer
	w, err := armor.Encode(&armored, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(me.ring); errors.Join(err, w.Close()) != nil {
		t.Fatal(err)
	}
	ascii := filepath.Join(t.TempDir(), "key.asc")
	write(t, ascii, armored.String())

	publish(t, r, repository, "2", "")
	doc := publish(t, r, repository, "1", "")
	good := simplePayload(t, name+":1", doc.Digest)
	flipped := me.sign(t, good, nil)
	flipped[len(flipped)/2] ^= 1
	for _, c := range []struct {
		name       string
		signatures [][]byte
		asked      string
		req        object
		signer     string
		says       string
	}{
		{"good", [][]byte{me.sign(t, good, nil)}, ":1", signedBy(nil, me.file), me.fingerprint() + " (" + me.file + ")", ""},
		{"compressed", [][]byte{compress(t, bytes.NewReader(me.sign(t, good, nil)))}, ":1", signedBy(nil, me.file),
			me.fingerprint() + " (" + me.file + ")", ""},
		{"by the digest", [][]byte{me.sign(t, good, nil)}, "@" + doc.Digest.String(), signedBy(nil, me.file),
			me.fingerprint() + " (" + me.file + ")", ""},
		{"one of two keyrings", [][]byte{me.sign(t, good, nil)}, ":1", signedBy(nil, other.file, me.file),
			me.fingerprint() + " (" + me.file + ")", ""},
		{"one of two keys in a keyring", [][]byte{me.sign(t, good, nil)}, ":1", signedBy(nil, both),
			me.fingerprint() + " (" + both + ")", ""},
		{"a keyring in ASCII", [][]byte{me.sign(t, good, nil)}, ":1", signedBy(nil, ascii),
			me.fingerprint() + " (" + ascii + ")", ""},
		{"a keyring in the policy", [][]byte{me.sign(t, good, nil)}, ":1", object{"type": policyjson.SignedBy,
			"keyType": "GPGKeys",
			"keyData": me.ring}, me.fingerprint() + " (a key in the policy)", ""},
		{"by a subkey", [][]byte{sub.sign(t, good, nil)}, ":1", signedBy(nil, sub.file),
			sub.fingerprint() + " (" + sub.file + ")", ""},
		{"the second is good", [][]byte{other.sign(t, good, nil), me.sign(t, good, nil)}, ":1", signedBy(nil, me.file),
			me.fingerprint() + " (" + me.file + ")", ""},
		{"another key", [][]byte{other.sign(t, good, nil)}, ":1", signedBy(nil, me.file), "", "not found"},
		{"another tag", [][]byte{me.sign(t, good, nil)}, ":2", signedBy(nil, me.file), "", "genuine, but for " + name + ":1"},
		{"another tag, as the rule allows", [][]byte{me.sign(t, good, nil)}, ":2", signedBy(anyTag, me.file),
			me.fingerprint() + " (" + me.file + ")", ""},
		{"another digest", [][]byte{me.sign(t, simplePayload(t, name+":1", digest.FromString("x")), nil)}, ":1",
			signedBy(nil, me.file), "", "another digest"},
		{"an expired key", [][]byte{expired.sign(t, good, old)}, ":1", signedBy(nil, expired.file), "", "expired"},
		{"the payload of an attachment", [][]byte{me.sign(t, payload(t, name+":1", doc.Digest), nil)}, ":1",
			signedBy(nil, me.file), "", "JSON object expected"},
		{"a flipped bit", [][]byte{flipped}, ":1", signedBy(nil, me.file), "", "signature"},
		{"none", nil, ":1", signedBy(nil, me.file), "", "there is no signature at file:///"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			configure(t, map[string]string{"registries.d/0.yaml": "default-docker:\n  lookaside: file://" + dir + "\n"})
			store(t, dir, doc.Digest, c.signatures...)
			s, err := evaluate(t, docker(name+c.asked), rule(t, c.req), doc)
			if theirs := libraryAccepts(t, docker(name+c.asked), c.req, doc); theirs != (err == nil) {
				t.Errorf("the library accepts is %v", theirs)
			}
			if s.Signer != c.signer || (err == nil) != (c.signer != "") {
				t.Fatalf("got %+v, %v; want %q", s, err, c.signer)
			}
			if err == nil && s.Kind != oci.SignedSimple {
				t.Errorf("got %+v", s)
			}
			if err != nil {
				if refused := refusal(t, err); refused.Unsigned() != (c.signatures == nil) || !strings.Contains(err.Error(),
					c.says) {
					t.Errorf("unsigned is %v, %v; it has to say %q", refused.Unsigned(), err, c.says)
				}
			}
		})
	}
}

func TestSimpleSignaturesOfOneKindOnly(t *testing.T) {
	r, dir := lookaside(t)
	me, k := newPerson(t, nil), newPair(t)
	doc := publish(t, r, repository, "1", "")
	store(t, dir, doc.Digest, me.sign(t, simplePayload(t, name+":1", doc.Digest), nil))
	_, err := evaluate(t, docker(name+":1"), rule(t, by(anyTag, k)), doc)
	if !refusal(t, err).Unsigned() {
		t.Errorf("a simple signature where an attachment is asked for: %v", err)
	}
	attach(t, r, repository, doc.Digest, many(5000, k.sign(t, payload(t, name, doc.Digest)))...)
	if _, err = evaluate(t, docker(name+":1"), rule(t, signedBy(nil, me.file)), doc); err != nil {
		t.Errorf("beside thousands of attachments: %v", err)
	}
	_, err = evaluate(t, docker(name+":1"), rule(t, signedBy(nil, newPerson(t, nil).file)), doc)
	if len(refusal(t, err).Found) != 1 {
		t.Errorf("an attachment where a simple signature is asked for: %v", err)
	}
}

func TestSimpleSignaturesOverHTTP(t *testing.T) {
	r := registry(t)
	me := newPerson(t, nil)
	doc := publish(t, r, repository, "1", "")
	dir := t.TempDir()
	store(t, dir, doc.Digest, me.sign(t, simplePayload(t, name+":1", doc.Digest), nil))
	s := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(s.Close)
	configure(t, map[string]string{"registries.d/0.yaml": "default-docker: {lookaside: \"" + s.URL + "\"}"})
	if _, err := evaluate(t, docker(name+":1"), rule(t, signedBy(nil, me.file)), doc); err != nil {
		t.Error(err)
	}
	for path, answer := range map[string]http.HandlerFunc{
		"an endless signature": endless("application/octet-stream"),
		"endless signatures": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(newPerson(t, nil).sign(t, simplePayload(t, name+":1", doc.Digest), nil))
		},
		"an error": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"garbage":  text("text/html", "<html>"),
	} {
		t.Run(path, func(t *testing.T) {
			s := httptest.NewServer(answer)
			t.Cleanup(s.Close)
			configure(t, map[string]string{"registries.d/0.yaml": "default-docker: {lookaside: \"" + s.URL + "\"}"})
			_, err := evaluate(t, docker(name+":1"), rule(t, signedBy(nil, me.file)), doc)
			if _, refused := errors.AsType[*policy.RefusedError](err); err == nil || refused {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestSignaturesThatUnfoldAreNotJudged(t *testing.T) {
	r, dir := lookaside(t)
	me := newPerson(t, nil)
	doc := publish(t, r, repository, "1", "")
	bomb := compress(t, bytes.NewReader(me.sign(t, make([]byte, 32<<20), nil)))
	nested := bomb
	for range 10 {
		nested = compress(t, bytes.NewReader(nested))
	}
	good := me.sign(t, simplePayload(t, name+":1", doc.Digest), nil)
	deep := good
	for range 10 {
		deep = compress(t, bytes.NewReader(deep))
	}
	store(t, dir, doc.Digest, bomb, nested, deep, append(bytes.Clone(good), bomb...),
		append(bytes.Clone(good), make([]byte, 2<<20)...), good)
	before := allocated()
	_, err := evaluate(t, docker(name+":1"), rule(t, signedBy(nil, newPerson(t, nil).file)), doc)
	for i, f := range refusal(t, err).Found[:5] {
		if !strings.Contains(f.Reason, "more than 1.0\u00a0MB") {
			t.Errorf("%d: %s", i, f.Reason)
		}
	}
	if _, err := evaluate(t, docker(name+":1"), rule(t, signedBy(nil, me.file)), doc); err != nil {
		t.Errorf("the good one among them: %v", err)
	}
	if used := allocated() - before; used > 100<<20 {
		t.Errorf("%d MiB were allocated", used>>20)
	}
}

func TestSignaturesInADirectoryThatAreNotFilesAreRefused(t *testing.T) {
	configure(t, nil)
	raw := []byte(`{"schemaVersion":2}`)
	doc := oci.Document{Raw: raw, MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(raw)}
	for _, name := range []string{"manifest.json", "signature-1"} {
		dir := t.TempDir()
		if name != "manifest.json" {
			write(t, filepath.Join(dir, "manifest.json"), string(raw))
		}
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
		ref := imgref.ImageReference{Transport: imgref.Dir, Name: dir}
		_, err := evaluate(t, ref, rule(t, signedBy(nil, newPerson(t, nil).file)), doc)
		if err == nil || !strings.Contains(err.Error(), name+" is not a regular file") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestSignaturesInADirectory(t *testing.T) {
	configure(t, nil)
	me, k := newPerson(t, nil), newPair(t)
	manifest := func(note string) oci.Document {
		raw := []byte(`{"schemaVersion":2,"note":"` + note + `"}`)
		return oci.Document{Raw: raw, MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(raw)}
	}
	top, member := manifest("top"), manifest("member")
	dir := t.TempDir()
	ref := imgref.ImageReference{Transport: imgref.Dir, Name: dir}
	attached := k.sign(t, payload(t, name, member.Digest))
	chunk, err := json.Marshal(object{"mimeType": attachmentType, "payload": attached.payload,
		"annotations": attached.annotations})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "manifest.json"), string(top.Raw))
	write(t, filepath.Join(dir, "signature-1"), string(me.sign(t, simplePayload(t, name+":1", top.Digest), nil)))
	write(t, filepath.Join(dir, member.Digest.Encoded()+".signature-1"), "\x00sigstore-json\n"+string(chunk))
	bySimple, byKey := signedBy(exactRepository(name), me.file), by(exactRepository(name), k)
	for _, c := range []struct {
		name     string
		doc      oci.Document
		req      object
		accept   bool
		unsigned bool
	}{
		{"what was copied, by its simple signature", top, bySimple, true, false},
		{"what was copied, by an attachment", top, byKey, false, true},
		{"a member, by its attachment", member, byKey, true, false},
		{"a member, by a simple signature", member, bySimple, false, true},
		{"a directory has no name to compare with", top, signedBy(nil, me.file), false, false},
		{"something else", manifest("else"), bySimple, false, true},
	} {
		_, err := evaluateAlone(t, ref, rule(t, c.req).Rule, c.doc)
		if (err == nil) != c.accept || (err != nil && refusal(t, err).Unsigned() != c.unsigned) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
	for i := range 130 {
		write(t, filepath.Join(dir, fmt.Sprintf("signature-%d", i+1)), "x")
	}
	if _, err := evaluate(t, ref, rule(t, bySimple), top); !errors.Is(err, policy.ErrTooMany) {
		t.Errorf("130 signatures: %v", err)
	}
	write(t, filepath.Join(dir, "signature-1"), strings.Repeat("x", 2<<20))
	if _, err := evaluate(t, ref, rule(t, bySimple), top); !errors.Is(err, policy.ErrTooMany) {
		t.Errorf("a large signature: %v", err)
	}
	write(t, filepath.Join(dir, "signature-1"), "neither")
	if _, err := evaluate(t, ref, rule(t, bySimple), top); err == nil {
		t.Error("something that is not a signature is accepted")
	}
}
