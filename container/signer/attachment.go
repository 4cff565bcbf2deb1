package signer

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/trust/bundle"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// What cosign's specification of signatures says.
const (
	payloadMediaType    = "application/vnd.dev.cosign.simplesigning.v1+json"
	payloadType         = "cosign container image signature"
	signatureAnnotation = "dev.cosignproject.cosign/signature"
)

// maxAttachments is how many layers an attachment may have.
const maxAttachments = oci.MaxLayers

// ErrForeignTag is wrapped by errors about a tag for signatures that has something else.
var ErrForeignTag = errors.New("something else is there, which is not replaced")

// attachmentTag returns the tag of the attachment of a document.
func attachmentTag(d digest.Digest) string { return bundle.FallbackTag(d) + ".sig" }

// payload returns what a signature in an attachment is of. It is the same each time.
func payload(name string, d digest.Digest) ([]byte, error) {
	var p struct {
		Critical struct {
			Identity struct {
				Reference string `json:"docker-reference"`
			} `json:"identity"`
			Image struct {
				Digest digest.Digest `json:"docker-manifest-digest"`
			} `json:"image"`
			Type string `json:"type"`
		} `json:"critical"`
		Optional map[string]string `json:"optional"`
	}
	p.Critical.Identity.Reference, p.Critical.Image.Digest, p.Critical.Type = name, d, payloadType
	p.Optional = map[string]string{"creator": "ostree-ext"}
	return json.Marshal(p)
}

// attach makes the signatures of a document for its attachment.
func (s *session) attach(ctx context.Context, d document) (*pending, error) {
	var layers []attached
	for _, name := range s.names.signed {
		data, err := payload(name, d.Digest)
		if err != nil {
			return nil, err
		}
		signature, annotations, err := s.signPayload(ctx, data)
		if err != nil {
			return nil, err
		}
		all := map[string]string{signatureAnnotation: base64.StdEncoding.EncodeToString(signature)}
		maps.Copy(all, annotations)
		layers = append(layers, attached{data, ocispec.Descriptor{
			MediaType: payloadMediaType, Digest: digest.FromBytes(data), Size: int64(len(data)), Annotations: all,
		}})
	}
	p := &pending{Signed: Signed{Digest: d.Digest, Index: d.index(), Format: Attachment, Tag: attachmentTag(d.Digest)}}
	p.change = &change{
		tag: p.Tag, mediaType: ocispec.MediaTypeImageManifest,
		add: func(ctx context.Context, old []byte, mediaType string) ([]byte, error) {
			return s.addLayers(ctx, old, mediaType, layers)
		},
	}
	return p, nil
}

// signPayload signs the payload of an attachment.
func (s *session) signPayload(ctx context.Context, data []byte) ([]byte, map[string]string, error) {
	if s.opts.Maker != nil {
		return s.opts.Maker.Attachment(ctx, data)
	}
	signature, err := signMessage(s.opts.Key, data)
	return signature, nil, err
}

// attached is a layer of an attachment.
type attached struct {
	payload    []byte
	descriptor ocispec.Descriptor
}

// addLayers adds those layers to an attachment that it does not have. Everything else in it stays.
func (s *session) addLayers(ctx context.Context, old []byte, mediaType string, layers []attached) ([]byte, error) {
	fields, have, err := readAttachment(old, mediaType)
	if err != nil {
		return nil, err
	}
	n := len(have)
	for _, l := range layers {
		if s.hasSignature(have, l) {
			continue
		}
		if err := s.to.Blob(ctx, static.NewLayer(l.payload, types.MediaType(payloadMediaType))); err != nil {
			return nil, err
		}
		raw, err := json.Marshal(l.descriptor)
		if err != nil {
			return nil, err
		}
		have = append(have, attachedLayer{l.descriptor, raw})
	}
	if len(have) == n {
		return nil, nil
	}
	if len(have) > maxAttachments {
		return nil, fmt.Errorf("%w: it has more than %d signatures", ErrTooMany, maxAttachments)
	}
	return s.writeAttachment(ctx, fields, have)
}

// attachedLayer is a layer that is listed in an attachment, and how it is listed there.
type attachedLayer struct {
	descriptor ocispec.Descriptor
	raw        json.RawMessage
}

// hasSignature reports whether a payload is among layers with a good signature by the same key. Without a key, it has
// to be the same signature.
func (s *session) hasSignature(layers []attachedLayer, l attached) bool {
	for _, have := range layers {
		d := have.descriptor
		if d.MediaType != payloadMediaType || d.Digest != l.descriptor.Digest {
			continue
		}
		if s.opts.Maker != nil {
			if d.Annotations[signatureAnnotation] == l.descriptor.Annotations[signatureAnnotation] {
				return true
			}
			continue
		}
		signature, err := base64.StdEncoding.DecodeString(d.Annotations[signatureAnnotation])
		if err == nil && verifyMessage(s.opts.Key.Public(), l.payload, signature) {
			return true
		}
	}
	return false
}

// readAttachment returns the fields of an attachment, and its layers. data is nil if there is none.
func readAttachment(data []byte, mediaType string) (map[string]json.RawMessage, []attachedLayer, error) {
	fields := map[string]json.RawMessage{
		"schemaVersion": json.RawMessage("2"), "mediaType": json.RawMessage(`"` + ocispec.MediaTypeImageManifest + `"`),
	}
	if data == nil {
		return fields, nil, nil
	}
	if mediaType != ocispec.MediaTypeImageManifest {
		return nil, nil, fmt.Errorf("%w: its media type is %.80q", ErrForeignTag, mediaType)
	}
	raw, err := readObject(data, fields, "layers")
	if err != nil {
		return nil, nil, err
	}
	layers := make([]attachedLayer, len(raw))
	for i, r := range raw {
		layers[i].raw = r
		if err := json.Unmarshal(r, &layers[i].descriptor); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrForeignTag, err)
		}
	}
	return fields, layers, nil
}

// readObject reads the fields of a manifest or an index, and those of a list in it.
func readObject(data []byte, fields map[string]json.RawMessage, list string) (elements []json.RawMessage, err error) {
	if err := oci.CheckManifest(data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForeignTag, err)
	}
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForeignTag, err)
	}
	if err := json.Unmarshal(fields[list], &elements); err != nil {
		return nil, fmt.Errorf("%w: it has no %s", ErrForeignTag, list)
	}
	return elements, nil
}

// writeAttachment writes the configuration of an attachment, and returns its manifest. The configuration is that of an
// image without a platform, which lists the layers and says nothing more.
func (s *session) writeAttachment(
	ctx context.Context, fields map[string]json.RawMessage, layers []attachedLayer,
) ([]byte, error) {
	var list []json.RawMessage
	config := ocispec.Image{RootFS: ocispec.RootFS{Type: "layers"}}
	for _, l := range layers {
		list = append(list, l.raw)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.descriptor.Digest)
	}
	data, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	if err := s.to.Blob(ctx, static.NewLayer(data, types.OCIConfigJSON)); err != nil {
		return nil, err
	}
	for key, value := range map[string]any{
		"layers": list,
		"config": ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(data), Size: int64(len(data)),
		},
	} {
		if fields[key], err = json.Marshal(value); err != nil {
			return nil, err
		}
	}
	return json.Marshal(fields)
}
