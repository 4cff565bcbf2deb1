package testreg

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// Uploads says how a registry, or a proxy before it, takes blobs. With the zero value it takes them in every way that
// the distribution specification has, and is strict: each request has to go to the Location of the answer before it,
// each chunk has to follow the one before it, and cross-repository mounts are ignored.
type Uploads struct {
	// NoPatch is the status for each PATCH request, if not 0.
	NoPatch int
	// NoChunks is the status for PATCH requests with a Content-Range, if not 0.
	NoChunks int
	// NoPut is the status for PUT requests with content, if not 0.
	NoPut int
	// NoSession is the status for POST requests without content, if not 0.
	NoSession int
	// NoStatus is the status for GET requests about an upload, if not 0.
	NoStatus int
	// NoHead is the status for HEAD requests, if not 0.
	NoHead int
	// NeedLength answers 411 to content without a Content-Length.
	NeedLength bool
	// MaxRequest is the size in bytes above which a request is answered with 413.
	MaxRequest int64
	// Cut is the number of bytes of a request after which the connection is closed.
	Cut int64
	// MaxChunk is the size in bytes above which a PATCH request is answered with 413.
	MaxChunk int64
	// MinChunk is the OCI-Chunk-Min-Length.
	MinChunk int64
	// Absolute makes locations absolute.
	Absolute bool
	// FailChunks is how many chunks with an odd number fail: half of the chunk is kept, and the answer is FailStatus, or
	// the connection is closed if that is 0.
	FailChunks, FailStatus int
	// Partial takes only half of each chunk with an even number, and says so.
	Partial bool
	// Forget is after how many chunks the first upload is forgotten once, if not 0.
	Forget int
	// LastChunk keeps only the last chunk.
	LastChunk bool
	// Discard keeps only the digests of blobs.
	Discard bool
}

// uploads is the part of a registry that takes blobs.
type uploads struct {
	mu       sync.Mutex
	how      Uploads
	on       bool
	serial   int
	sessions map[string]*session
	blobs    map[string]bool // digests that were discarded
	log      []Request
}

// Request is a request about an upload.
type Request struct {
	Method string
	// Size is the number of bytes that were received.
	Size int64
	// Length says that there was a Content-Length.
	Length bool
	// Range is the Content-Range.
	Range  string
	Status int
}

type session struct {
	state  string
	data   bytes.Buffer
	hash   hash.Hash
	size   int64
	chunks int
	short  bool // the last chunk was shorter than the minimum
}

func (s *session) add(p []byte, discard bool) {
	s.hash.Write(p)
	s.size += int64(len(p))
	if !discard {
		s.data.Write(p)
	}
}

// TakeUploads sets how blobs are taken from now on.
func (r *Registry) TakeUploads(how Uploads) {
	r.up.mu.Lock()
	defer r.up.mu.Unlock()
	r.up.how, r.up.on, r.up.log = how, true, nil
	r.up.sessions, r.up.blobs = map[string]*session{}, map[string]bool{}
}

// Uploads returns the requests about uploads since TakeUploads.
func (r *Registry) Uploads() []Request {
	r.up.mu.Lock()
	defer r.up.mu.Unlock()
	return append([]Request(nil), r.up.log...)
}

// takes reports whether a request is one for uploads.
func (u *uploads) takes(req *http.Request) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if req.Method == http.MethodHead && u.how.NoHead != 0 {
		return true
	}
	if _, digest, ok := strings.Cut(req.URL.Path, "/blobs/"); ok && req.Method == http.MethodHead && u.blobs[digest] {
		return true
	}
	return u.on && strings.Contains(req.URL.Path, "/blobs/uploads/")
}

// errCut is returned if the connection is to be closed.
var errCut = errors.New("cut")

func (u *uploads) serve(w http.ResponseWriter, req *http.Request, inner http.Handler) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if req.Method == http.MethodHead {
		if u.how.NoHead != 0 {
			w.WriteHeader(u.how.NoHead)
		}
		return
	}
	entry := Request{Method: req.Method, Length: req.ContentLength >= 0, Range: req.Header.Get("Content-Range")}
	status, err := u.answer(w.Header(), req, inner, &entry)
	entry.Status = status
	u.log = append(u.log, entry)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(status)
}

func (u *uploads) answer(h http.Header, req *http.Request, inner http.Handler, entry *Request) (int, error) {
	how := &u.how
	body := req.ContentLength != 0
	switch {
	case body && how.NeedLength && req.ContentLength < 0:
		return http.StatusLengthRequired, nil
	case how.MaxRequest > 0 && req.ContentLength > how.MaxRequest,
		how.MaxChunk > 0 && req.Method == http.MethodPatch && req.ContentLength > how.MaxChunk:
		return http.StatusRequestEntityTooLarge, nil
	case req.Method == http.MethodPatch && how.NoPatch != 0:
		return how.NoPatch, nil
	case req.Method == http.MethodPatch && entry.Range != "" && how.NoChunks != 0:
		return how.NoChunks, nil
	case req.Method == http.MethodPut && body && how.NoPut != 0:
		return how.NoPut, nil
	case req.Method == http.MethodPost && !body && how.NoSession != 0:
		return how.NoSession, nil
	case req.Method == http.MethodGet && how.NoStatus != 0:
		return how.NoStatus, nil
	case req.Method == http.MethodPost:
		return u.post(h, req, inner, entry)
	}
	id := req.URL.Path[strings.LastIndexByte(req.URL.Path, '/')+1:]
	s := u.sessions[id]
	if s == nil {
		return http.StatusNotFound, nil
	}
	if got := req.URL.Query().Get("state"); req.Method != http.MethodGet && got != s.state {
		return http.StatusBadRequest, nil
	}
	switch req.Method {
	case http.MethodGet:
		u.locate(h, req, id, s)
		return http.StatusNoContent, nil
	case http.MethodPatch:
		return u.patch(h, req, id, s, entry)
	case http.MethodPut:
		if status, err := u.receive(s, req, entry, false); status != 0 || err != nil {
			return status, err
		}
		delete(u.sessions, id)
		return u.store(req, s, inner), nil
	}
	return http.StatusMethodNotAllowed, nil
}

func (u *uploads) post(h http.Header, req *http.Request, inner http.Handler, entry *Request) (int, error) {
	s := &session{hash: sha256.New()}
	if req.URL.Query().Get("digest") != "" {
		if status, err := u.receive(s, req, entry, false); status != 0 || err != nil {
			return status, err
		}
		return u.store(req, s, inner), nil
	}
	u.serial++
	id := "u" + strconv.Itoa(u.serial)
	u.sessions[id] = s
	if u.how.MinChunk > 0 {
		h.Set("OCI-Chunk-Min-Length", strconv.FormatInt(u.how.MinChunk, 10))
	}
	u.locate(h, req, id, s)
	return http.StatusAccepted, nil
}

// locate adds the headers that say where an upload goes on.
func (u *uploads) locate(h http.Header, req *http.Request, id string, s *session) {
	u.serial++
	s.state = fmt.Sprintf("%d+/=", u.serial)
	path := req.URL.Path[:strings.Index(req.URL.Path, "/blobs/uploads/")] + "/blobs/uploads/" + id
	query := "?state=" + url.QueryEscape(s.state)
	if u.how.Absolute {
		scheme := "http://"
		if req.TLS != nil {
			scheme = "https://"
		}
		path = scheme + req.Host + path
	}
	h.Set("Location", path+query)
	h.Set("Range", "0-"+strconv.FormatInt(max(0, s.size-1), 10))
}

func (u *uploads) patch(h http.Header, req *http.Request, id string, s *session, entry *Request) (int, error) {
	if entry.Range != "" {
		first, _, _ := strings.Cut(entry.Range, "-")
		if first != strconv.FormatInt(s.size, 10) {
			return http.StatusRequestedRangeNotSatisfiable, nil
		}
		if s.short {
			return http.StatusBadRequest, nil
		}
		s.short = req.ContentLength < u.how.MinChunk
		s.chunks++
		if u.how.LastChunk {
			s.data.Reset()
			s.hash.Reset()
		}
	}
	if u.how.Forget > 0 && s.chunks == u.how.Forget {
		u.how.Forget = 0
		delete(u.sessions, id)
		return http.StatusNotFound, nil
	}
	fail := u.how.FailChunks > 0 && s.chunks%2 == 1
	half := fail || u.how.Partial && s.chunks%2 == 0 && s.chunks > 0
	if status, err := u.receive(s, req, entry, half); status != 0 || err != nil {
		return status, err
	}
	if fail {
		u.how.FailChunks--
		if u.how.FailStatus == 0 {
			return 0, errCut
		}
		return u.how.FailStatus, nil
	}
	u.locate(h, req, id, s)
	return http.StatusAccepted, nil
}

// receive reads the content of a request, and keeps all or the first half.
func (u *uploads) receive(s *session, req *http.Request, entry *Request, half bool) (int, error) {
	keep := req.ContentLength
	if half {
		keep /= 2
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := req.Body.Read(buf)
		entry.Size += int64(n)
		if u.how.Cut > 0 && entry.Size > u.how.Cut {
			return 0, errCut
		}
		if u.how.MaxRequest > 0 && entry.Size > u.how.MaxRequest {
			return http.StatusRequestEntityTooLarge, nil
		}
		if room := keep - (entry.Size - int64(n)); half && int64(n) > room {
			n = int(max(0, room))
		}
		s.add(buf[:n], u.how.Discard)
		if errors.Is(err, io.EOF) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// store checks the digest of a blob and keeps it.
func (u *uploads) store(req *http.Request, s *session, inner http.Handler) int {
	want := req.URL.Query().Get("digest")
	if got := "sha256:" + hex.EncodeToString(s.hash.Sum(nil)); got != want {
		return http.StatusBadRequest
	}
	if u.how.Discard {
		u.blobs[want] = true
		return http.StatusCreated
	}
	base := req.URL.Path[:strings.Index(req.URL.Path, "/blobs/uploads/")]
	put := httptest.NewRequest(http.MethodPost, base+"/blobs/uploads/?digest="+want, &s.data)
	answer := httptest.NewRecorder()
	inner.ServeHTTP(answer, put)
	return answer.Code
}
