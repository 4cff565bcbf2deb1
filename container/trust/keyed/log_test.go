package keyed_test

import (
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/trust/keyed"
	"github.com/ostree-ext/ostree-ext-go/container/trust/pubkey"
	"github.com/ostree-ext/ostree-ext-go/internal/canonjson"
)

// promised is a signature that a log has recorded.
type promised struct {
	log                     pubkey.Key
	der, signature, payload []byte
	// entry is what the log has, and said what it promises.
	entry, said string
	// promise makes the promise for another entry.
	promise func(entry string) string
}

func newPromised(t testing.TB) promised {
	t.Helper()
	log, signer := newKey(t, elliptic.P256()), newKey(t, elliptic.P256())
	key, err := pubkey.New(log.Public())
	if err != nil {
		t.Fatal(err)
	}
	p := promised{log: key, payload: payloadFor("quay.io/os:1", image)}
	if p.der, err = x509.MarshalPKIXPublicKey(signer.Public()); err != nil {
		t.Fatal(err)
	}
	p.signature = sign(t, signer, p.payload)
	sum := sha256.Sum256(p.payload)
	p.entry = fmt.Sprintf(`{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"sha256",`+
		`"value":%q}},"signature":{"content":%q,"publicKey":{"content":%q}}}}`, hex.EncodeToString(sum[:]),
		base64Of(p.signature), base64Of(public(t, signer)))
	p.promise = func(entry string) string {
		about := fmt.Sprintf(`{"body":%q,"integratedTime":1700000000,"logID":"%064d","logIndex":7}`,
			base64Of([]byte(entry)), 0)
		return fmt.Sprintf(`{"SignedEntryTimestamp":%q,"Payload":%s}`, base64Of(sign(t, log, []byte(about))), about)
	}
	p.said = p.promise(p.entry)
	return p
}

// judge asks whether the log recorded the signature, as it is said.
func (p promised) judge(said string) error {
	_, err := keyed.Recorded([]pubkey.Key{p.log}, said, p.der, p.signature, p.payload)
	return err
}

func TestALogsEntryIsAboutTheSignature(t *testing.T) {
	t.Parallel()
	p, other := newPromised(t), newPromised(t)
	at, err := keyed.Recorded([]pubkey.Key{other.log, p.log}, p.said, p.der, p.signature, p.payload)
	if err != nil || at.Unix() != 1700000000 {
		t.Fatalf("got %v, %v", at, err)
	}
	if err := p.judge(p.promise(p.entry + " ")); err != nil {
		t.Errorf("with white space: %v", err)
	}
	changed := func(old, with string) string {
		if !strings.Contains(p.entry, old) {
			t.Fatalf("%s is not in %s", old, p.entry)
		}
		return p.promise(strings.Replace(p.entry, old, with, 1))
	}
	for what, c := range map[string]struct{ said, want string }{
		"nothing":              {"", "no log has recorded it"},
		"another log":          {other.said, "none of the logs"},
		"another signature":    {changed(base64Of(p.signature), base64Of(other.signature)), "another signature"},
		"another payload":      {changed(`"value":"`, `"value":"00`), "another payload"},
		"another hash":         {changed("sha256", "sha512"), "another payload"},
		"another kind":         {changed("hashedrekord", "dsse"), "only a hashedrekord"},
		"another version":      {changed("0.0.1", "0.0.2"), "only a hashedrekord"},
		"no version":           {changed(`"apiVersion":"0.0.1",`, ""), "only a hashedrekord"},
		"a key twice":          {changed(`"kind":`, `"kind":"hashedrekord","kind":`), "ambiguous"},
		"an unknown key":       {changed(`"kind":`, `"more":1,"kind":`), "more"},
		"no key":               {changed(`"publicKey":{"content":"`, `"publicKey":{"content":"","x":"`), ""},
		"a promise of nothing": {`{"SignedEntryTimestamp":"","Payload":{}}`, "none of the logs"},
		"a promise without it": {`{"SignedEntryTimestamp":""}`, "all of its keys"},
		"not JSON":             {"x", "not JSON"},
		"more behind":          {p.said + p.said, "something follows"},
		"too large":            {p.said + strings.Repeat(" ", 1<<20), "too large"},
	} {
		err := p.judge(c.said)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %q", what, err, c.want)
		}
	}
	if _, err := keyed.Recorded([]pubkey.Key{p.log}, p.said, other.der, p.signature, p.payload); err == nil ||
		!strings.Contains(err.Error(), "another key") {
		t.Errorf("another key: %v", err)
	}
}

// FuzzLogEntry changes what a log promises. What is accepted has the same meaning.
func FuzzLogEntry(f *testing.F) {
	p := newPromised(f)
	f.Add(uint16(0), uint16(0), []byte(nil))
	f.Add(uint16(100), uint16(1), []byte("A"))
	f.Add(uint16(1), uint16(0), []byte(`"Payload":{},`))
	f.Fuzz(func(t *testing.T, at, drop uint16, with []byte) {
		begin := int(at) % len(p.said)
		said := p.said[:begin] + string(with) + p.said[min(begin+int(drop), len(p.said)):]
		if p.judge(said) != nil {
			if said == p.said {
				t.Error("refused as it was")
			}
			return
		}
		var before, after struct{ Payload json.RawMessage }
		if err := json.Unmarshal([]byte(p.said), &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(said), &after); err != nil {
			t.Fatal(err)
		}
		want, err := canonjson.Canonicalize(before.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := canonjson.Canonicalize(after.Payload); err != nil || string(got) != string(want) {
			t.Errorf("accepted: %s, %v", got, err)
		}
	})
}
