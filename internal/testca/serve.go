package testca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
)

// Server serves an instance on loopback, with HTTPS. Config.Handler can be served elsewhere too.
type Server struct {
	// URL is the address. The parts of the instance are below /fulcio, /rekor1, /rekor2 and /tsa, and /token is where
	// GitHub Actions would ask for identity tokens, with the bearer token "request".
	URL string
	*httptest.Server

	a      *Authority
	mu     sync.Mutex
	tokens map[string]claims
	fails  map[string]failure
}

// failure is how requests are answered instead, and how many more of them.
type failure struct {
	status int
	text   string
	left   int
}

// claims are what an identity token says. Identity is not one of the standard.
type claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	Email    string `json:"email,omitempty"`
	Verified bool   `json:"email_verified,omitempty"`
	Workflow string `json:"job_workflow_ref,omitempty"`
}

// Serve starts a server that ends with the test.
func (a *Authority) Serve(t testing.TB) *Server {
	t.Helper()
	s := &Server{a: a, tokens: map[string]claims{}, fails: map[string]failure{}}
	mux := http.NewServeMux()
	for pattern, answer := range map[string]func(*http.Request) (any, int, error){
		"POST /fulcio/api/v2/signingCert": s.certificate,
		"POST /rekor1/api/v1/log/entries": s.logged1,
		"POST /rekor2/api/v2/log/entries": s.logged2,
		"POST /tsa/api/v1/timestamp":      s.stamped,
		"GET /token":                      s.token,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, req *http.Request) { s.reply(w, req, answer) })
	}
	s.Server = httptest.NewTLSServer(mux)
	t.Cleanup(s.Close)
	s.URL = s.Server.URL
	return s
}

// Fail has requests for paths that begin so be answered with a status and a text, so many times. They may be asked
// again at once.
func (s *Server) Fail(prefix string, status int, text string, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails[prefix] = failure{status, text, times}
}

func (s *Server) reply(w http.ResponseWriter, req *http.Request, answer func(*http.Request) (any, int, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for prefix, f := range s.fails {
		if f.left > 0 && strings.HasPrefix(req.URL.Path, prefix) {
			f.left--
			s.fails[prefix] = f
			w.Header().Set("Retry-After", "0")
			http.Error(w, f.text, f.status)
			return
		}
	}
	body, status, err := answer(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	data, raw := body.([]byte)
	if !raw {
		w.Header().Set("Content-Type", "application/json")
		data = encode(body)
	}
	w.WriteHeader(status)
	_, _ = w.Write(data) // the client may be gone
}

// IdentityToken returns a token that the instance believes: of a workflow, if the identity is a URI.
func (s *Server) IdentityToken(identity, issuer string) string {
	c := claims{Issuer: issuer, Subject: "subject of " + identity, Audience: "sigstore"}
	if workflow, ok := strings.CutPrefix(identity, "https://github.com/"); ok {
		c.Workflow = workflow
	} else {
		c.Email, c.Verified = identity, true
	}
	part := base64.RawURLEncoding.EncodeToString
	token := part([]byte(`{"alg":"none"}`)) + "." + part(encode(c)) + "." + part([]byte("signed"))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[token] = c
	return token
}

// token answers as GitHub does.
func (s *Server) token(req *http.Request) (any, int, error) {
	if req.Header.Get("Authorization") != "bearer request" || req.URL.Query().Get("audience") != "sigstore" ||
		req.URL.Query().Get("api-version") != "2.0" {
		return nil, 0, errors.New("the request is not authorized")
	}
	for token, c := range s.tokens {
		if c.Workflow != "" {
			return map[string]any{"count": 1, "value": token}, http.StatusOK, nil
		}
	}
	return nil, 0, errors.New("there is no token")
}

// certificate answers as Fulcio does: https://github.com/sigstore/fulcio/blob/main/fulcio.proto.
func (s *Server) certificate(req *http.Request) (any, int, error) {
	c, ok := s.tokens[strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")]
	if !ok {
		return nil, 0, errors.New("there was an error processing the identity token")
	}
	var ask struct {
		PublicKeyRequest struct {
			PublicKey struct {
				Algorithm, Content string
			}
			ProofOfPossession []byte
		}
	}
	if err := json.NewDecoder(req.Body).Decode(&ask); err != nil {
		return nil, 0, err
	}
	block, _ := pem.Decode([]byte(ask.PublicKeyRequest.PublicKey.Content))
	if block == nil {
		return nil, 0, errors.New("the key is not PEM")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, 0, err
	}
	key, ok := public.(*ecdsa.PublicKey)
	subject := c.Subject
	identity := "https://github.com/" + c.Workflow
	if c.Email != "" {
		subject, identity = c.Email, c.Email
	}
	if !ok || !ecdsa.VerifyASN1(key, hash([]byte(subject)), ask.PublicKeyRequest.ProofOfPossession) {
		return nil, 0, errors.New("the signature supplied in the request could not be verified")
	}
	der, err := s.a.leaf(key, nil, Signature{Identity: identity, Issuer: c.Issuer, At: time.Now()}, s.a.ct)
	if err != nil {
		return nil, 0, err
	}
	var chain []string
	for _, raw := range [][]byte{der, s.a.intermediate.Raw, s.a.root.Raw} {
		chain = append(chain, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})))
	}
	return map[string]any{"signedCertificateEmbeddedSct": map[string]any{
		"chain": map[string]any{"certificates": chain}}}, http.StatusOK, nil
}

// logged1 answers as Rekor 1 does: https://github.com/sigstore/rekor/blob/main/openapi.yaml.
func (s *Server) logged1(req *http.Request) (any, int, error) {
	var ask struct {
		APIVersion, Kind string
		Spec             struct {
			ProposedContent struct {
				Envelope  string
				Verifiers [][]byte
			}
			Data struct {
				Hash struct{ Algorithm, Value string }
			}
			Signature struct {
				Content   []byte
				PublicKey struct{ Content []byte }
			}
		}
	}
	if err := json.NewDecoder(req.Body).Decode(&ask); err != nil {
		return nil, 0, err
	}
	if ask.Kind == "hashedrekord" {
		sum, signature := ask.Spec.Data.Hash, ask.Spec.Signature
		if ask.APIVersion != "0.0.1" || sum.Algorithm != "sha256" {
			return nil, 0, fmt.Errorf("an entry of kind %s %s with %s", ask.Kind, ask.APIVersion, sum.Algorithm)
		}
		entry, err := s.a.logs[0].add(ask.Kind, ask.APIVersion,
			body1OfHash(sum.Value, signature.Content, signature.PublicKey.Content), time.Now())
		if err != nil {
			return nil, 0, err
		}
		return answer1(entry), http.StatusCreated, nil
	}
	var e Envelope
	if err := json.Unmarshal([]byte(ask.Spec.ProposedContent.Envelope), &e); err != nil {
		return nil, 0, err
	}
	if ask.Kind != "dsse" || ask.APIVersion != "0.0.1" || len(e.Signatures) != 1 ||
		len(ask.Spec.ProposedContent.Verifiers) != 1 {
		return nil, 0, fmt.Errorf("an entry of kind %s %s", ask.Kind, ask.APIVersion)
	}
	block, _ := pem.Decode(ask.Spec.ProposedContent.Verifiers[0])
	if block == nil {
		return nil, 0, errors.New("the verifier is not PEM")
	}
	entry, err := s.a.log(false, &e, block.Bytes, time.Now())
	if err != nil {
		return nil, 0, err
	}
	return answer1(entry), http.StatusCreated, nil
}

// answer1 is how Rekor 1 answers with an entry.
func answer1(entry *TLogEntry) any {
	var hashes []string
	for _, h := range entry.InclusionProof.Hashes {
		hashes = append(hashes, hex.EncodeToString(h))
	}
	number := func(s string) json.Number { return json.Number(s) }
	return map[string]any{"24296fb24b8ad77a": map[string]any{
		"body": entry.CanonicalizedBody, "integratedTime": number(entry.IntegratedTime),
		"logID": hex.EncodeToString(entry.LogID.KeyID), "logIndex": number(entry.LogIndex),
		"verification": map[string]any{
			"signedEntryTimestamp": entry.InclusionPromise.SignedEntryTimestamp,
			"inclusionProof": map[string]any{
				"checkpoint": entry.InclusionProof.Checkpoint.Envelope, "hashes": hashes,
				"logIndex": number(entry.InclusionProof.LogIndex), "treeSize": number(entry.InclusionProof.TreeSize),
				"rootHash": hex.EncodeToString(entry.InclusionProof.RootHash),
			},
		},
	}}
}

// logged2 answers as Rekor 2 does: https://github.com/sigstore/rekor-tiles/blob/main/CLIENTS.md.
func (s *Server) logged2(req *http.Request) (any, int, error) {
	var ask struct {
		HashedRekordRequestV002 struct {
			Digest    []byte
			Signature struct {
				Content  []byte
				Verifier struct{ X509Certificate RawBytes }
			}
		}
	}
	if err := json.NewDecoder(req.Body).Decode(&ask); err != nil {
		return nil, 0, err
	}
	r := ask.HashedRekordRequestV002
	body := body2(r.Digest, r.Signature.Content, r.Signature.Verifier.X509Certificate.RawBytes)
	entry, err := s.a.logs[1].add("hashedrekord", "0.0.2", body, time.Now())
	return entry, http.StatusCreated, err
}

// stamped answers as RFC 3161, section 3.4, describes it.
func (s *Server) stamped(req *http.Request) (any, int, error) {
	data, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, 0, err
	}
	ask, err := timestamp.ParseRequest(bytes.Clone(data))
	if err != nil {
		return nil, 0, err
	}
	token, err := s.a.stamp(ask.HashedMessage, time.Now())
	return token, http.StatusCreated, err
}

// SigningConfig returns a signing_config.json for an instance at a URL: Rekor 1 alone, as the public good instance has
// it.
func (a *Authority) SigningConfig(url string) []byte {
	return a.signingConfig(url, "rekor1", 1, false)
}

// SigningConfigRekor2 returns one with Rekor 2 and, unless it is to be left out, a timestamp authority.
func (a *Authority) SigningConfigRekor2(url string, timestamps bool) []byte {
	return a.signingConfig(url, "rekor2", 2, timestamps)
}

func (a *Authority) signingConfig(url, rekor string, version int, timestamps bool) []byte {
	service := func(path string, version int) []any {
		return []any{map[string]any{"url": url + path, "majorApiVersion": version, "operator": "test",
			"validFor": Period{Start: a.began}}}
	}
	config := map[string]any{
		"mediaType":       "application/vnd.dev.sigstore.signingconfig.v0.2+json",
		"caUrls":          service("/fulcio", 1),
		"oidcUrls":        service("/oidc", 1),
		"rekorTlogUrls":   service("/"+rekor, version),
		"rekorTlogConfig": map[string]any{"selector": "ANY"},
		"tsaConfig":       map[string]any{"selector": "ANY"},
	}
	if timestamps {
		config["tsaUrls"] = service("/tsa/api/v1/timestamp", 1)
	}
	return encode(config)
}
