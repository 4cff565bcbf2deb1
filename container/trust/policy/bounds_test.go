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
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/trust/policy"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/sigstorefixture"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// hostile is a registry that answers requests for some paths below a repository as it likes, and others with 404.
type hostile map[string]http.HandlerFunc

func (h hostile) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	path := strings.TrimPrefix(req.URL.Path, "/v2/"+repository+"/")
	switch answer := h[path]; {
	case answer != nil:
		answer(w, req)
	case req.URL.Path == "/v2/":
		w.WriteHeader(http.StatusOK)
	default:
		http.Error(w, "nothing is there", http.StatusNotFound)
	}
}

func (h hostile) start(t *testing.T) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	configure(t, map[string]string{"registries.d/0.yaml": attachmentsOn})
	sigstorefixture.RegistriesConf(t, &testreg.Registry{Host: strings.TrimPrefix(s.URL, "http://")})
}

// endless answers with as much as is read.
func endless(contentType string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		block := bytes.Repeat([]byte(" "), 1<<16)
		for {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}
}

func text(contentType, content string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, content)
	}
}

func manifestOf(t *testing.T, layers ...ocispec.Descriptor) string {
	t.Helper()
	data, err := json.Marshal(ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Layers: layers})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestThousandsOfSignaturesAreNotJudged(t *testing.T) {
	r := registry(t)
	k := newPair(t)
	doc := publish(t, r, repository, "1", "")
	good := k.sign(t, payload(t, name, doc.Digest))
	for _, c := range []struct {
		name string
		list []layer
		want error
	}{
		{"as many as there may be", many(1000, good), nil},
		{"one more", many(1001, good), policy.ErrTooMany},
		{"thousands", many(5000, good), policy.ErrTooMany},
		{"thousands of something else, and a signature", append(many(5000, layer{payload: []byte("x"),
			mediaType: "text/plain"}),
			good), nil},
	} {
		attach(t, r, repository, doc.Digest, c.list...)
		if _, err := evaluate(t, docker(name), rule(t, by(anyTag, k)), doc); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

func TestEachPayloadIsFetchedOnce(t *testing.T) {
	r := registry(t)
	doc := publish(t, r, repository, "1", "")
	attach(t, r, repository, doc.Digest, many(500, newPair(t).sign(t, payload(t, name, doc.Digest)))...)
	before := r.BlobsSent()
	_, err := evaluateAlone(t, docker(name), rule(t, by(anyTag, newPair(t))).Rule, doc)
	if refused := refusal(t, err); len(refused.Found) != 500 || len(refused.Error()) > 1000 {
		t.Errorf("%d signatures, and the error is %d bytes long", len(refused.Found), len(refused.Error()))
	}
	if sent := r.BlobsSent() - before; sent != 1 {
		t.Errorf("%d payloads were fetched", sent)
	}
}

func TestHugeAnswersAreNotKept(t *testing.T) {
	doc := oci.Document{Raw: []byte("{}"), MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("{}")}
	tag := "manifests/" + attachmentTag(doc.Digest)
	desc := func(size int64) ocispec.Descriptor {
		return ocispec.Descriptor{MediaType: attachmentType, Digest: digest.FromString("x"), Size: size}
	}
	blob := "blobs/" + digest.FromString("x").String()
	var each []ocispec.Descriptor
	all := hostile{}
	for i := range 20 {
		data := fmt.Sprint(i) + strings.Repeat("x", 1<<20-100)
		d := digest.FromString(data)
		each = append(each, ocispec.Descriptor{MediaType: attachmentType, Digest: d, Size: int64(len(data))})
		all["blobs/"+d.String()] = text("application/octet-stream", data)
	}
	all[tag] = text(ocispec.MediaTypeImageManifest, manifestOf(t, each...))
	for _, c := range []struct {
		name    string
		answers hostile
		says    string
	}{
		{"an endless manifest", hostile{tag: endless(ocispec.MediaTypeImageManifest)}, "too large"},
		{"an endless payload", hostile{tag: text(ocispec.MediaTypeImageManifest, manifestOf(t, desc(1))),
			blob: endless("application/octet-stream")}, "payload has more than"},
		{"a payload that says it is large", hostile{tag: text(ocispec.MediaTypeImageManifest, manifestOf(t, desc(1<<40)))},
			"payload has 1.1\u00a0TB"},
		{"many large payloads", all, "too many signatures"},
		{"not a manifest", hostile{tag: text("text/html", "<html>")}, "text/html"},
		{"an index", hostile{tag: text(ocispec.MediaTypeImageIndex, "{}")}, "image.index"},
		{"no JSON", hostile{tag: text(ocispec.MediaTypeImageManifest, "{")}, "JSON"},
		{"refused", hostile{tag: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }},
			"403 Forbidden"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.answers.start(t)
			before := allocated()
			_, err := evaluateAlone(t, docker(name), rule(t, by(anyTag, newPair(t))).Rule, doc)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v; want an error that says %q", err, c.says)
			}
			if used := allocated() - before; used > 200<<20 {
				t.Errorf("%d MiB were allocated", used>>20)
			}
		})
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func TestServersThatAreBusyAreAskedAgain(t *testing.T) {
	k := newPair(t)
	doc := oci.Document{Raw: []byte("{}"), MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("{}")}
	good := k.sign(t, payload(t, name, doc.Digest))
	n := 0
	hostile{
		"manifests/" + attachmentTag(doc.Digest): func(w http.ResponseWriter, req *http.Request) {
			if n++; n == 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			text(ocispec.MediaTypeImageManifest, manifestOf(t, ocispec.Descriptor{MediaType: attachmentType,
				Digest: digest.FromBytes(good.payload), Size: 1, Annotations: good.annotations}))(w, req)
		},
		"blobs/" + digest.FromBytes(good.payload).String(): text("application/octet-stream", string(good.payload)),
	}.start(t)
	if _, err := evaluate(t, docker(name), rule(t, by(anyTag, k)), doc); err != nil {
		t.Error(err)
	}
}

func TestWaitingForSignaturesEndsWithTheContext(t *testing.T) {
	doc := oci.Document{Raw: []byte("{}"), MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("{}")}
	asked := make(chan struct{})
	hostile{"manifests/" + attachmentTag(doc.Digest): func(_ http.ResponseWriter, req *http.Request) {
		close(asked)
		<-req.Context().Done()
	}}.start(t)
	ctx, cancel := contextOf(t)
	img, err := policy.Open(ctx, docker(name), access.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	go func() {
		<-asked
		cancel()
	}()
	if _, err := img.Evaluate(ctx, rule(t, by(anyTag, newPair(t))).Requirements[0], "", doc); !errors.Is(err, errStop) {
		t.Errorf("got %v", err)
	}
}
