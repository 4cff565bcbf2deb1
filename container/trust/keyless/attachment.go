package keyless

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/sign"
)

// Annotations of a signature that is attached to an image, besides that with the signature itself, see
// https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md.
const (
	certificateAnnotation = "dev.sigstore.cosign/certificate"
	chainAnnotation       = "dev.sigstore.cosign/chain"
	logAnnotation         = "dev.sigstore.cosign/bundle"
)

// ErrNoPromise is wrapped by errors about logs that do not promise an entry at once, so that no attachment can be made.
var ErrNoPromise = errors.New("attachments need a log of version 1 (Rekor 1), which promises each entry: " +
	"sign a bundle with --sign-format=bundle instead")

// SignPayload signs the payload of an attachment, with a key that is made for it and thrown away. It returns the
// signature and the annotations that prove who signed and when: the certificate, the certificates above it, and the
// promise of the log. [SignOptions.Verifier] is not used. The identity becomes public, as with [Sign].
func SignPayload(ctx context.Context, payload []byte, o SignOptions) ([]byte, map[string]string, error) {
	if err := checkToken(o.Token); err != nil {
		return nil, nil, err
	}
	who, chain, err := selectForAttachments(ctx, o)
	if err != nil {
		return nil, nil, fmt.Errorf("the configuration for signing: %w", err)
	}
	key, err := sign.NewEphemeralKeypair(nil)
	if err != nil {
		return nil, nil, err
	}
	made, err := sign.Bundle(&sign.PlainData{Data: payload}, key, *who)
	if err != nil {
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		return nil, nil, fmt.Errorf("signing: %s", plain(err))
	}
	above, err := chain.above()
	if err != nil {
		return nil, nil, fmt.Errorf("the certificate authority: %w", err)
	}
	promised, err := promise(made.GetVerificationMaterial().GetTlogEntries())
	if err != nil {
		return nil, nil, err
	}
	leaf := pem.EncodeToMemory(&pem.Block{
		Type: "CERTIFICATE", Bytes: made.GetVerificationMaterial().GetCertificate().GetRawBytes(),
	})
	return made.GetMessageSignature().GetSignature(), map[string]string{
		certificateAnnotation: string(leaf), chainAnnotation: string(above), logAnnotation: string(promised),
	}, nil
}

// promise returns what the log promised, in the form of an annotation.
func promise(entries []*protorekor.TransparencyLogEntry) ([]byte, error) {
	type payload struct {
		Body           []byte `json:"body"`
		IntegratedTime int64  `json:"integratedTime"`
		LogIndex       int64  `json:"logIndex"`
		LogID          string `json:"logID"`
	}
	for _, e := range entries {
		if len(e.GetInclusionPromise().GetSignedEntryTimestamp()) == 0 {
			continue
		}
		return json.Marshal(struct {
			SignedEntryTimestamp []byte
			Payload              payload
		}{e.GetInclusionPromise().GetSignedEntryTimestamp(), payload{
			e.GetCanonicalizedBody(), e.GetIntegratedTime(), e.GetLogIndex(), hex.EncodeToString(e.GetLogId().GetKeyId()),
		}})
	}
	return nil, ErrNoPromise
}

// chained is a transport that keeps the answer of the certificate authority: the library returns the first certificate
// alone, and those who verify an attachment need the ones above it.
type chained struct {
	next http.RoundTripper

	mu     sync.Mutex
	answer []byte
}

// RoundTrip implements [http.RoundTripper].
func (c *chained) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(data))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = data
	return resp, nil
}

// above returns the certificates above the first as PEM, the root last. There is at least one.
func (c *chained) above() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	type chain struct {
		Chain struct{ Certificates []string }
	}
	var answer struct{ SignedCertificateEmbeddedSct, SignedCertificateDetachedSct chain }
	if err := json.Unmarshal(c.answer, &answer); err != nil {
		return nil, err
	}
	list := answer.SignedCertificateEmbeddedSct.Chain.Certificates
	if len(list) == 0 {
		list = answer.SignedCertificateDetachedSct.Chain.Certificates
	}
	var out []byte
	for _, text := range list[min(1, len(list)):] {
		block, _ := pem.Decode([]byte(text))
		if block == nil || block.Type != "CERTIFICATE" {
			return nil, errors.New("its answer has a certificate that is not PEM")
		}
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes})...)
	}
	if out == nil {
		return nil, errors.New("its answer has no certificate of an authority")
	}
	return out, nil
}
