//go:build interop

package frontend_test

import (
	"archive/tar"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// pushText pushes an image with one file, /text, and returns its name.
func pushText(t testing.TB, repository, text string) string {
	t.Helper()
	if err := pushImage(repository, textImage(t, text)); err != nil {
		t.Fatal(err)
	}
	return env.host + "/" + repository
}

func textImage(t testing.TB, text string) v1.Image {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	err := w.WriteHeader(&tar.Header{Name: "text", Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg})
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buf.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	img, err := baseImage(layer)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// signers are the keys 1 and 2 of the tests.
var signers = sync.OnceValue(func() [2]*ecdsa.PrivateKey {
	var keys [2]*ecdsa.PrivateKey
	for i := range keys {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		keys[i] = k
	}
	return keys
})

// publicKey returns the public key 1 or 2 in PEM form.
func publicKey(t testing.TB, n int) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(signers()[n-1].Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// attach signs an image with key 1 or 2, beside the signatures that it has, for a reference.
func attach(t testing.TB, image string, n int, signedAs string) {
	t.Helper()
	ref, err := name.ParseReference(image)
	if err != nil {
		t.Fatal(err)
	}
	attachBy(t, ref, signedAs, func(payload []byte) ([]byte, map[string]string, error) {
		sum := sha256.Sum256(payload)
		signature, err := signers()[n-1].Sign(rand.Reader, sum[:], crypto.SHA256)
		return signature, map[string]string{}, err
	})
}

// attachBy signs an image for a reference, beside the signatures that it has. sign returns the signature of a payload
// and more annotations.
func attachBy(
	t testing.TB, ref name.Reference, signedAs string, sign func([]byte) ([]byte, map[string]string, error),
) {
	t.Helper()
	desc, err := remote.Head(ref)
	if err != nil {
		t.Fatal(err)
	}
	payload := fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":%q},"image":{"docker-manifest-digest":%q},`+
		`"type":"cosign container image signature"},"optional":null}`, signedAs, desc.Digest)
	signature, annotations, err := sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	annotations["dev.cosignproject.cosign/signature"] = base64.StdEncoding.EncodeToString(signature)
	tag := ref.Context().Tag("sha256-" + desc.Digest.Hex + ".sig")
	signatures, err := remote.Image(tag)
	if err != nil {
		signatures = mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	}
	signatures, err = mutate.Append(signatures, mutate.Addendum{
		Layer:       static.NewLayer(payload, "application/vnd.dev.cosign.simplesigning.v1+json"),
		Annotations: annotations,
	})
	if err == nil {
		err = remote.Write(tag, signatures)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// signImage signs an image in the tests' registry with key 1 or 2, for its tag latest.
func signImage(t testing.TB, image string, n int) {
	t.Helper()
	attach(t, image, n, image+":latest")
}

// trusting gives a build a policy as the named context trust. Keys 1 and 2 are in it as key1.pub and key2.pub.
func trusting(t testing.TB, r request, policy string) request {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "policy.json"), policy)
	for n := 1; n <= 2; n++ {
		writeFile(t, filepath.Join(dir, fmt.Sprintf("key%d.pub", n)), publicKey(t, n))
	}
	r.opts = append(r.opts, "build-arg:OSTREE_EXT_VERIFY=trust", "context:trust=local:trust")
	r.args = append(r.args, "--local=trust="+dir)
	return r
}

// policyOf returns a policy that refuses all images but those of the tests' registry, which has these requirements.
func policyOf(requirements ...string) string {
	return fmt.Sprintf(`{"default":[{"type":"reject"}],"transports":{"docker":{%q:[%s]}}}`, env.host,
		strings.Join(requirements, ","))
}

const byKey1 = `{"type":"sigstoreSigned","keyPath":"key1.pub"}`

// refusedBuild is a build that fails, and says why.
func refusedBuild(t *testing.T, d *daemon, r request, says ...string) {
	t.Helper()
	r.output = "type=local,dest=" + filepath.Join(t.TempDir(), "out")
	out, err := d.try(t.Context(), t, r)
	if err == nil {
		t.Fatalf("the build worked:\n%s", out)
	}
	// Only the last lines are the error.
	message := out[max(0, strings.LastIndex(out, "error: failed to solve")):]
	for _, s := range says {
		if !strings.Contains(message, s) {
			t.Errorf("the error does not say %q:\n%s", s, out)
		}
	}
	if strings.Contains(out, "splitting into layers") {
		t.Errorf("the image was split all the same:\n%s", out)
	}
	if testing.Verbose() {
		t.Log(message)
	}
}

// acceptedBuild returns the content of /text in the result of a build, and what was printed.
func acceptedBuild(t *testing.T, d *daemon, r request) (text, out string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	r.output = "type=local,dest=" + dir
	out = d.build(t, r)
	data, err := os.ReadFile(filepath.Join(dir, "text"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data), out
}
