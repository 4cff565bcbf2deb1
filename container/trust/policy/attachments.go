//go:build containers_image_openpgp

package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

const (
	// maxAttachments is the number of attachments above which none is judged. The library has no such limit.
	maxAttachments = 1000
	// maxPayload is the size of an attachment above which it is not judged, and maxPayloads that of all together.
	maxPayload  = 1 << 20
	maxPayloads = 8 << 20
	// maxTime is how long reading the signatures of one document may take.
	maxTime = 2 * time.Minute
	// attempts is how often a request is tried if it fails for a transient reason.
	attempts = 4

	attachmentType        = "application/vnd.dev.cosign.simplesigning.v1+json"
	certificateAnnotation = "dev.sigstore.cosign/certificate"
)

// attachment is a signature below the tag of a document, as the library stores it in files.
type attachment struct {
	MediaType   string            `json:"mimeType"`
	Payload     []byte            `json:"payload"`
	Annotations map[string]string `json:"annotations"`

	problem string
}

// attachmentTag returns the tag of the attachments of a document.
func attachmentTag(d digest.Digest) string {
	return d.Algorithm().String() + "-" + d.Encoded() + ".sig"
}

// attachments reads the attachments of a document from the first place of the image that has some.
func (i *Image) attachments(ctx context.Context, d digest.Digest) (found []attachment, looked []string, others int,
	err error,
) {
	conf, err := ReadRegistries()
	if err != nil {
		return nil, nil, 0, err
	}
	endpoints, err := i.opts.Endpoints(i.ref.Name)
	if err != nil {
		return nil, nil, 0, err
	}
	var failed error
	for _, e := range endpoints {
		wanted, err := conf.attachments(physical(e, i.ref.Name))
		if err != nil {
			return nil, nil, 0, err
		}
		if !wanted {
			continue
		}
		found, others, err := readAttachments(ctx, e, d)
		if err == nil && (len(found) > 0 || others > 0) {
			return found, []string{e.String() + ":" + attachmentTag(d)}, others, nil
		}
		if errors.Is(err, ErrTooMany) || ctx.Err() != nil {
			return nil, nil, 0, err
		}
		failed = err // of the last place, which is the registry
		if err == nil {
			looked = append(looked, e.String()+":"+attachmentTag(d))
		}
	}
	if failed != nil {
		return nil, nil, 0, fmt.Errorf("reading the signatures of %s: %w", i.ref, failed)
	}
	return nil, looked, 0, nil
}

// readAttachments reads the attachments of a document at an endpoint. There may be none.
func readAttachments(ctx context.Context, e *access.Endpoint, d digest.Digest) (found []attachment, others int,
	err error,
) {
	var r *access.Reader
	if err := retry(ctx, func() (err error) { r, err = e.Connect(ctx); return err }); err != nil {
		return nil, 0, err
	}
	defer r.Close()
	manifest, err := readManifest(ctx, r, attachmentTag(d))
	if err != nil || manifest == nil {
		return nil, 0, err
	}
	var layers []ocispec.Descriptor
	for _, l := range manifest.Layers {
		if l.MediaType == attachmentType {
			layers = append(layers, l)
		} else {
			others++
		}
	}
	if len(layers) > maxAttachments {
		return nil, 0, fmt.Errorf("%w: %s:%s has %d, and at most %d are judged", ErrTooMany, e, attachmentTag(d),
			len(layers), maxAttachments)
	}
	total := int64(0)
	blobs := map[digest.Digest][]byte{}
	for _, l := range layers {
		a := attachment{MediaType: l.MediaType, Annotations: l.Annotations}
		var ok bool
		if a.Payload, ok = blobs[l.Digest]; !ok {
			if a.Payload, a.problem, err = readPayload(ctx, r, l); err != nil {
				return nil, 0, err
			}
			if total += int64(len(a.Payload)); total > maxPayloads {
				return nil, 0, fmt.Errorf("%w: those at %s:%s have more than %s together", ErrTooMany, e,
					attachmentTag(d), sizes.Format(maxPayloads))
			}
			if a.problem == "" {
				blobs[l.Digest] = a.Payload
			}
		}
		found = append(found, a)
	}
	return found, others, nil
}

// readManifest reads the manifest that a tag names, and returns nil if there is none.
func readManifest(ctx context.Context, r *access.Reader, tag string) (*ocispec.Manifest, error) {
	data, contentType, err := get(ctx, r, "manifests/"+tag, oci.MaxManifestSize)
	if status, ok := errors.AsType[*access.StatusError](err); ok && status.Code == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if kind, _, err := mime.ParseMediaType(contentType); err != nil || kind != ocispec.MediaTypeImageManifest {
		return nil, fmt.Errorf("the signatures below the tag %s are not in a manifest of OCI, but in a %.80q", tag,
			contentType)
	}
	manifest := &ocispec.Manifest{}
	if err := json.Unmarshal(data, manifest); err != nil {
		return nil, fmt.Errorf("the manifest of the signatures: %w", err)
	}
	return manifest, nil
}

// readPayload reads the blob of an attachment. A problem concerns this attachment alone.
func readPayload(ctx context.Context, r *access.Reader, l ocispec.Descriptor) (data []byte, problem string, err error) {
	if l.Digest.Validate() != nil || l.Digest.Algorithm() != digest.SHA256 {
		return nil, "the digest of its payload is not one with sha256", nil
	}
	if l.Size > maxPayload {
		return nil, fmt.Sprintf("its payload has %s, more than %s", sizes.Format(l.Size), sizes.Format(maxPayload)), nil
	}
	data, _, err = get(ctx, r, "blobs/"+l.Digest.String(), maxPayload)
	status, answered := errors.AsType[*access.StatusError](err)
	switch {
	case answered && status.Code == http.StatusNotFound:
		return nil, "its payload is missing", nil
	case errors.Is(err, errLarge):
		return nil, fmt.Sprintf("its payload has more than %s", sizes.Format(maxPayload)), nil
	case err == nil && digest.FromBytes(data) != l.Digest:
		return nil, "its payload does not have the digest that is recorded", nil
	}
	return data, "", err
}

var errLarge = errors.New("the answer is too large")

// get reads an answer of a registry to its end.
func get(ctx context.Context, r *access.Reader, path string, limit int64) (data []byte, contentType string, err error) {
	err = retry(ctx, func() error {
		res, err := r.Get(ctx, path, http.Header{"Accept": {ocispec.MediaTypeImageManifest, "*/*"}})
		if err != nil {
			return err
		}
		defer res.Body.Close()
		contentType = res.Header.Get("Content-Type")
		if data, err = io.ReadAll(io.LimitReader(res.Body, limit+1)); err == nil && int64(len(data)) > limit {
			err = errLarge
		}
		return err
	})
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return data, contentType, err
}

// retry calls f again if it failed for a reason that may be gone in a moment.
func retry(ctx context.Context, f func() error) error {
	pause := 250 * time.Millisecond
	for n := 1; ; n++ {
		err := f()
		if err == nil || n == attempts || ctx.Err() != nil || !transient(err) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
		pause *= 2
	}
}

func transient(err error) bool {
	if status, ok := errors.AsType[*access.StatusError](err); ok {
		return status.Busy()
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}
