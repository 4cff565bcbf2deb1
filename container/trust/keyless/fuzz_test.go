package keyless_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/trust/keyless"
	"github.com/ostree-ext/ostree-ext-go/internal/testca"
)

// FuzzVerify changes a part of a good bundle. It must be refused, unless the payload and the certificate are still the
// same: everything else may be there in several forms. The keys differ in each process, so the input is the change and
// not the bundle.
func FuzzVerify(f *testing.F) {
	a := testca.New(f)
	v, err := keyless.New(a.Root().JSON())
	if err != nil {
		f.Fatal(err)
	}
	var bundles [][]byte
	for _, alter := range []func(*testca.Signature){
		func(*testca.Signature) {},
		func(s *testca.Signature) { s.Rekor2 = true },
		func(s *testca.Signature) { s.Timestamp, s.NoPromise = true, true },
	} {
		s := signed()
		alter(&s)
		bundles = append(bundles, a.Sign(s))
	}
	for i := range bundles {
		f.Add(uint8(i), uint16(0), uint16(0), []byte(nil))
		f.Add(uint8(i), uint16(100), uint16(1), []byte("A"))
		f.Add(uint8(i), uint16(0), uint16(1), []byte(`{"tlogEntries":[],`))
		f.Add(uint8(i), uint16(5000), uint16(60000), []byte(`"}`))
	}
	f.Fuzz(func(t *testing.T, which uint8, at, drop uint16, with []byte) {
		before := bundles[int(which)%len(bundles)]
		begin := int(at) % len(before)
		end := min(begin+int(drop), len(before))
		text := slices.Concat(before[:begin], with, before[end:])
		found, err := v.Verify(text, image, []keyless.Identity{byMain})
		if bytes.Equal(text, before) && err != nil {
			t.Errorf("refused: %v", err)
		}
		if err == nil && (found.Identity != workflow || found.At.IsZero() || core(t, text) != core(t, before)) {
			t.Errorf("accepted as %+v: %s", found, text)
		}
	})
}

// core returns what is signed in a bundle, and by which certificate.
func core(t testing.TB, text []byte) string {
	t.Helper()
	var b testca.Bundle
	if err := json.Unmarshal(text, &b); err != nil || b.DSSEEnvelope == nil || b.VerificationMaterial.Certificate == nil {
		t.Fatalf("%v: %s", err, text)
	}
	return string(b.DSSEEnvelope.Payload) + string(b.VerificationMaterial.Certificate.RawBytes)
}
